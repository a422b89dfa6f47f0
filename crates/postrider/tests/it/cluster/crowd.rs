//! Customers of every kind, and a load for all of them: what a fault is to be borne under.

use std::time::Duration;

use postrider_testkit::{Behaviour, Kill, Load, LossChecker, Pace, Refusing, Report};
use serde_json::json;

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
/// one that hangs and one that is dead. The last two recover at the end, so that every event must have come to all.
pub(crate) struct Crowd {
    pub(crate) app: String,
    /// The endpoint that has a limit, and the one that is dead.
    limited: String,
    dead: String,
    // Its port is nobody else's while it is dead.
    _refusing: Refusing,
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
        cluster.set("DELIVERY__TIMEOUT", "2s");
        cluster.set("DELIVERY__BREAKER_WAIT", "500ms");
        cluster.set("DELIVERY__BREAKER_LONGEST_WAIT", "2s");
    }

    /// Registers them by the API of this process.
    pub(crate) async fn settle(cluster: &Cluster, api: &str) -> Self {
        let api = cluster.api(api);
        let app = api.create_app("crowd").await.unwrap();
        let refusing = Refusing::bind().unwrap();
        let receiver = &cluster.receiver;
        let mut limited = String::new();
        let mut dead = String::new();
        for path in PATHS {
            let how = match path {
                "/slow" => Behaviour::Delay(Duration::from_millis(100)),
                "/flapping" => Behaviour::Flapping(4, 503),
                "/hanging" => Behaviour::Hang,
                _ => Behaviour::Ok,
            };
            let mut spec = json!({ "url": receiver.on(path, how) });
            match path {
                "/limited" => spec["throttleRate"] = json!(LIMIT),
                "/dead" => spec["url"] = json!(refusing.url().unwrap()),
                _ => {}
            }
            let id = api.create_endpoint(&app, &spec).await.unwrap();
            receiver.verify(path, &api.secret(&app, &id).await.unwrap());
            match path {
                "/limited" => limited = id,
                "/dead" => dead = id,
                _ => {}
            }
        }
        Self {
            app,
            limited,
            dead,
            _refusing: refusing,
        }
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
    pub(crate) async fn recover(&self, cluster: &Cluster, api: &str) {
        cluster.receiver.on("/hanging", Behaviour::Ok);
        cluster.receiver.on("/flapping", Behaviour::Ok);
        let path = format!("/api/v1/app/{}/endpoint/{}", self.app, self.dead);
        let url = cluster.receiver.url("/dead");
        let fields = json!({ "url": url });
        cluster.api(api).patch(&path, &fields).await.unwrap();
    }

    /// Everybody recovers. Every event that was accepted must come to all, and only what the faults excuse again; and
    /// the limited one's limit must have been held.
    pub(crate) async fn hold(
        &self,
        cluster: &Cluster,
        api: &str,
        report: &Report,
        faults: &Faults,
    ) {
        self.recover(cluster, api).await;
        let mut checker = LossChecker::default();
        checker.is_silent("/hanging");
        checker.is_unreachable_at_times("/dead");
        expect_everywhere(&mut checker, report, &PATHS);
        for (_, fault) in faults {
            checker.killed(*fault);
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
        let struck: Vec<_> = faults.iter().map(|(name, _)| *name).collect();
        let lost = cluster.lost_elsewhere(&struck);
        if lost > 0 {
            println!(
                "partitions were lost {lost} times for want of time: what came again is not judged"
            );
            checker.forgives_repeats();
        }
        hold(&cluster.receiver, &checker, PATIENCE).await;
        let starts = limits::starts(&cluster.api(api), &self.app, &self.limited).await;
        assert!(starts.len() >= report.accepted.len(), "not all is recorded");
        limits::hold(&starts, LIMIT);
    }
}
