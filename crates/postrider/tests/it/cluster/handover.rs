//! What a worker knows of endpoints goes with their partitions to another process if it hands them over, and is nobody's if
//! it is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use postrider_log_kafka::partition_of;
use postrider_model::EndpointId;
use postrider_testkit::{Api, Behaviour, eventually};
use serde_json::{Value, json};

use super::attempts::{Attempt, LOGGED};
use super::losses::Loss;
use super::{Basis, Cluster, PATIENCE};

/// Enough that each worker has some, wherever their ids put them.
const ENDPOINTS: usize = 12;
/// More than open a breaker, at once.
const EVENTS: u64 = 8;
/// No probe comes due while a test runs, nor a second attempt.
const LONG: &str = "1h";
/// How long those take that answer: nobody mistakes one after the other for both at once.
const SLOW: Duration = Duration::from_secs(1);
/// What times may lose between clocks.
const NEARLY: Duration = Duration::from_millis(500);

/// An endpoint that refuses everything.
struct Broken {
    path: String,
    id: EndpointId,
    /// How its breaker stood, once it was open.
    told: Value,
    /// What came to it until then.
    came: u64,
}

/// Two workers, and endpoints whose breakers are open.
struct Opened {
    cluster: Cluster,
    /// The workers that run.
    workers: Vec<&'static str>,
    api: Api,
    app: String,
    broken: Vec<Broken>,
    /// Partitions that both own together.
    all: f64,
}

/// On a machine without time for it a worker's session may end: then nobody hands over what it had.
const LOST: &str = "a worker lost its partitions, so nothing is judged";

impl Opened {
    /// None if a worker lost partitions meanwhile.
    async fn set_up() -> Option<Self> {
        let mut cluster = Cluster::on(&Basis::shared()).await;
        cluster.set(LOGGED.0, LOGGED.1);
        cluster.set("DELIVERY__SCHEDULE", format!("0s,{LONG}"));
        cluster.set("DELIVERY__BREAKER_WAIT", LONG);
        cluster.set("DELIVERY__BREAKER_LONGEST_WAIT", LONG);
        cluster.lay_out().await;
        cluster.play_the_rest().await;
        let workers = vec!["worker-1", "worker-2"];
        for worker in &workers {
            cluster.play(worker, "worker").await;
        }
        cluster.ready().await;
        let shared = eventually("both workers own some", PATIENCE, async || {
            let one = owned(&cluster, "worker-1").await;
            let two = owned(&cluster, "worker-2").await;
            (one > 0.0 && one == two).then_some(one + two)
        });
        let all = shared.await.unwrap();
        let api = cluster.api("rest");
        let app = api.create_app("handover").await.unwrap();
        let mut opened = Self {
            cluster,
            workers,
            api,
            app,
            broken: Vec::new(),
            all,
        };
        let paths: Vec<_> = (0..ENDPOINTS).map(|n| format!("/broken/{n}/")).collect();
        let mut ids = Vec::new();
        for path in &paths {
            ids.push(opened.endpoint(path, Behaviour::Status(500)).await);
        }
        opened.publish().await;
        for (path, id) in paths.into_iter().zip(ids) {
            let told = opened.is_open(&path, id).await?;
            let came = opened.cluster.receiver.count(&path);
            opened.broken.push(Broken {
                path,
                id,
                told,
                came,
            });
        }
        Some(opened)
    }

    async fn endpoint(&self, path: &str, how: Behaviour) -> EndpointId {
        let spec = json!({ "url": self.cluster.receiver.on(path, how) });
        let id = self.api.create_endpoint(&self.app, &spec).await.unwrap();
        id.parse().unwrap()
    }

    async fn publish(&self) {
        for _ in 0..EVENTS {
            let event = json!({});
            let published = self.api.publish(&self.app, "scenario.event", &event);
            published.await.unwrap();
        }
    }

    /// How an endpoint's breaker stands, once that is `good`; none if a worker lost partitions meanwhile.
    async fn stands(&self, id: EndpointId, good: impl Fn(&Value) -> bool) -> Option<Value> {
        let path = format!("/api/v1/app/{}/endpoint/{id}/breaker", self.app);
        let mut last = Value::Null;
        let found = eventually("the breaker stands as it must", PATIENCE, async || {
            if self.has_lost() {
                return Some(None);
            }
            last = self.api.get(&path).await.ok()?;
            good(&last).then(|| Some(last.clone()))
        });
        let found = found.await;
        found.unwrap_or_else(|error| panic!("{error}, and not {last}"))
    }

    fn has_lost(&self) -> bool {
        let mut logs = self
            .workers
            .iter()
            .map(|worker| self.cluster.server(worker).log());
        logs.any(|log| !Loss::all_in(&log).is_empty())
    }

    /// Every delivery was tried or put aside, and the breaker is open.
    async fn is_open(&self, path: &str, id: EndpointId) -> Option<Value> {
        let receiver = &self.cluster.receiver;
        let all_done = |told: &Value| {
            let waiting = told["waiting"].as_u64().unwrap();
            told["state"] == "open" && receiver.count(path) + waiting == EVENTS
        };
        self.stands(id, all_done).await
    }

    async fn taken_over(&self) {
        let took = eventually("the other worker owns all", PATIENCE, async || {
            (owned(&self.cluster, "worker-2").await >= self.all).then_some(())
        });
        took.await.unwrap();
    }

    /// The breaker is open with so many put aside, after so many attempts since it was opened first; never were there more.
    async fn put_aside(&self, broken: &Broken, attempts: u64, waiting: u64) -> Option<Value> {
        let Broken { path, id, came, .. } = broken;
        let first = at(&broken.told, "openedAt");
        let aside = |told: &Value| {
            let more = self.cluster.receiver.count(path) - came;
            assert!(more <= attempts, "{path}: {more} attempts, and {told}");
            let all = told["waiting"].as_u64().unwrap() >= waiting;
            // What is told may be from before the attempt.
            let of_now = attempts == 0 || (is_after(told, "openedAt", first) && more == attempts);
            told["state"] == "open" && all && of_now
        };
        self.stands(*id, aside).await
    }
}

async fn owned(cluster: &Cluster, worker: &str) -> f64 {
    let process = cluster.find(worker);
    process.counted("postrider_kafka_owned_partitions").await
}

fn at(told: &Value, key: &str) -> Timestamp {
    told[key].as_str().unwrap().parse().unwrap()
}

/// Whether that is told, and later than this.
fn is_after(told: &Value, key: &str, before: Timestamp) -> bool {
    let given = told[key].as_str();
    given.is_some_and(|text| text.parse::<Timestamp>().unwrap() > before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_that_is_open_stays_so_at_the_worker_that_it_is_handed_to() {
    let Some(mut opened) = Opened::set_up().await else {
        return println!("{LOST}");
    };
    opened.cluster.dismiss("worker-1").await;
    opened.workers.retain(|worker| *worker != "worker-1");
    opened.taken_over().await;
    opened.publish().await;
    for broken in &opened.broken {
        let before = &broken.told;
        let waiting = before["waiting"].as_u64().unwrap() + EVENTS;
        let Some(told) = opened.put_aside(broken, 0, waiting).await else {
            return println!("{LOST}");
        };
        for key in ["consecutiveFailures", "openedAt", "failingSince"] {
            assert_eq!(told[key], before[key], "{key}: {told}");
        }
        let moved = at(&told, "nextProbeAt").duration_since(at(before, "nextProbeAt"));
        assert!(moved.unsigned_abs() < NEARLY, "{before}, and then {told}");
    }
    // Its new owner is there: said to be repaired, each is tried.
    for Broken { path, id, .. } in &opened.broken {
        opened.cluster.receiver.on(path, Behaviour::Ok);
        let probe = format!("/api/v1/app/{}/endpoint/{id}/breaker/probe", opened.app);
        opened.api.post(&probe, &json!({})).await.unwrap();
    }
    let tried = eventually("all are tried", PATIENCE, async || {
        // What comes is the probe.
        opened.publish().await;
        let receiver = &opened.cluster.receiver;
        let mut all = opened.broken.iter();
        all.all(|one| receiver.count(&one.path) > one.came)
            .then_some(())
    });
    tried.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_knew_counts_for_nobody_and_its_successor_starts_cautiously() {
    let Some(mut opened) = Opened::set_up().await else {
        return println!("{LOST}");
    };
    let mut answering = Vec::new();
    for number in 0..ENDPOINTS {
        let path = format!("/slow/{number}/");
        let id = opened.endpoint(&path, Behaviour::Delay(SLOW)).await;
        answering.push((path, id));
    }
    let went = Attempt::all_of(&opened.cluster, "worker-1");
    let its: BTreeSet<u32> = went.iter().map(|one| one.partition).collect();
    let count = opened.cluster.setting("LOG__KAFKA__PARTITIONS");
    let count = count.parse().unwrap();
    let was_its = |id: EndpointId| its.contains(&partition_of(id.as_bytes(), count));

    let killed = Timestamp::now();
    opened.cluster.process("worker-1").kill();
    opened.workers.retain(|worker| *worker != "worker-1");
    opened.taken_over().await;
    opened.publish().await;
    let mut cautious = 0;
    for broken in &opened.broken {
        let waited = broken.told["waiting"].as_u64().unwrap();
        let anew = was_its(broken.id);
        let (attempts, waiting) = match anew {
            true => (1, EVENTS - 1),
            false => (0, waited + EVENTS),
        };
        let Some(told) = opened.put_aside(broken, attempts, waiting).await else {
            return println!("{LOST}");
        };
        assert_eq!(at(&told, "openedAt") >= killed, anew, "{told}");
        cautious += attempts;
    }
    assert!(
        0 < cautious && cautious < ENDPOINTS as u64,
        "{its:?} were its"
    );
    for (path, _) in answering.iter().filter(|(_, id)| was_its(*id)) {
        let receiver = &opened.cluster.receiver;
        receiver.wait_for(path, EVENTS, PATIENCE).await.unwrap();
        let came = receiver.arrivals_at(path);
        let between = came[1].at - came[0].at;
        assert!(
            between >= SLOW || opened.has_lost(),
            "{path}: two within {between:?}"
        );
    }
}
