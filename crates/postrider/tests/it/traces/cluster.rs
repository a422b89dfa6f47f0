//! A trace through the processes of a cluster: what carries it are records on Kafka.

use std::time::Duration;

use postrider_testkit::{Behaviour, eventually};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use super::collector::{Collector, Seen, forest};
use super::{PARENT, TRACE, named, publish_at};
use crate::cluster::{Basis, Cluster, PATIENCE};

const OVER_HTTP: &str = "\
POST /api/v1/app/{app_id}/msg status_code=202
  send events
    process events deliveries=1
      process deliveries.normal result=dead_letter type=exhausted
        POST status_code=500 type=500 to=/mended
";

const REPLAYED: &str = "\
send deliveries.bulk link=replay
  process deliveries.bulk result=delivered
    POST status_code=200 to=/mended
";

const FROM_THE_TOPIC: &str = "\
process events deliveries=1
  process deliveries.normal result=delivered
    POST status_code=200 to=/mended
";

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_every_process_and_begins_where_the_producer_began_it() {
    let collector = Collector::start();
    let mut cluster = Cluster::on(&Basis::shared()).await;
    cluster.set("DELIVERY__SCHEDULE", "0s");
    cluster.set("TRACES__ENDPOINT", collector.endpoint());
    cluster.set("TRACES__SERVICE_NAME", "webhooks");
    cluster.lay_out().await;
    for (name, roles) in [
        ("ingest", "ingest"),
        ("fanout", "fanout"),
        ("worker", "worker"),
        ("pump", "pump"),
        ("deadletter", "deadletter"),
        ("recorder", "recorder"),
        ("api", "api"),
    ] {
        cluster.play(name, roles).await;
    }
    cluster.ready().await;
    let api = cluster.api("api");
    let app = api.create_app("traced").await.unwrap();
    let url = cluster.receiver.on("/mended", Behaviour::FailFirst(1, 500));
    api.create_endpoint(&app, &json!({ "url": url }))
        .await
        .unwrap();

    let parent = format!("00-{TRACE}-{PARENT}-01");
    let target = cluster.target("ingest");
    let server = format!("http://{}", target.address);
    publish_at(&server, &target.token, &app, &[("traceparent", &parent)]).await;
    let first = collector.wait_for(5, |_| true).await;
    assert_eq!(forest(&first), OVER_HTTP);
    let roots = named(&first, "POST /api/v1/app/{app_id}/msg");
    assert_eq!(
        (roots[0].trace.as_str(), roots[0].parent.as_str()),
        (TRACE, PARENT)
    );
    for (name, role) in [
        ("send events", "ingest"),
        ("process events", "fanout"),
        ("POST", "worker"),
    ] {
        let span = named(&first, name)[0];
        assert_eq!(span.resource["postrider.roles"], role);
        assert_eq!(span.resource["service.name"], "webhooks");
    }
    assert_eq!(
        named(&first, "process events")[0].get("messaging.system"),
        "kafka"
    );

    let found = eventually("the dead letter is kept", PATIENCE, async || {
        let listed = api
            .get(&format!("/api/v1/app/{app}/dead-letter"))
            .await
            .ok()?;
        listed["data"]
            .as_array()
            .filter(|data| data.len() == 1)
            .map(drop)
    });
    found.await.unwrap();
    api.post(
        &format!("/api/v1/app/{app}/replay"),
        &json!({ "filter": {} }),
    )
    .await
    .unwrap();
    // Nobody told the worker how the endpoint was, so one failure opened its breaker: the replay may be parked first.
    let counts =
        |span: &Seen| span.trace != TRACE && span.get("postrider.delivery.result") != "parked";
    let replayed = collector.wait_for(3, counts).await;
    assert_eq!(forest(&replayed), REPLAYED);
    let links = &named(&replayed, "send deliveries.bulk")[0].links;
    assert_eq!(
        (&links[0].0, &links[0].1),
        (&first[4].trace, &named(&first, "POST")[0].id)
    );

    let trace = "1".repeat(32);
    produce(&cluster, &app, &format!("00-{trace}-{PARENT}-01")).await;
    let foreign = collector.wait_for(3, |span| span.trace == trace).await;
    assert_eq!(forest(&foreign), FROM_THE_TOPIC);
    assert_eq!(named(&foreign, "process events")[0].parent, PARENT);
    cluster.terminate().await;
}

/// Writes a plain record to the topic, as a producer whose library adds the header.
async fn produce(cluster: &Cluster, app: &str, traceparent: &str) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.setting("LOG__KAFKA__BROKERS"))
        .create()
        .unwrap();
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    let headers = OwnedHeaders::new()
        .insert(header("application", app))
        .insert(header("event-type", "order.paid"))
        .insert(header("traceparent", traceparent));
    let topic = format!("{}events", cluster.setting("LOG__KAFKA__TOPIC_PREFIX"));
    let record = FutureRecord::to(&topic)
        .key(app)
        .payload("{\"order\":17}")
        .headers(headers);
    producer
        .send(record, Duration::from_secs(60))
        .await
        .unwrap();
}
