//! Records that a broker does not take.

use postrider_testkit::{Api, Behaviour, eventually};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use super::{Basis, Cluster, PATIENCE};

/// One process for everything, an application with one endpoint, and a client.
pub(super) async fn alone(cluster: &mut Cluster) -> (Api, String) {
    cluster.lay_out().await;
    cluster
        .play("all", "ingest,fanout,worker,pump,deadletter,recorder,api")
        .await;
    cluster.ready().await;
    let api = cluster.api("all");
    let app = api.create_app("alone").await.unwrap();
    let url = cluster.receiver.on("/ok", Behaviour::Ok);
    api.create_endpoint(&app, &json!({ "url": url }))
        .await
        .unwrap();
    (api, app)
}

/// Of a client that writes what ours would not.
pub(super) fn config(basis: &Basis) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &basis.brokers);
    config.set("message.max.bytes", "8000000");
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_finds_too_large_is_refused_or_becomes_a_dead_letter_and_holds_up_nobody()
 {
    let basis = Basis::shared();
    let mut cluster = Cluster::on(&basis).await;
    let (api, app) = alone(&mut cluster).await;
    let large = json!({ "pad": "x".repeat(100 << 10) });
    let small = json!({});

    // Somebody changes the topics behind our back.
    limit(&basis, &format!("{}deliveries.normal", cluster.prefix)).await;
    api.publish(&app, "a.b", &large).await.unwrap();
    for _ in 0..10 {
        api.publish(&app, "a.b", &small).await.unwrap();
    }
    let path = format!("/api/v1/app/{app}/dead-letter");
    let found = eventually("it is a dead letter", PATIENCE, async || {
        let listed = api.get(&path).await.unwrap();
        listed["data"].as_array().filter(|data| data.len() == 1)?;
        Some(listed)
    });
    let letter = found.await.unwrap()["data"][0].clone();
    assert_eq!(letter["reason"], "too_large", "{letter}");
    cluster
        .receiver
        .wait_for("/ok", 10, PATIENCE)
        .await
        .unwrap();

    limit(&basis, &format!("{}events", cluster.prefix)).await;
    let answer = post(&api, &app, &large).await;
    assert_eq!(answer, 413);
    assert_eq!(post(&api, &app, &small).await, 202);
    cluster
        .receiver
        .wait_for("/ok", 11, PATIENCE)
        .await
        .unwrap();
}

async fn post(api: &Api, app: &str, payload: &Value) -> u16 {
    let event = json!({ "eventType": "a.b", "payload": payload });
    let path = format!("/api/v1/app/{app}/msg");
    api.try_post(&path, &event).await.unwrap().status
}

/// The topic takes records of 50 KiB at most, from when all brokers know it.
async fn limit(basis: &Basis, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(basis).create().unwrap();
    let change =
        AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", "51200");
    let changed = admin.alter_configs([&change], &AdminOptions::new()).await;
    changed.unwrap().pop().unwrap().unwrap();
    let producer: FutureProducer = config(basis).create().unwrap();
    let known = eventually("the broker holds the topic to it", PATIENCE, async || {
        let value = vec![b'x'; 60 << 10];
        let record = FutureRecord::<[u8], [u8]>::to(topic).payload(&value);
        producer.send(record, PATIENCE).await.err()
    });
    known.await.unwrap();
}
