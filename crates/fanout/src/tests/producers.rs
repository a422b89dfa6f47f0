//! Producers that write straight to the topic.

use std::time::Duration;

use bytes::Bytes;
use postrider_log::{Log, NewRecord};
use postrider_model::topics::{
    DELIVERIES_NORMAL, EVENTS, EVENTS_REJECTED, EVENTS_WAITING, FANOUTS,
};
use postrider_model::{AppId, Clock, Event, IntakeLimits, NULL_VALUE, Record, SystemClock};
use postrider_store::{Application, Applications, EventTypeInfo, EventTypes};

use super::house::{House, application};
use crate::{Options, Rejected};

const CE: [(&str, &str); 4] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "17"),
    ("ce_source", "/shop"),
    ("ce_type", "order.created"),
];
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

fn record(key: &str, headers: &[(&'static str, &str)], value: &str) -> NewRecord {
    let mut record = NewRecord::new(EVENTS, key.to_owned(), value.to_owned());
    for (name, text) in headers {
        record.headers.push(*name, (*text).to_owned());
    }
    record
}

/// An application that is known by a uid, too.
pub(super) async fn shop(house: &House) -> AppId {
    let shop = Application {
        uid: Some("shop".parse().unwrap()),
        ..application(AppId::new())
    };
    house.store.insert_application(&shop).await.unwrap();
    house.endpoint(|endpoint| endpoint.app_id = shop.id).await;
    shop.id
}

fn header(record: &Record, name: &str) -> String {
    let value = record.headers.get(name).unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn events_in_each_form_go_to_their_endpoints_whether_the_application_is_named_by_id_or_uid() {
    let house = House::new(Options::default()).await;
    let shop = shop(&house).await;
    let id = shop.to_string();
    let json = format!(
        r#"{{"specversion":"1.0","id":"18","source":"/shop","type":"a.b","application":"{id}","data":{{}}}}"#
    );
    let plain = [
        ("application", "shop"),
        ("event-type", "a.b"),
        ("event-id", "19"),
    ];
    house.append(record("shop", &CE, "{}")).await;
    house.append(record("", &[STRUCTURED], &json)).await;
    house.append(record("", &plain, "{}")).await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 3).await;
    let got: Vec<_> = deliveries.iter().map(|d| (d.app_id, d.event_id)).collect();
    let named = |source, id| (shop, Event::derived_id(shop, source, id));
    assert_eq!(
        got,
        [named("/shop", "17"), named("/shop", "18"), named("", "19")]
    );
    assert!(deliveries.iter().all(|delivery| delivery.payload == "{}"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_producer_is_written_for_the_archive_as_the_event_that_was_delivered() {
    let house = House::new(Options::default()).await;
    let shop = shop(&house).await;
    house.append(record("shop", &CE, "\0")).await;
    house.settle().await;
    let records = house.log.records(FANOUTS);
    let archived: Vec<_> = records.iter().filter(|r| Event::is_own(r)).collect();
    let event = Event::from_record(archived[0]).unwrap();
    let delivery = &house.deliveries(DELIVERIES_NORMAL, 1).await[0];
    assert_eq!(
        (event.id, event.app_id, event.accepted_at, event.payload),
        (
            delivery.event_id,
            shop,
            delivery.accepted_at,
            delivery.payload.clone()
        )
    );
    assert_eq!((archived.len(), house.fanouts(2).await.len()), (1, 1));
    // Our own are archived from where ingest wrote them.
    house.publish(|_| {}).await;
    house.settle().await;
    assert_eq!(house.log.records(FANOUTS).len(), 3);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_bad_record_is_set_aside_as_it_was_received_counted_and_stops_nobody() {
    let options = Options {
        intake: IntakeLimits {
            payload_bytes: 1000,
            ..IntakeLimits::default()
        },
        ..Options::default()
    };
    let house = House::new(options).await;
    shop(&house).await;
    let with = |name: &'static str, value: &'static str| {
        let mut headers = CE.to_vec();
        headers.retain(|(given, _)| *given != name);
        headers.push((name, value));
        record("shop", &headers, "{}")
    };
    let mut not_utf8 = record("shop", &CE, "{}");
    not_utf8.headers.push("ce_custom", &b"\xff"[..]);
    let mut null = record("shop", &CE, "");
    null.headers.push(NULL_VALUE, "");
    let bad = [
        (record("", &[], "x"), Rejected::Malformed),
        (with("ce_specversion", "0.3"), Rejected::Malformed),
        (with("ce_type", "a b"), Rejected::EventType),
        (not_utf8, Rejected::NotUtf8),
        (null, Rejected::NoValue),
        (record("shop", &CE, &"x".repeat(1001)), Rejected::TooLarge),
        (
            with("content-type", "application/cloudevents-batch+json"),
            Rejected::Unsupported,
        ),
        (record("nobody", &CE, "{}"), Rejected::NoApplication),
        (record("no / name", &CE, "{}"), Rejected::NoApplication),
    ];
    for (count, (record, _)) in bad.iter().enumerate() {
        house.append(record.clone()).await;
        let id = count.to_string();
        let headers = [CE[0], ("ce_id", id.as_str()), CE[2], CE[3]];
        house.append(self::record("shop", &headers, "{}")).await;
    }
    house.settle().await;
    assert_eq!(house.log.records(DELIVERIES_NORMAL).len(), bad.len());
    let rejected = house.log.records(EVENTS_REJECTED);
    assert_eq!(rejected.len(), bad.len());
    for ((sent, reason), kept) in bad.iter().zip(&rejected) {
        assert_eq!((&kept.key, &kept.value), (&sent.key, &sent.value));
        let as_sent = |(name, value)| kept.headers.get(name) == Some(value);
        assert!(sent.headers.iter().all(as_sent), "{kept:?}");
        assert!(!header(kept, "postrider-reason").is_empty());
        assert!(house.metrics.rejected.of(*reason).get() > 0, "{reason:?}");
    }
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_for_an_application_that_only_the_store_knows_waits_and_stays_the_same_event() {
    let house = House::new(Options::default()).await;
    let newcomer = Application {
        uid: Some("newcomer".parse().unwrap()),
        ..application(AppId::new())
    };
    house.store.insert_application(&newcomer).await.unwrap();
    house.store.set_available(false);
    let plain = [("application", "newcomer"), ("event-type", "a.b")];
    house.append(record("", &plain, "{}")).await;
    house.append(record("", &plain, "{}")).await;
    house.log.wait_for_records(EVENTS_WAITING, 2).await;
    let came = house.log.records(EVENTS)[0].appended_at;
    tokio::time::sleep(Duration::from_secs(30)).await;
    house.store.set_available(true);
    let fanouts = house.log.wait_for_records(FANOUTS, 4).await;
    let events = fanouts.iter().filter(|record| Event::is_own(record));
    let events: Vec<_> = events.map(|r| Event::from_record(r).unwrap()).collect();
    assert_eq!(events[0].accepted_at, came);
    assert_ne!(events[0].id, events[1].id, "two events, not one twice");
    assert!(house.log.records(EVENTS_REJECTED).is_empty());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_events_of_producers_that_are_known_go_on() {
    let house = House::new(Options::default()).await;
    let shop = shop(&house).await;
    house.append(record("shop", &CE, "{}")).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;
    house.store.set_available(false);
    let headers = [CE[0], ("ce_id", "18"), CE[2], CE[3]];
    house.append(record("shop", &headers, "{}")).await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 2).await;
    assert_eq!(
        deliveries[1].event_id,
        Event::derived_id(shop, "/shop", "18")
    );
    house.store.set_available(true);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_installation_takes_registered_types_only_and_asks_the_store_before_it_rejects() {
    let options = Options {
        strict_event_types: true,
        ..Options::default()
    };
    let house = House::new(options).await;
    shop(&house).await;
    house.append(record("shop", &CE, "{}")).await;
    let rejected = house.log.wait_for_records(EVENTS_REJECTED, 1).await;
    let reason = header(&rejected[0], "postrider-reason");
    assert!(reason.starts_with("the event type order.created is not registered"));
    assert_eq!(house.metrics.rejected.of(Rejected::UnknownType).get(), 1);
    let now = SystemClock.now();
    let registered = EventTypeInfo {
        name: "order.created".parse().unwrap(),
        description: String::new(),
        archived: false,
        deprecated: false,
        schemas: None,
        feature_flag: None,
        version: 0,
        created_at: now,
        updated_at: now,
    };
    house.store.insert_event_type(&registered).await.unwrap();
    house.append(record("shop", &CE, "{}")).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_producers_repeat_has_the_same_event_id() {
    let house = House::new(Options::default()).await;
    shop(&house).await;
    house.append(record("shop", &CE, "{}")).await;
    house.append(record("shop", &CE, "{}")).await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 2).await;
    assert_eq!(deliveries[0].id, deliveries[1].id);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_of_any_bytes_is_delivered_byte_for_byte() {
    let house = House::new(Options::default()).await;
    shop(&house).await;
    let mut sent = record("shop", &CE, "");
    sent.value = Bytes::from_static(b"\0\xff\r\n");
    house.append(sent.clone()).await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 1).await;
    assert_eq!(deliveries[0].payload, sent.value);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fits_the_limit_and_not_the_log_is_rejected_and_stops_nobody() {
    let options = Options {
        intake: IntakeLimits {
            payload_bytes: usize::MAX,
            ..IntakeLimits::default()
        },
        ..Options::default()
    };
    let house = House::new(options).await;
    shop(&house).await;
    let mut large = record("", &[("application", "shop"), ("event-type", "t")], "");
    large.value = vec![b'x'; house.log.limits().record_bytes - large.size()].into();
    house.append(large).await;
    house.append(record("shop", &CE, "{}")).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;
    let rejected = house.log.records(EVENTS_REJECTED);
    let reason = header(&rejected[0], "postrider-reason");
    assert!(reason.starts_with("it makes a record of"), "{reason}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_with_a_large_key_or_large_headers_is_set_aside_and_stops_nobody() {
    let house = House::new(Options::default()).await;
    shop(&house).await;
    let limit = house.log.limits().record_bytes;
    let mut of_key = record("", &[("event-type", "t")], "of key");
    of_key.key = vec![b'k'; limit - of_key.size()].into();
    let mut of_headers = record("nobody", &[("event-type", "t")], "of headers");
    let room = limit - of_headers.size() - 1;
    of_headers.headers.push("n", vec![b'h'; room]);
    house.append(of_key).await;
    house.append(of_headers.clone()).await;
    house.append(record("shop", &CE, "{}")).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;
    assert_eq!(house.log.records(EVENTS_REJECTED).len(), 2);
    // With the store down it cannot wait for it either: that takes headers, too.
    house.store.set_available(false);
    house.append(of_headers).await;
    house.append(record("shop", &CE, "{}")).await;
    house.deliveries(DELIVERIES_NORMAL, 2).await;
    let rejected = house.log.records(EVENTS_REJECTED);
    assert_eq!(rejected.len(), 3);
    for (kept, value) in rejected.iter().zip(["of key", "of headers", "of headers"]) {
        assert_eq!(kept.value, value);
        let cut = header(kept, "postrider-cut");
        assert!(cut.starts_with("from a key of "), "{cut}");
    }
    let waiting = house.log.records(EVENTS_WAITING);
    assert!(waiting.iter().all(|record| record.value != "of headers"));
    house.stop().await;
}
