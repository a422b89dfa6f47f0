//! What the official CloudEvents library for Python makes of events.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_log::NewRecord;
use postrider_model::topics::{DELIVERIES_NORMAL, EVENTS, EVENTS_REJECTED};
use postrider_model::{Delivery, Event};
use postrider_testkit::{CLOUDEVENTS, client_library};
use serde_json::Value;

use super::house::House;
use super::producers::shop;
use crate::Options;

/// The messages by event and mode, as the library makes them.
fn messages() -> Value {
    let python = client_library(CLOUDEVENTS).unwrap().join("bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/kafka_messages.py");
    let output = Command::new(python).arg(script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn record(message: &Value) -> NewRecord {
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let mut record = NewRecord::new(EVENTS, bytes(&message["key"]), bytes(&message["value"]));
    for header in message["headers"].as_array().unwrap() {
        let name = header[0].as_str().unwrap().to_owned();
        record.headers.push(name, bytes(&header[1]));
    }
    record
}

#[tokio::test(start_paused = true)]
async fn its_events_are_delivered_and_the_same_in_both_modes() {
    let messages = messages();
    let house = House::new(Options::default()).await;
    let shop = shop(&house).await;
    let expected: [(&str, &[u8], &str); 5] = [
        ("json", br#"{"n": 1}"#, "application/json"),
        ("extension", br#"{"n": 2}"#, "application/json"),
        ("text", "grüße".as_bytes(), "text/plain"),
        ("bytes", b"\0\xff", "application/octet-stream"),
        ("untyped", br#"{"n": 5}"#, "application/json"),
    ];
    for (name, _, _) in &expected {
        for mode in ["binary", "structured"] {
            house.append(record(&messages[name][mode])).await;
        }
    }
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 10).await;
    assert!(house.log.records(EVENTS_REJECTED).is_empty());
    for (index, (name, payload, content_type)) in expected.iter().enumerate() {
        let id = Event::derived_id(shop, "/shop", &format!("order-{}", index + 1));
        let [first, second]: &[Delivery; 2] = deliveries[2 * index..][..2].try_into().unwrap();
        assert_eq!((first.event_id, second.event_id), (id, id), "{name}");
        assert_eq!(
            (&first.payload[..], &second.payload[..]),
            (*payload, *payload)
        );
        assert_eq!(first.content_type, *content_type);
        assert_eq!(second.content_type, *content_type);
    }
    house.stop().await;
}
