//! Records that nobody should write, among good ones.

use postrider_testkit::{Api, eventually};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use super::sizes::{alone, config};
use super::{Basis, Cluster, PATIENCE};

type Raw = (Vec<(&'static str, Option<Vec<u8>>)>, Option<Vec<u8>>);

/// Records with something wrong, each with something else.
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
    let (mut poison, mut good) = (0, 0);
    for round in 0..ROUNDS {
        for (headers, value) in bad(&app) {
            write(&producer, &events, headers, value).await;
            poison += 1;
            let headers = vec![
                ("application", Some(app.clone().into_bytes())),
                ("event-type", Some(b"good.event".to_vec())),
            ];
            let value = Some(format!("{{\"round\":{round}}}").into_bytes());
            write(&producer, &events, headers, value).await;
            api.publish(&app, "good.event", &json!({})).await.unwrap();
            good += 2;
        }
    }
    let receiver = &cluster.receiver;
    receiver.wait_for("/ok", good, PATIENCE).await.unwrap();
    let rejected = eventually("every bad one is rejected", PATIENCE, async || {
        let listed = rejected(&api).await.ok()?;
        (listed.len() == poison).then_some(listed)
    });
    let rejected = rejected.await.unwrap();
    assert!(rejected.iter().all(|one| one["reason"].is_string()));
    cluster.idle().await;
    assert_eq!(receiver.count("/ok"), good);
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

async fn write(
    producer: &FutureProducer,
    topic: &str,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
    value: Option<Vec<u8>>,
) {
    let mut given = OwnedHeaders::new();
    for (key, value) in &headers {
        let value = value.as_deref();
        given = given.insert(Header { key, value });
    }
    let mut record = FutureRecord::<[u8], [u8]>::to(topic).headers(given);
    if let Some(value) = &value {
        record = record.payload(value);
    }
    producer.send(record, PATIENCE).await.unwrap();
}
