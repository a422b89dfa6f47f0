//! Three brokers that replicate to each other, of which one is killed, and then a second.

use std::time::{Duration, Instant};

use postrider_testkit::{BrokerCluster, eventually};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;

use super::crowd::Crowd;
use super::process::lasted;
use super::{Basis, Cluster, PATIENCE};

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
    let crowd = Crowd::settle(&cluster, "rest").await;
    let load = crowd.load(&cluster, "rest", 10.0);
    goes_on(&cluster).await;

    let since = Instant::now();
    let leader = leader(&basis.brokers, format!("{}events", cluster.prefix)).await;
    brokers.nodes[leader].kill();
    goes_on(&cluster).await;
    let second = (leader + 1) % 3;
    brokers.nodes[second].kill();
    refuses(&cluster, &crowd).await;

    brokers.nodes[second].restart().await.unwrap();
    brokers.nodes[leader].restart().await.unwrap();
    goes_on(&cluster).await;
    let fault = lasted(since);
    let report = load.stop().await;
    let faults = ["rest", "worker-1"].map(|name| (name, fault)).to_vec();
    crowd.hold(&cluster, "rest", &report, &faults).await;
}

/// Which node, from 0, leads the topic's first partition.
async fn leader(brokers: &str, topic: String) -> usize {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let ask = move || {
        let client: BaseConsumer = config.create().unwrap();
        let metadata = client.fetch_metadata(Some(&topic), Duration::from_secs(60));
        metadata.unwrap().topics()[0].partitions()[0].leader()
    };
    let leader = tokio::task::spawn_blocking(ask).await.unwrap();
    usize::try_from(leader).unwrap() - 1
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

/// Waits until ingest has refused every event for a while, as many as there are partitions and more.
async fn refuses(cluster: &Cluster, crowd: &Crowd) {
    let api = cluster.api("rest");
    let path = format!("/api/v1/app/{}/msg", crowd.app);
    let event = json!({ "eventType": "scenario.event", "payload": {} });
    let mut refused = 0;
    let refuses = eventually("ingest refuses", PATIENCE, async || {
        let answer = api.try_post(&path, &event).await.unwrap();
        assert!([202, 503].contains(&answer.status), "{}", answer.body);
        if answer.status == 503 {
            assert!(answer.retry_after.is_some(), "{}", answer.body);
            refused += 1;
        } else {
            refused = 0;
        }
        (refused == 2).then_some(())
    });
    refuses.await.unwrap();
}
