//! Customers of every kind, and a load for all of them: what a fault is to be borne under.

use std::time::Duration;

use postrider_model::EndpointId;
use postrider_testkit::{Api, Behaviour, Kill, Load, LossChecker, Pace, Report};
use serde_json::{Value, json};

use super::attempts::LOGGED;
use super::losses::Receiving;
use super::{Cluster, PATIENCE, limits};
use crate::killing::expect_everywhere;
use crate::world::{Running, hold};

/// Where the crowd's customers receive.
pub(crate) const PATHS: [&str; 8] = [
    "/ok/0",
    "/ok/1",
    "/ok/2",
    "/slow",
    "/limited",
    "/flapping",
    "/hanging",
    "/dead",
];

/// Starts of attempts in any one second at `/limited`, at most: fewer than events come in some tests.
const LIMIT: usize = 40;

/// What was done to whom.
pub(crate) type Faults = Vec<(&'static str, Kill)>;

/// Customers of one application: three that answer, a slow one, one with a limit, one that fails and answers by turns,
/// one that hangs and one that closes every connection without a word. They recover at the end, so that every event must
/// have come to all.
pub(crate) struct Crowd {
    pub(crate) app: String,
    /// Everybody.
    all: Vec<Receiving>,
}

impl Crowd {
    /// Settings under which much happens in a short time, and nothing is given up.
    pub(crate) fn prepare(cluster: &mut Cluster) {
        cluster.set(
            "DELIVERY__SCHEDULE",
            ["0s"]
                .iter()
                .chain(&["1s"; 39])
                .copied()
                .collect::<Vec<_>>()
                .join(","),
        );
        // So that it can be said afterwards which worker started what, and when.
        cluster.set(LOGGED.0, LOGGED.1);
        // An answer that came is read within this, also on a machine that is short of time.
        cluster.set("DELIVERY__TIMEOUT", "30s");
        cluster.set("DELIVERY__BREAKER_WAIT", "500ms");
        cluster.set("DELIVERY__BREAKER_LONGEST_WAIT", "2s");
    }

    /// Registers them by the API of this process.
    pub(crate) async fn settle(cluster: &Cluster, api: &str) -> Self {
        let api = cluster.api(api);
        let app = api.create_app("crowd").await.unwrap();
        let mut crowd = Self {
            app,
            all: Vec::new(),
        };
        for path in PATHS {
            let how = match path {
                "/slow" => Behaviour::Delay(Duration::from_millis(100)),
                "/flapping" => Behaviour::Flapping(4, 503),
                "/hanging" => Behaviour::Hang,
                // Seen by the receiver, as no request is that is refused.
                "/dead" => Behaviour::Close,
                _ => Behaviour::Ok,
            };
            let more = match path {
                "/limited" => json!({ "throttleRate": LIMIT }),
                "/hanging" => json!({ "timeoutMs": 2_000 }),
                _ => json!({}),
            };
            crowd.join(cluster, &api, path, how, more).await;
        }
        crowd
    }

    /// One more customer.
    pub(crate) async fn join(
        &mut self,
        cluster: &Cluster,
        api: &Api,
        path: &str,
        how: Behaviour,
        mut spec: Value,
    ) {
        spec["url"] = json!(cluster.receiver.on(path, how));
        let id = api.create_endpoint(&self.app, &spec).await.unwrap();
        let secret = api.secret(&self.app, &id).await.unwrap();
        cluster.receiver.verify(path, &secret);
        self.all.push((path.to_owned(), id.parse().unwrap()));
    }

    fn limited(&self) -> EndpointId {
        let limited = self.all.iter().find(|(path, _)| path == "/limited");
        limited.unwrap().1
    }

    /// What some of them make of a request when nothing else does.
    pub(crate) fn checker(&self) -> LossChecker {
        let mut checker = LossChecker::default();
        checker.is_silent("/hanging");
        checker.is_silent("/dead");
        for path in ["/limited", "/flapping", "/hanging", "/dead"] {
            checker.puts_aside(path);
        }
        checker
    }

    /// Begins to publish so many events a second to the process of this name.
    pub(crate) fn load(&self, cluster: &Cluster, ingest: &str, rate: f64) -> Running {
        let load = Load {
            pace: Pace::Rate(rate),
            connections: 8,
            ..Load::of(&self.app, "scenario.event")
        };
        Running::begin(load, cluster.target(ingest))
    }

    /// Everybody answers from now on.
    pub(crate) fn recover(&self, cluster: &Cluster) {
        for path in ["/hanging", "/flapping", "/dead"] {
            cluster.receiver.on(path, Behaviour::Ok);
        }
    }

    /// Everybody recovers. Every event that was accepted must come to all, and again only what the faults excuse and what a
    /// worker had in hand that lost its partitions; and the limited one's limit must have been held.
    pub(crate) async fn hold(
        &self,
        cluster: &Cluster,
        api: &str,
        report: &Report,
        faults: &Faults,
    ) {
        self.recover(cluster);
        let mut checker = self.checker();
        expect_everywhere(&mut checker, report, &PATHS);
        for (name, fault) in faults {
            match *name {
                // What these wrote twice a worker passes over, unless it is killed before it read the second.
                "fanout" | "pump" => {
                    let everywhere = self.all.iter().map(|(path, _)| path.clone());
                    checker.written_twice(*fault, everywhere);
                }
                _ => checker.killed(*fault),
            }
        }
        println!(
            "{} accepted, {} not, {} faults",
            report.accepted.len(),
            report.failed,
            faults.len()
        );
        assert!(!report.accepted.is_empty(), "{}", report.last_failure);
        // What would come again would come by then.
        cluster.idle().await;
        cluster.excuse_losses(&mut checker, &self.all);
        cluster.explain(&checker).await;
        hold(&cluster.receiver, &checker, PATIENCE).await;
        let starts =
            limits::starts(&cluster.api(api), &self.app, &self.limited().to_string()).await;
        assert!(starts.len() >= report.accepted.len(), "not all is recorded");
        limits::hold(&starts, LIMIT);
    }
}
