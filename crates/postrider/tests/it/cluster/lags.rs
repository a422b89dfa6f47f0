//! How far readers are: what several processes tell of the same partitions is what the brokers say, once.

use std::collections::BTreeMap;

use postrider_model::topics::{PARK, RETRY};
use postrider_testkit::{Behaviour, Prometheus, eventually};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use serde_json::{Value, json};

use super::sizes::config;
use super::{Basis, Cluster, PATIENCE};
use crate::observing::{fires, queries, watching_closely};

const EVENTS: u64 = 30;
const PATHS: [&str; 3] = ["/ok/0", "/ok/1", "/failing"];
/// So much longer than a record's delay may it lie there while nobody moves it, and be seen to.
const OVERDUE: f64 = 5.0;

/// How many records of these topics a group has not finished, by the brokers, as `kafka-consumer-groups --describe` says.
fn behind(basis: &Basis, cluster: &Cluster, group: &str, topics: &[&str]) -> u64 {
    let group = format!("{}{group}", cluster.prefix);
    let client: BaseConsumer = config(basis).set("group.id", group).create().unwrap();
    let partitions: i32 = cluster.setting("LOG__KAFKA__PARTITIONS").parse().unwrap();
    let mut asked = TopicPartitionList::new();
    for topic in topics {
        asked.add_partition_range(&format!("{}{topic}", cluster.prefix), 0, partitions - 1);
    }
    let committed = client.committed_offsets(asked, PATIENCE).unwrap();
    let mut records = 0;
    for one in committed.elements() {
        let (topic, partition) = (one.topic(), one.partition());
        let (first, end) = client.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        let next = match one.offset() {
            Offset::Offset(next) => next.max(first),
            _ => first,
        };
        records += u64::try_from(end - next).unwrap();
    }
    records
}

/// The panel's query of this name, and of those the one with this in it.
fn panel(title: &str, within: &str) -> String {
    let found = queries()
        .into_iter()
        .find(|query| query.place.contains(title) && query.text.contains(within));
    found.unwrap().text
}

/// Waits until the series of `query` with these labels add up to `count`.
async fn comes_to(prometheus: &Prometheus, query: &str, labels: &Value, count: u64) {
    let mut last = Vec::new();
    let what = format!("{query} comes to {count} at {labels}");
    let wanted = labels.as_object().unwrap();
    let there = eventually(&what, PATIENCE, async || {
        last = prometheus.query(query).await.ok()?;
        let of = |series: &Value| wanted.iter().all(|(name, value)| series[name] == *value);
        let values = last.iter().filter(|(series, _)| of(series));
        let sum: f64 = values.map(|(_, value)| value).sum();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let same = (sum - count as f64).abs() < 0.5;
        same.then_some(())
    });
    let there = there.await;
    assert!(there.is_ok(), "{what}, and not {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lags_that_several_processes_tell_of_are_those_of_the_brokers_and_what_no_pump_moves_is_overdue()
 {
    let basis = Basis::shared();
    let mut cluster = Cluster::on(&basis).await;
    let schedule = format!("0s,{}", ["1s"; 39].join(","));
    cluster.set("DELIVERY__SCHEDULE", schedule);
    cluster.set("DELIVERY__BREAKER_LONGEST_WAIT", "2s");
    cluster.lay_out().await;
    cluster
        .play("rest", "ingest,fanout,deadletter,recorder")
        .await;
    // They read nothing, and so tell of every group.
    for name in ["api-1", "api-2", "api-3"] {
        cluster.play(name, "api").await;
    }
    cluster.play("worker", "worker").await;
    cluster.ready().await;
    let all = ["rest", "api-1", "api-2", "api-3", "worker"];
    let prometheus = watching_closely(&all.map(|name| cluster.target(name).address)).await;
    let api = cluster.api("api-1");
    let app = api.create_app("lags").await.unwrap();
    for path in PATHS {
        let how = match path {
            "/failing" => Behaviour::Status(500),
            _ => Behaviour::Ok,
        };
        let spec = json!({ "url": cluster.receiver.on(path, how) });
        api.create_endpoint(&app, &spec).await.unwrap();
    }
    let publish = async || {
        for _ in 0..EVENTS {
            api.publish(&app, "scenario.event", &json!({}))
                .await
                .unwrap();
        }
    };
    publish().await;
    for path in ["/ok/0", "/ok/1"] {
        let came = cluster.receiver.wait_for(path, EVENTS, PATIENCE).await;
        came.unwrap();
    }

    // What failed, and what is put aside behind it, waits for a pump, and there is none.
    let (retry, park) = (
        RETRY.map(|tier| tier.topic.0),
        PARK.map(|tier| tier.topic.0),
    );
    let waits = || {
        (
            behind(&basis, &cluster, "pump", &retry),
            behind(&basis, &cluster, "pump", &park),
        )
    };
    let all_wait = eventually("all that failed waits", PATIENCE, async || {
        let (retried, parked) = waits();
        (retried + parked == EVENTS).then_some((retried, parked))
    });
    let (retried, parked) = all_wait.await.unwrap();
    let everywhere = json!({});
    for (title, count, kind) in [
        ("Deliveries that wait", retried, "retry"),
        ("Deliveries that wait", parked, "park"),
        ("Retries by delay", retried, "retry"),
        ("Parked by delay", parked, "park"),
    ] {
        comes_to(&prometheus, &panel(title, kind), &everywhere, count).await;
    }
    assert_eq!(waits(), (retried, parked));
    let overdue = panel("For how long they are overdue", "overdue");
    answers(&prometheus, &format!("({overdue}) > {OVERDUE}")).await;
    fires(&prometheus, "PostriderWaitingOverdue").await;

    cluster.receiver.on("/failing", Behaviour::Ok);
    cluster.play("pump", "pump").await;
    let again = cluster.receiver.wait_for("/failing", EVENTS, PATIENCE);
    again.await.unwrap();
    answers(&prometheus, &format!("max({overdue}) < {OVERDUE}")).await;
    for kind in ["retry", "park"] {
        let waiting = panel("Deliveries that wait", kind);
        comes_to(&prometheus, &waiting, &everywhere, 0).await;
    }

    // What is published waits for a worker, and there is none any more.
    cluster.dismiss("worker").await;
    publish().await;
    let topics = ["deliveries.high", "deliveries.normal", "deliveries.bulk"];
    let deliveries = 3 * EVENTS;
    let by_topic = panel("Lag by topic", "lag_records");
    let normal = json!({ "topic": "deliveries.normal", "group": "worker" });
    comes_to(&prometheus, &by_topic, &normal, deliveries).await;
    assert_eq!(behind(&basis, &cluster, "worker", &topics), deliveries);
    let tellers =
        "count by (partition) (postrider_log_lag_records{topic=\"deliveries.normal\"} > 0) >= 3";
    answers(&prometheus, tellers).await;
    let by_group = panel("Records to be read", "lag_records");
    let worker = json!({ "group": "worker" });
    comes_to(&prometheus, &by_group, &worker, deliveries).await;
    for alert in ["PostriderRoleAway", "PostriderOldestRecordTooOld"] {
        fires(&prometheus, alert).await;
    }
    each_partition_once(
        &prometheus,
        &panel("Partitions that lag most", "lag_records"),
    )
    .await;
}

/// Waits until `query` has an answer.
async fn answers(prometheus: &Prometheus, query: &str) {
    let answered = eventually(query, PATIENCE, async || {
        let values = prometheus.query(query).await.ok()?;
        (!values.is_empty()).then_some(())
    });
    answered.await.unwrap();
}

async fn each_partition_once(prometheus: &Prometheus, query: &str) {
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for (series, _) in prometheus.query(query).await.unwrap() {
        let of = ["topic", "group", "partition"].map(|label| series[label].to_string());
        *told.entry(of.join(" ")).or_default() += 1;
    }
    assert!(told.values().all(|times| *times == 1), "{told:?}");
    assert!(told.keys().any(|of| of.contains("deliveries")), "{told:?}");
}
