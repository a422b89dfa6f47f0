//! Three brokers that replicate to each other, of which one is killed, and then a second.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postrider_log_kafka::partition_of;
use postrider_testkit::{Api, Behaviour, BrokerCluster, LossChecker, eventually};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;

use super::crowd::Crowd;
use super::process::lasted;
use super::{Basis, Cluster, PATIENCE};

const EVENTS_PER_SECOND: f64 = 10.0;

/// Longer than an election takes (a broker that is gone is missed after 3 s), and than an append is waited for (8 s).
const REFUSED_FOR: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_is_replaced_and_with_two_of_three_gone_ingest_refuses_rather_than_lose() {
    let dir = tempfile::tempdir().unwrap();
    let mut brokers = BrokerCluster::start(dir.path()).await.unwrap();
    let basis = Basis {
        brokers: brokers.addresses(),
        replication: 3,
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    cluster.lay_out().await;
    cluster.play_the_rest().await;
    cluster.play("worker-1", "worker").await;
    cluster.ready().await;
    let crowd = Crowd::settle_for(&cluster, "rest", EVENTS_PER_SECOND).await;
    let mut others = Others::settle(&cluster, &crowd).await;
    let load = crowd.load(&cluster, "rest", EVENTS_PER_SECOND);
    others.are_served(&cluster).await;
    goes_on(&cluster).await;

    let since = Instant::now();
    let leader = partitions(&cluster).await[0].leader;
    brokers.nodes[leader].kill();
    others.are_served(&cluster).await;
    goes_on(&cluster).await;
    let second = (leader + 1) % 3;
    brokers.nodes[second].kill();
    let last = (leader + 2) % 3;
    is_alone(&cluster, last).await;
    refuses(&cluster, &crowd, &others).await;
    is_alone(&cluster, last).await;

    brokers.nodes[second].restart().await.unwrap();
    brokers.nodes[leader].restart().await.unwrap();
    others.are_served(&cluster).await;
    goes_on(&cluster).await;
    let fault = lasted(since);
    let report = load.stop().await;
    let faults = ["rest", "worker-1"].map(|name| (name, fault)).to_vec();
    crowd.hold(&cluster, "rest", &report, &faults).await;
}

/// Applications beside the crowd's, so that events go to every partition.
struct Others {
    /// Each with its endpoint's path.
    apps: Vec<(String, String)>,
    checker: LossChecker,
}

impl Others {
    async fn settle(cluster: &Cluster, crowd: &Crowd) -> Self {
        let api = cluster.api("rest");
        let count: u32 = cluster.setting("LOG__KAFKA__PARTITIONS").parse().unwrap();
        let lies_in = |app: &str| partition_of(app.as_bytes(), count);
        let mut covered = BTreeSet::from([lies_in(&crowd.app)]);
        let mut apps = Vec::new();
        while covered.len() < count as usize {
            let app = api.create_app("other").await.unwrap();
            if covered.insert(lies_in(&app)) {
                let path = format!("/other/{}", apps.len());
                let spec = json!({ "url": cluster.receiver.on(&path, Behaviour::Ok) });
                api.create_endpoint(&app, &spec).await.unwrap();
                apps.push((app, path));
            }
        }
        let checker = LossChecker::default();
        Self { apps, checker }
    }

    /// Each has an event accepted, and gets it, and what was accepted before.
    async fn are_served(&mut self, cluster: &Cluster) {
        let api = cluster.api("rest");
        for (app, path) in &self.apps {
            let accepted = eventually("an event is accepted", PATIENCE, async || {
                let event = json!({});
                api.publish(app, "scenario.event", &event).await.ok()
            });
            let event = accepted.await.unwrap();
            self.checker.expect(&event, &[path]);
        }
        let come = eventually("all are delivered", PATIENCE, async || {
            (self.checker.missing(&cluster.receiver.arrivals()) == 0).then_some(())
        });
        come.await.unwrap();
    }
}

/// How a partition of `events` stands.
#[derive(Debug)]
struct Partition {
    /// Which node, from 0.
    leader: usize,
    in_sync: usize,
}

/// All of them, once each has a leader.
async fn partitions(cluster: &Cluster) -> Vec<Partition> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.setting("LOG__KAFKA__BROKERS"));
    let topic = format!("{}events", cluster.prefix);
    let ask = move || {
        let client: BaseConsumer = config.create().unwrap();
        let metadata = client.fetch_metadata(Some(&topic), Duration::from_secs(60));
        let metadata = metadata.unwrap();
        let all = metadata.topics()[0].partitions().iter();
        let all = all.map(|one| {
            Some(Partition {
                leader: usize::try_from(one.leader()).ok()?.checked_sub(1)?,
                in_sync: one.isr().len(),
            })
        });
        all.collect::<Option<Vec<_>>>()
    };
    let found = eventually("each has a leader", PATIENCE, async || {
        let asked = tokio::task::spawn_blocking(ask.clone()).await;
        asked.unwrap()
    });
    found.await.unwrap()
}

/// Waits until this node leads every partition, and alone has what is in it: nothing keeps anybody from writing there but
/// that it is to be in two places.
async fn is_alone(cluster: &Cluster, node: usize) {
    let alone = eventually("one node leads all, alone", PATIENCE, async || {
        let all = partitions(cluster).await;
        let mut all = all.iter();
        all.all(|one| one.leader == node && one.in_sync == 1)
            .then_some(())
    });
    alone.await.unwrap();
}

/// Waits until ten more have come to one that answers: accepted, fanned out and delivered.
async fn goes_on(cluster: &Cluster) {
    let receiver = &cluster.receiver;
    let so_far = receiver.count("/ok/0");
    receiver
        .wait_for("/ok/0", so_far + 10, PATIENCE)
        .await
        .unwrap();
}

/// Holds ingest to refusing every event of every application.
async fn refuses(cluster: &Cluster, crowd: &Crowd, others: &Others) {
    let api = cluster.api("rest");
    let others = others.apps.iter().map(|(app, _)| app);
    let apps: Vec<_> = others.chain([&crowd.app]).collect();
    let (began, mut rounds) = (Instant::now(), 0);
    while began.elapsed() < REFUSED_FOR || rounds < 2 {
        let mut asked = tokio::task::JoinSet::new();
        for app in &apps {
            asked.spawn(is_refused(api.clone(), app.to_string()));
        }
        asked.join_all().await;
        rounds += 1;
    }
    println!(
        "{rounds} events of each were refused within {:?}",
        began.elapsed()
    );
}

async fn is_refused(api: Api, app: String) {
    let path = format!("/api/v1/app/{app}/msg");
    let event = json!({ "eventType": "scenario.event", "payload": {} });
    let answer = api.try_post(&path, &event).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.retry_after.is_some(), "{}", answer.body);
}
