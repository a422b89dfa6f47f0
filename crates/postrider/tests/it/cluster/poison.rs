//! Records that nobody should write, among good ones.

use std::time::{Duration, Instant};

use postrider_testkit::{Api, Behaviour, eventually};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use super::sizes::{alone, config};
use super::{Basis, Cluster, PATIENCE};

type Raw = (Vec<(&'static str, Option<Vec<u8>>)>, Option<Vec<u8>>);

/// A record with nothing wrong.
fn good(app: &str, number: usize) -> Raw {
    let headers = vec![
        ("application", Some(app.as_bytes().to_vec())),
        ("event-type", Some(b"good.event".to_vec())),
    ];
    (headers, Some(format!("{{\"n\":{number}}}").into_bytes()))
}

/// Records with something wrong, each with something else; the last is too large.
fn bad(app: &str) -> Vec<Raw> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let plain =
        |event_type: &str| vec![("application", text(app)), ("event-type", text(event_type))];
    let cloud = || {
        vec![
            ("ce_specversion", text("1.0")),
            ("ce_type", text("a.b")),
            ("ce_source", text("/poison")),
            ("ce_application", text(app)),
        ]
    };
    let twice = [cloud(), vec![("ce_id", text("1")), ("ce_id", text("2"))]].concat();
    let garbage = Some(vec![0, 0xff, 0xfe, 0x80, 7]);
    vec![
        (Vec::new(), garbage.clone()),
        (Vec::new(), None),
        (plain("a.b"), None),
        (plain("not a type!"), text("{}")),
        (
            vec![("application", garbage), ("event-type", text("a.b"))],
            text("{}"),
        ),
        (
            vec![("application", None), ("event-type", text("a.b"))],
            text("{}"),
        ),
        (
            vec![("application", text("nobody")), ("event-type", text("a.b"))],
            text("{}"),
        ),
        (cloud(), text("{}")),
        (twice, text("{}")),
        (
            vec![("content-type", text("application/cloudevents+json"))],
            text("{\"specversion\":"),
        ),
        (plain("too.large"), Some(vec![b'x'; 2 << 20])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_good_records_is_rejected_and_every_good_one_arrives() {
    const ROUNDS: usize = 5;
    let basis = Basis::shared();
    let mut cluster = Cluster::on(&basis).await;
    let (api, app) = alone(&mut cluster).await;
    let producer: FutureProducer = config(&basis).create().unwrap();
    let events = format!("{}events", cluster.prefix);
    let (mut poison, mut due) = (0, 0);
    for round in 0..ROUNDS {
        for bad in bad(&app) {
            write(&producer, &events, vec![bad, good(&app, round)]).await;
            poison += 1;
            api.publish(&app, "good.event", &json!({})).await.unwrap();
            due += 2;
        }
    }
    let receiver = &cluster.receiver;
    receiver.wait_for("/ok", due, PATIENCE).await.unwrap();
    let rejected = eventually("every bad one is rejected", PATIENCE, async || {
        let listed = rejected(&api).await.ok()?;
        (listed.len() == poison).then_some(listed)
    });
    let rejected = rejected.await.unwrap();
    assert!(rejected.iter().all(|one| one["reason"].is_string()));
    cluster.idle().await;
    assert_eq!(receiver.count("/ok"), due);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_times_as_much_poison_does_not_slow_the_reader_of_good_records() {
    let mut paced = Paced::set_up().await;
    let (mut clean, mut poisoned) = (Duration::MAX, Duration::MAX);
    // In turns, and the quicker of two counts: others use the machine, too.
    for _ in 0..2 {
        clean = clean.min(paced.takes(0).await);
        poisoned = poisoned.min(paced.takes(5).await);
    }
    println!(
        "{GOOD} good records took {clean:?}, and {poisoned:?} among {} bad ones",
        5 * GOOD
    );
    // Each of them is written to another topic, a few hundred at a time: a wait for each would be a multiple of this.
    assert!(
        poisoned < 5 * clean + Duration::from_secs(4),
        "{poisoned:?}, not {clean:?}"
    );
}

const GOOD: usize = 500;

/// A fan-out that is started once all that it is to read has been written.
struct Paced {
    cluster: Cluster,
    producer: FutureProducer,
    app: String,
    /// Good ones so far.
    due: usize,
}

impl Paced {
    async fn set_up() -> Self {
        let basis = Basis::shared();
        let mut cluster = Cluster::on(&basis).await;
        cluster.lay_out().await;
        let rest = "ingest,worker,pump,deadletter,recorder,api";
        cluster.play("rest", rest).await;
        cluster.play("fanout", "fanout").await;
        cluster.ready().await;
        let api = cluster.api("rest");
        let app = api.create_app("paced").await.unwrap();
        let spec = json!({ "url": cluster.receiver.on("/ok", Behaviour::Ok) });
        api.create_endpoint(&app, &spec).await.unwrap();
        Self {
            producer: config(&basis).create().unwrap(),
            cluster,
            app,
            due: 0,
        }
    }

    /// How long the good ones take, each behind so many bad ones, from when fan-out is ready.
    async fn takes(&mut self, bad_before_each: usize) -> Duration {
        self.cluster.process("fanout").terminate().await;
        let kinds = bad(&self.app);
        let mut kinds = kinds.iter().take(kinds.len() - 1).cycle();
        let mut records = Vec::new();
        for number in 0..GOOD {
            records.extend(kinds.by_ref().take(bad_before_each).cloned());
            records.push(good(&self.app, number));
        }
        let poison = records.len() - GOOD;
        let events = format!("{}events", self.cluster.prefix);
        write(&self.producer, &events, records).await;
        self.due += GOOD;
        let fanout = self.cluster.process("fanout");
        fanout.restart().await;
        fanout.ready().await;
        let began = Instant::now();
        let come = self
            .cluster
            .receiver
            .wait_for("/ok", self.due as u64, PATIENCE);
        come.await.unwrap();
        let took = began.elapsed();
        let fanout = self.cluster.find("fanout");
        let all = eventually("each bad one is counted", PATIENCE, async || {
            let rejected = fanout.counted("postrider_fanout_rejected_total").await;
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let all = poison as f64;
            (rejected >= all).then_some(())
        });
        all.await.unwrap();
        took
    }
}

/// All that was set aside. A page ends where it has so many bytes, whatever its limit.
async fn rejected(api: &Api) -> anyhow::Result<Vec<Value>> {
    let (mut listed, mut from) = (Vec::new(), String::new());
    loop {
        let page = api
            .get(&format!("/api/v1/rejected?limit=250{from}"))
            .await?;
        listed.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["done"] == true {
            return Ok(listed);
        }
        from = format!("&iterator={}", page["iterator"].as_str().unwrap());
    }
}

/// Writes all of them, in their order, and returns once they are acknowledged.
async fn write(producer: &FutureProducer, topic: &str, records: Vec<Raw>) {
    let mut written = Vec::new();
    for (headers, value) in &records {
        let mut given = OwnedHeaders::new();
        for (key, value) in headers {
            let value = value.as_deref();
            given = given.insert(Header { key, value });
        }
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).headers(given);
        if let Some(value) = value {
            record = record.payload(value);
        }
        let queued = producer.send_result(record);
        written.push(queued.map_err(|(error, _)| error).unwrap());
    }
    for one in written {
        one.await.unwrap().map_err(|(error, _)| error).unwrap();
    }
}
