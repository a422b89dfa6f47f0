//! The panels that only Kafka has an answer for, asked while what each exists for happens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use postrider_testkit::{Broker, Prometheus, eventually, pause, proceed};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::brokers::overfill;
use super::crowd::Crowd;
use super::sizes::config;
use super::{Basis, Cluster, PATIENCE};
use crate::observing::{fires, queries, watching};

/// A rate tells of what happened within the last 30 s.
const SEEN: Duration = Duration::from_secs(40);

/// A Prometheus of a cluster, and what it has answered so far.
struct Asked {
    prometheus: Prometheus,
    left: BTreeSet<String>,
}

impl Asked {
    /// Waits until every query that has one of these names in it has answered with something above zero.
    async fn until_above_zero(&mut self, names: &[&str]) {
        for name in names {
            let seen = self.is_above_zero(name, PATIENCE).await;
            seen.unwrap();
        }
    }

    /// Likewise of one name, so long at most.
    async fn is_above_zero(&mut self, name: &str, within: Duration) -> anyhow::Result<()> {
        let named = self.left.iter().filter(|text| text.contains(name));
        let named: Vec<String> = named.cloned().collect();
        assert!(!named.is_empty(), "no panel is left that asks for {name}");
        for text in named {
            let what = format!("{text} is above zero");
            let above = eventually(&what, within, async || {
                let values = self.prometheus.query(&text).await.ok()?;
                values.iter().any(|(_, value)| *value > 0.0).then_some(())
            });
            above.await?;
            self.left.remove(&text);
        }
        Ok(())
    }

    /// How many partitions the process at this address owns, or was last seen to.
    async fn owned_by(&self, process: SocketAddr) -> f64 {
        let query = format!("postrider_kafka_owned_partitions{{instance=\"{process}\"}}");
        let owned = self.prometheus.query(&query).await.unwrap();
        owned.first().map_or(0.0, |(_, count)| *count)
    }

    /// Waits until that are more than `before`.
    async fn until_owned_by(&self, process: SocketAddr, before: f64) {
        let what = format!("{process} owns more than {before} partitions");
        let more = eventually(&what, PATIENCE, async || {
            (self.owned_by(process).await > before).then_some(())
        });
        more.await.unwrap();
    }

    /// Waits until so many processes own partitions.
    async fn until_owners(&self, count: usize) {
        let what = format!("{count} processes own partitions");
        let query = "postrider_kafka_owned_partitions > 0";
        let owners = eventually(&what, PATIENCE, async || {
            let owners = self.prometheus.query(query).await.ok()?;
            (owners.len() == count).then_some(())
        });
        owners.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_of_kafka_shows_the_fault_that_it_exists_for() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path()).await.unwrap();
    let basis = Basis {
        brokers: broker.address(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    cluster.set("LOG__KAFKA__QUEUE", "1MiB");
    cluster.set("LOG__KAFKA__QUEUE_WAIT", "100ms");
    cluster.set("LOG__KAFKA__DELIVERY_TIMEOUT", "2s");
    cluster.lay_out().await;
    cluster.play_the_rest().await;
    let workers = ["worker-1", "worker-2"];
    for name in workers {
        cluster.play(name, "worker").await;
    }
    cluster.ready().await;
    let all = ["rest", "worker-1", "worker-2"].map(|name| cluster.target(name).address);
    let kafka = queries().into_iter().filter(|query| query.needs_kafka());
    let mut asked = Asked {
        prometheus: watching(&all).await,
        left: kafka.map(|query| query.text).collect(),
    };
    let crowd = Crowd::settle(&cluster, "rest").await;
    let load = crowd.load(&cluster, "rest", 20.0);
    asked.until_owners(3).await;
    let always = ["postrider_kafka_owned_partitions", "postrider_kafka_append"];
    asked.until_above_zero(&always).await;
    // Somebody writes to the topic what is no event.
    let producer: FutureProducer = config(&basis).create().unwrap();
    let events = format!("{}events", cluster.prefix);
    let nonsense = FutureRecord::<[u8], [u8]>::to(&events).payload(&[0xff, 0]);
    producer.send(nonsense, PATIENCE).await.unwrap();
    asked.until_above_zero(&["postrider_fanout_rejected"]).await;

    // Killed, one of the workers owns nothing, and the other all; back again, it is given its part.
    let [_, first, second] = all;
    let before = asked.owned_by(second).await;
    cluster.process(workers[0]).kill();
    asked.until_owned_by(second, before).await;
    cluster.process(workers[0]).restart().await;
    asked.until_above_zero(&["postrider_kafka_given_up"]).await;
    asked.until_owners(3).await;

    // Stopped for longer than its session, a worker finds its partitions gone. A rate tells of it only if the worker was
    // seen shortly before, so it may have to sleep again.
    let sleeper = cluster.server(workers[1]).pid();
    let mut slept = 0;
    while slept == 0
        || asked
            .is_above_zero("postrider_kafka_lost", SEEN)
            .await
            .is_err()
    {
        assert!(slept < 5, "no partition is seen to be lost");
        slept += 1;
        asked.until_owners(3).await;
        let before = asked.owned_by(first).await;
        pause(sleeper).unwrap();
        asked.until_owned_by(first, before).await;
        proceed(sleeper).unwrap();
    }

    // The broker takes nothing.
    pause(broker.pid().unwrap()).unwrap();
    overfill(&cluster, &crowd, || {}).await;
    let short = ["queued_bytes", "refused_total", "busy_total"];
    asked.until_above_zero(&short).await;
    for alert in ["PostriderLogUnreachable", "PostriderIngestUnavailable"] {
        fires(&asked.prometheus, alert).await;
    }
    proceed(broker.pid().unwrap()).unwrap();
    load.stop().await;
    assert!(asked.left.is_empty(), "never asked: {:?}", asked.left);
}
