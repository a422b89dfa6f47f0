//! Customers of every kind, and a load for all of them: what a fault is to be borne under.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_log_kafka::partition_of;
use postrider_model::EndpointId;
use postrider_testkit::{Api, Behaviour, Kill, Load, LossChecker, Pace, Report};
use serde_json::{Value, json};

use super::attempts::LOGGED;
use super::losses::{IN_FLIGHT, Receiving, most_repeats};
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

/// Starts of attempts in any one second at `/limited`, at most, unless a test says otherwise: what is read again after a
/// fault meets it.
const LIMIT: usize = 40;

/// What the paths of those begin with that do not answer, or not always.
const BAD: [&str; 3] = ["/flapping", "/hanging", "/dead"];

/// For a test that waits in vain for ids that lie where they are wanted.
const MOST: usize = 200;

/// What was done to whom.
pub(crate) type Faults = Vec<(&'static str, Kill)>;

/// Customers of one application: three that answer, a slow one, one with a limit, one that fails and answers by turns,
/// one that hangs and one that closes every connection without a word. They recover at the end, so that every event must
/// have come to all.
pub(crate) struct Crowd {
    pub(crate) app: String,
    /// Everybody.
    all: Vec<Receiving>,
    /// Those that have a limit, and which.
    limited: Vec<(EndpointId, usize)>,
    /// Limits are below the load, so they must have been met.
    meets_limits: bool,
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
        // What a process can have in flight when it is killed.
        cluster.set("DELIVERY__IN_FLIGHT", IN_FLIGHT);
        cluster.set("DELIVERY__BREAKER_WAIT", "500ms");
        cluster.set("DELIVERY__BREAKER_LONGEST_WAIT", "2s");
    }

    /// Registers them by the API of this process.
    pub(crate) async fn settle(cluster: &Cluster, api: &str) -> Self {
        Self::settle_with(cluster, api, LIMIT).await
    }

    /// Likewise, for so many events a second: the limit is below that, so it is met all the time.
    pub(crate) async fn settle_for(cluster: &Cluster, api: &str, rate: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few a second"
        )]
        let limit = (rate * 0.8) as usize;
        let mut crowd = Self::settle_with(cluster, api, limit).await;
        crowd.meets_limits = true;
        crowd
    }

    async fn settle_with(cluster: &Cluster, api: &str, limit: usize) -> Self {
        let api = cluster.api(api);
        let app = api.create_app("crowd").await.unwrap();
        let mut crowd = Self {
            app,
            all: Vec::new(),
            limited: Vec::new(),
            meets_limits: false,
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
                "/limited" => json!({ "throttleRate": limit }),
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
        let id = id.parse().unwrap();
        if let Some(limit) = spec["throttleRate"].as_u64() {
            self.limited.push((id, usize::try_from(limit).unwrap()));
        }
        self.all.push((path.to_owned(), id));
    }

    /// More of a kind, by paths that begin so, until there are so many in each partition.
    pub(crate) async fn join_everywhere(
        &mut self,
        cluster: &Cluster,
        api: &Api,
        (beginning, each): (&str, usize),
        how: Behaviour,
        spec: Value,
    ) {
        let partitions: usize = cluster.setting("LOG__KAFKA__PARTITIONS").parse().unwrap();
        for number in 0..MOST {
            let there = self.by_partition(cluster, beginning);
            if there.len() == partitions && there.values().all(|paths| paths.len() >= each) {
                return;
            }
            let path = format!("{beginning}{number}");
            self.join(cluster, api, &path, how.clone(), spec.clone())
                .await;
        }
        panic!("{MOST} ids, and not {each} of them in each partition");
    }

    /// The paths that begin so, by the number of the partition in which their deliveries lie.
    pub(crate) fn by_partition(
        &self,
        cluster: &Cluster,
        beginning: &str,
    ) -> BTreeMap<u32, Vec<String>> {
        let count = cluster.setting("LOG__KAFKA__PARTITIONS").parse().unwrap();
        let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (path, id) in self.all.iter().filter(|one| one.0.starts_with(beginning)) {
            let partition = partition_of(id.as_bytes(), count);
            found.entry(partition).or_default().push(path.clone());
        }
        found
    }

    /// Everybody's, or only those of whom nothing bad is known.
    pub(crate) fn paths(&self, good_only: bool) -> Vec<&str> {
        let all = self.all.iter().map(|(path, _)| path.as_str());
        let bad = |path: &str| good_only && BAD.iter().any(|bad| path.starts_with(bad));
        all.filter(|path| !bad(path)).collect()
    }

    /// What some of them make of a request when nothing else does.
    pub(crate) fn checker(&self) -> LossChecker {
        let mut checker = LossChecker::default();
        for path in self.paths(false) {
            if path.starts_with("/hanging") || path.starts_with("/dead") {
                checker.is_silent(path);
            }
            if path.starts_with("/limited") || BAD.iter().any(|bad| path.starts_with(bad)) {
                checker.puts_aside(path);
            }
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
        for path in BAD {
            cluster.receiver.on(path, Behaviour::Ok);
        }
    }

    /// Everybody recovers. Every event that was accepted must come to all, and again only what the faults excuse and what a
    /// worker had in hand that lost its partitions; and every limit must have been held.
    pub(crate) async fn hold(
        &self,
        cluster: &Cluster,
        api: &str,
        report: &Report,
        faults: &Faults,
    ) {
        self.recover(cluster);
        let mut checker = self.checker();
        expect_everywhere(&mut checker, report, &self.paths(false));
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
        let mut struck: Vec<Kill> = faults.iter().map(|(_, fault)| *fault).collect();
        struck.extend(cluster.excuse_losses(&mut checker, &self.all));
        checker.excuses_at_most(most_repeats(&struck, &cluster.receiver.arrivals()));
        cluster.explain(&checker, &self.all).await;
        hold(&cluster.receiver, &checker, PATIENCE).await;
        for (endpoint, limit) in &self.limited {
            let starts = limits::starts(&cluster.api(api), &self.app, &endpoint.to_string()).await;
            assert!(starts.len() >= report.accepted.len(), "not all is recorded");
            limits::hold(&starts, *limit);
            let met = !self.meets_limits || limits::is_met(&starts, *limit);
            assert!(met, "never were there {limit} starts in a second");
        }
    }
}
