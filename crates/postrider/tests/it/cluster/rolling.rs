//! A rolling restart: of each role two processes, one of them stopped and replaced at a time, under load. Intake lies behind
//! a Service, to which clients keep their connections, and stops as the chart has it stop.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_testkit::{Accepted, Api, Report};
use serde_json::json;
use tokio::sync::watch;

use super::crowd::{Crowd, Faults};
use super::service::Service;
use super::{Basis, Cluster, PATIENCE, sessions};

const INTAKE: [&str; 2] = ["ingest-1", "ingest-2"];
/// Says how long a pod that is to go lives on before it is told so.
const CHART: &str = include_str!("../../../../../helm/postrider/values.yaml");

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
    cluster.lay_out().await;
    cluster.sessions_last(sessions::DEFAULT).await;
    for (name, role) in PROCESSES {
        cluster.play(name, role).await;
    }
    cluster.ready().await;
    let crowd = Crowd::settle(&cluster, "api-1").await;
    let service = Service::of(intake_but(&cluster, None)).await;
    let balanced = Balanced::through(&service, &cluster.token, &crowd.app);
    let began = Instant::now();
    for (name, _) in PROCESSES {
        let so_far = cluster.receiver.count("/ok/0");
        if INTAKE.contains(&name) {
            service.send_to(intake_but(&cluster, Some(name)));
            tokio::time::sleep(pre_stop()).await;
        }
        let process = cluster.process(name);
        process.terminate().await;
        process.restart().await;
        process.ready().await;
        service.send_to(intake_but(&cluster, None));
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
    let (connections, taken) = (service.connections(), report.accepted.len());
    assert!(
        connections * 4 < taken,
        "{connections} connections for {taken} are not kept"
    );
    let faults = Faults::new();
    crowd.hold(&cluster, "api-1", &report, &faults).await;
    cluster.only_lost_by(&[]);
}

/// Where those listen that take events and are not about to go.
fn intake_but(cluster: &Cluster, going: Option<&str>) -> Vec<SocketAddr> {
    let staying = INTAKE.iter().filter(|name| Some(**name) != going);
    staying.map(|name| cluster.target(name).address).collect()
}

/// The sleep of the chart's pods before SIGTERM, in which whoever balances learns that they go.
fn pre_stop() -> Duration {
    let (_, seconds) = CHART.split_once("\n  preStopSeconds: ").unwrap();
    let seconds = seconds.lines().next().unwrap();
    Duration::from_secs(seconds.parse().unwrap())
}

/// How a client comes to a replica.
enum Way {
    /// By a balancer that sends each request to one of those which are ready.
    Ready(watch::Receiver<Vec<Api>>),
    /// By a connection that it keeps.
    Kept(Api),
}

/// Four clients.
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
        let ways = (0..4).map(|_| Way::Ready(known.clone()));
        Self::by(ways, replicas, app)
    }

    /// Begins to publish to a Service.
    pub(super) fn through(service: &Service, token: &str, app: &str) -> Self {
        let base = format!("http://{}", service.address);
        // Each has connections of its own.
        let ways = (0..4).map(|_| Way::Kept(Api::new(&base, token).unwrap()));
        Self::by(ways, watch::Sender::default(), app)
    }

    fn by(ways: impl Iterator<Item = Way>, replicas: watch::Sender<Vec<Api>>, app: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(Report::default()));
        let next = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for way in ways {
            let (over, report, next) = (over.clone(), report.clone(), next.clone());
            let path = format!("/api/v1/app/{app}/msg");
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let came = publish(&way, &path, number).await;
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

/// Publishes one event, and does not try again. Returns the event's id.
async fn publish(way: &Way, path: &str, number: u64) -> anyhow::Result<String> {
    let replica = match way {
        Way::Ready(known) => first_ready(known, number).await?,
        Way::Kept(api) => api.clone(),
    };
    let event = json!({ "eventType": "scenario.event", "payload": { "n": number } });
    let created = replica.post(path, &event).await?;
    Ok(created["id"].as_str().unwrap_or_default().to_owned())
}

async fn first_ready(known: &watch::Receiver<Vec<Api>>, number: u64) -> anyhow::Result<Api> {
    let began = Instant::now();
    let mut turn = usize::try_from(number)?;
    loop {
        let replicas = known.borrow().clone();
        let replica = &replicas[turn % replicas.len()];
        if is_ready(replica).await {
            return Ok(replica.clone());
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "no intake is ready");
        turn += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn is_ready(replica: &Api) -> bool {
    let said = replica.try_get("/health/ready?without=store").await;
    said.is_ok_and(|said| said.status == 200)
}
