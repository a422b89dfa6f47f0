//! A rolling restart: of each role two processes, one of them stopped and replaced at a time, under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_testkit::{Accepted, Api, Report};
use serde_json::json;
use tokio::sync::watch;

use super::crowd::{Crowd, Faults};
use super::{Basis, Cluster, PATIENCE};

/// In the order in which they are replaced.
const PROCESSES: [(&str, &str); 14] = [
    ("ingest-1", "ingest"),
    ("ingest-2", "ingest"),
    ("fanout-1", "fanout"),
    ("fanout-2", "fanout"),
    ("worker-1", "worker"),
    ("worker-2", "worker"),
    ("pump-1", "pump"),
    ("pump-2", "pump"),
    ("deadletter-1", "deadletter"),
    ("deadletter-2", "deadletter"),
    ("recorder-1", "recorder"),
    ("recorder-2", "recorder"),
    ("api-1", "api"),
    ("api-2", "api"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_restarted_under_load_and_nothing_is_lost_repeated_or_refused() {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    Crowd::prepare(&mut cluster);
    cluster.set("STORE__MAX_CONNECTIONS", 3);
    // Longer than the client below takes to see that a process is to stop, also where it gets no time.
    cluster.set("HTTP__LEAVE", "2s");
    cluster.lay_out().await;
    for (name, role) in PROCESSES {
        cluster.play(name, role).await;
    }
    cluster.ready().await;
    let crowd = Crowd::settle(&cluster, "api-1").await;
    let intake = ["ingest-1", "ingest-2"].map(|name| cluster.api(name));
    let balanced = Balanced::begin(intake.to_vec(), &crowd.app);
    let began = Instant::now();
    for (name, _) in PROCESSES {
        let so_far = cluster.receiver.count("/ok/0");
        let process = cluster.process(name);
        process.terminate().await;
        process.restart().await;
        process.ready().await;
        // The replacement takes part in what comes now.
        let some = cluster
            .receiver
            .wait_for("/ok/0", so_far + 10, PATIENCE)
            .await;
        some.unwrap();
    }
    println!("all were replaced within {:?}", began.elapsed());
    let report = balanced.stop().await;
    assert_eq!(report.failed, 0, "refused: {}", report.last_failure);
    let faults = Faults::new();
    crowd.hold(&cluster, "api-1", &report, &faults).await;
}

/// Four clients behind a balancer that sends each request to one of those which are ready.
pub(super) struct Balanced {
    replicas: watch::Sender<Vec<Api>>,
    over: Arc<AtomicBool>,
    report: Arc<Mutex<Report>>,
    clients: tokio::task::JoinSet<()>,
}

impl Balanced {
    /// Begins to publish to `replicas` in turn.
    pub(super) fn begin(replicas: Vec<Api>, app: &str) -> Self {
        let (replicas, known) = watch::channel(replicas);
        let over = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(Report::default()));
        let next = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (over, report, next) = (over.clone(), report.clone(), next.clone());
            let (known, path) = (known.clone(), format!("/api/v1/app/{app}/msg"));
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let came = publish(&known, &path, number).await;
                    note(&mut report.lock().unwrap(), number, came);
                    // A pace, not a wait for anything.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        Self {
            replicas,
            over,
            report,
            clients,
        }
    }

    /// From the next request on these are the replicas, ready or not.
    pub(super) fn send_to(&self, replicas: Vec<Api>) {
        self.replicas.send_replace(replicas);
    }

    pub(super) async fn stop(mut self) -> Report {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.report.lock().unwrap())
    }
}

fn note(report: &mut Report, number: u64, came: anyhow::Result<String>) {
    match came {
        Ok(event) => report.accepted.push(Accepted {
            event,
            number,
            at: Instant::now(),
        }),
        Err(error) => {
            report.failed += 1;
            report.last_failure = format!("{error:#}");
        }
    }
}

/// Publishes one event by the first that is ready, and does not try again. Returns the event's id.
async fn publish(
    known: &watch::Receiver<Vec<Api>>,
    path: &str,
    number: u64,
) -> anyhow::Result<String> {
    let began = Instant::now();
    let mut turn = usize::try_from(number)?;
    let replica = loop {
        let replicas = known.borrow().clone();
        let replica = &replicas[turn % replicas.len()];
        if is_ready(replica).await {
            break replica.clone();
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "no intake is ready");
        turn += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let event = json!({ "eventType": "scenario.event", "payload": { "n": number } });
    let created = replica.post(path, &event).await?;
    Ok(created["id"].as_str().unwrap_or_default().to_owned())
}

async fn is_ready(replica: &Api) -> bool {
    let said = replica.try_get("/health/ready?without=store").await;
    said.is_ok_and(|said| said.status == 200)
}
