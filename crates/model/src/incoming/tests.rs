use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::topics::{EVENTS, EVENTS_WAITING};
use crate::{EventId, EventOrigin, Headers, NULL_VALUE, NewRecord, TopicPartition};

const CE: [(&str, &str); 4] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "17"),
    ("ce_source", "/shop"),
    ("ce_type", "order.created"),
];
const PLAIN: [(&str, &str); 2] = [("application", "shop"), ("event-type", "order.created")];
const STRUCTURED: (&str, &str) = (
    "content-type",
    "application/cloudevents+json; charset=UTF-8",
);

fn record(headers: &[(&str, &str)], value: &str) -> Record {
    let mut given = Headers::new();
    for (name, text) in headers {
        given.push((*name).to_owned(), (*text).to_owned());
    }
    Record {
        at: TopicPartition {
            topic: EVENTS,
            partition: 3,
        },
        position: 7,
        appended_at: Timestamp::from_millis(1_700_000_000_123),
        key: Bytes::from_static(b"shop"),
        headers: given,
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn read(record: &Record) -> Result<Foreign, Refused> {
    match Incoming::read(record, IntakeLimits::default())? {
        Incoming::Foreign(foreign) => Ok(foreign),
        Incoming::Own(_) => panic!("not our own"),
    }
}

fn refused(record: &Record) -> (RefusedFor, String) {
    let refused = read(record).unwrap_err();
    (refused.kind, refused.to_string())
}

fn app() -> AppId {
    AppId::from_bytes([7; 16])
}

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    base.iter()
        .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
        .chain(more)
        .copied()
        .collect()
}

#[test]
fn a_cloudevent_in_binary_mode_is_read_with_its_attributes_from_the_headers() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let more = [
        ("content-type", "text/plain"),
        ("ce_channels", "a, b"),
        ("ce_application", "other"),
        ("ce_time", "2026-01-31T12:00:00Z"),
        ("ce_traceparent", trace),
        ("ce_custom", "x"),
    ];
    let record = record(&with(&CE, &more), "\u{0} any bytes");
    let foreign = read(&record).unwrap();
    assert_eq!(foreign.application, "other");
    let event = foreign.into_event(app());
    assert_eq!(
        event,
        Event {
            id: Event::derived_id(app(), "/shop", "17"),
            app_id: app(),
            event_type: "order.created".parse().unwrap(),
            channels: vec!["a".parse().unwrap(), "b".parse().unwrap()],
            uid: None,
            content_type: "text/plain".to_owned(),
            payload: record.value.clone(),
            accepted_at: record.appended_at,
            trace: TraceContext::parse(trace),
            origin: EventOrigin::Accepted,
        }
    );
}

#[test]
fn without_the_extension_the_records_key_names_the_application_and_header_names_may_have_any_case()
{
    let headers = [
        ("CE_SpecVersion", "1.0"),
        ("Ce_Id", "17"),
        ("ce_Source", "/shop"),
        ("CE_TYPE", "order.created"),
        ("Content-Type", "image/png"),
    ];
    let foreign = read(&record(&headers, "x")).unwrap();
    assert_eq!(foreign.application, "shop");
    assert_eq!(foreign.into_event(app()).content_type, "image/png");
}

#[test]
fn a_cloudevent_in_structured_mode_is_the_same_event_as_in_binary_mode() {
    let json = r#"{"specversion":"1.0","id":"17","source":"/shop","type":"order.created","channels":"a","application":"other","datacontenttype":"application/json","data": {"n" : 1.0 }}"#;
    let structured = read(&record(&[STRUCTURED], json)).unwrap();
    let headers = with(&CE, &[("ce_channels", "a"), ("ce_application", "other")]);
    let binary = read(&record(&headers, r#"{"n" : 1.0 }"#)).unwrap();
    assert_eq!(structured, binary);
}

#[test]
fn structured_data_may_be_text_or_base64() {
    let head = r#"{"specversion":"1.0","id":"17","source":"/shop","type":"t""#;
    for (rest, payload) in [
        (
            r#","datacontenttype":"text/plain","data":"a\nb"}"#,
            &b"a\nb"[..],
        ),
        (
            r#","datacontenttype":"image/png","data_base64":"AP8="}"#,
            &[0, 255],
        ),
        (r#","data":"a"}"#, &br#""a""#[..]),
        ("}", &[]),
    ] {
        let record = record(&[STRUCTURED], &format!("{head}{rest}"));
        assert_eq!(
            read(&record).unwrap().published.payload(),
            payload,
            "{rest}"
        );
    }
}

#[test]
fn a_plain_record_needs_two_headers_and_is_the_same_event_each_time_it_is_read() {
    let first = record(&PLAIN, "{}");
    let event = read(&first).unwrap().into_event(app());
    assert_eq!(event, read(&first).unwrap().into_event(app()));
    assert_eq!(
        (event.content_type.as_str(), event.accepted_at),
        (Event::JSON, first.appended_at)
    );
    // Its equal twin, which the log took in the same batch, is another event.
    let twin = Record {
        position: 8,
        ..first.clone()
    };
    assert_ne!(event.id, read(&twin).unwrap().into_event(app()).id);
    // Nor are two records one event that lay at one place of two topics, one made after the other.
    let anew = Record {
        appended_at: Timestamp::from_millis(1_800_000_000_000),
        ..first
    };
    assert_ne!(event.id, read(&anew).unwrap().into_event(app()).id);
}

#[test]
fn a_plain_records_own_id_makes_its_repeat_the_same_event() {
    let headers = with(&PLAIN, &[("event-id", "17"), ("channels", "a")]);
    let first = record(&headers, "{}");
    let repeat = Record {
        position: 90,
        appended_at: Timestamp::default(),
        ..first.clone()
    };
    let id = |record| read(record).unwrap().into_event(app()).id;
    assert_eq!(id(&first), id(&repeat));
    assert_ne!(id(&first), Event::derived_id(app(), "/shop", "17"));
}

#[test]
fn what_waits_for_the_registry_becomes_the_same_event_from_where_it_waits() {
    for headers in [&PLAIN[..], &CE] {
        let first = record(headers, "{}");
        let mut waited = as_read(waiting(&first), 99);
        let event = read(&first).unwrap().into_event(app());
        assert_eq!(event, read(&waited).unwrap().into_event(app()));
        // And from where it waits again.
        waited = as_read(waiting(&waited), 100);
        assert_eq!(event, read(&waited).unwrap().into_event(app()));
    }
}

#[test]
fn a_producer_cannot_say_when_its_record_was_accepted() {
    let headers = with(&PLAIN, &[("postrider-accepted-at", "2001-01-01T00:00:00Z")]);
    let first = record(&headers, "{}");
    let event = read(&first).unwrap().into_event(app());
    assert_eq!(event.accepted_at, first.appended_at);
    let waited = as_read(waiting(&first), 99);
    assert_eq!(read(&waited).unwrap().into_event(app()), event);
}

fn as_read(new: NewRecord, position: u64) -> Record {
    Record {
        at: TopicPartition {
            topic: EVENTS_WAITING,
            partition: 0,
        },
        position,
        appended_at: Timestamp::from_millis(1_900_000_000_000),
        key: new.key,
        headers: new.headers,
        value: new.value,
    }
}

#[test]
fn our_own_records_are_told_by_their_source() {
    let event = Event {
        id: EventId::new(),
        ..read(&record(&CE, "{}")).unwrap().into_event(app())
    };
    let new = event.to_record();
    let own = Record {
        key: new.key,
        headers: new.headers,
        ..record(&[], "{}")
    };
    let limits = IntakeLimits::default();
    assert_eq!(Incoming::read(&own, limits), Ok(Incoming::Own(event)));
    let thief = record(&with(&CE, &[("ce_source", "postrider")]), "{}");
    let error = Incoming::read(&thief, limits).unwrap_err();
    assert_eq!(error.kind, RefusedFor::Malformed);
}

#[test]
fn each_mistake_is_refused_with_where_it_is_and_what_would_be_right() {
    use RefusedFor::{EventType, Malformed, NotUtf8, TooLarge, Unsupported};
    let ce = |more: &[(&'static str, &'static str)]| record(&with(&CE, more), "{}");
    let plain = |more: &[(&'static str, &'static str)]| record(&with(&PLAIN, more), "{}");
    let json = |text: &str| record(&[STRUCTURED], text);
    let long = "x".repeat(1025);
    let mut not_utf8 = ce(&[]);
    not_utf8
        .headers
        .push("ce_custom", Bytes::from_static(b"\xff"));
    let large = "x".repeat((1 << 20) + 1);
    let deep = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}1{}}}"#,
        "[".repeat(101),
        "]".repeat(101)
    );
    let cases = [
        (
            ce(&[("ce_specversion", "0.3")]),
            Malformed,
            "ce_specversion: expected 1.0",
        ),
        (ce(&[("ce_id", "")]), Malformed, "ce_id: expected 1 to 1024"),
        (
            record(&with(&CE, &[("ce_id", &long)]), "{}"),
            Malformed,
            "ce_id: expected 1 to 1024",
        ),
        (
            ce(&[("ce_type", "a b")]),
            EventType,
            "ce_type: \"a b\" is not a valid event type",
        ),
        (
            ce(&[("ce_time", "yesterday")]),
            Malformed,
            "ce_time: expected a time",
        ),
        (ce(&[("ce_channels", "a,b c")]), Malformed, "ce_channels: "),
        (
            ce(&[("ce_channels", "a,b,c,d,e,f")]),
            Malformed,
            "ce_channels: expected at most 5",
        ),
        (
            ce(&[("content-type", "a\nb")]),
            Malformed,
            "content-type: expected a media type",
        ),
        (record(&CE[..3], "{}"), Malformed, "ce_type: is missing"),
        (
            record(&[CE[1], CE[1]], "{}"),
            Malformed,
            "ce_id: stands there twice",
        ),
        (not_utf8, NotUtf8, "ce_custom: not UTF-8"),
        (plain(&[("event-type", "ä")]), EventType, "event-type: "),
        (
            plain(&[("event-id", "")]),
            Malformed,
            "event-id: expected 1 to",
        ),
        (
            record(&PLAIN[..1], "{}"),
            Malformed,
            "event-type: is missing",
        ),
        (
            record(&PLAIN[1..], "{}"),
            Malformed,
            "application: is missing",
        ),
        (record(&[], "{}"), Malformed, "headers: neither"),
        (
            json("{}"),
            Malformed,
            "value: not a CloudEvent in JSON: missing field",
        ),
        (json("\u{0}"), Malformed, "value: not a CloudEvent in JSON"),
        (json(&deep), Malformed, "data: the JSON is nested deeper"),
        (
            record(&PLAIN, &large),
            TooLarge,
            "payload: 1048577 bytes; at most 1048576",
        ),
        (
            json(&"x".repeat(2 << 20)),
            TooLarge,
            "payload: 2097152 bytes",
        ),
        (
            record(
                &[("content-type", "Application/CloudEvents-batch+json")],
                "[]",
            ),
            Unsupported,
            "content-type: Application/CloudEvents-batch+json is not taken: send one event a record",
        ),
    ];
    for (record, kind, words) in cases {
        let (found, text) = refused(&record);
        assert_eq!(found, kind, "{text}");
        assert!(text.starts_with(words), "{text}");
    }
}

#[test]
fn a_key_that_names_nothing_is_refused_where_no_attribute_names_the_application() {
    let mut record = record(&CE, "{}");
    record.key = Bytes::new();
    assert!(refused(&record).1.starts_with("application: is missing"));
    record.key = Bytes::from_static(b"\xff");
    assert_eq!(refused(&record).0, RefusedFor::NotUtf8);
}

#[test]
fn a_value_that_is_not_there_is_refused_and_an_empty_one_is_not() {
    let mut empty = record(&CE, "");
    assert!(read(&empty).unwrap().published.payload().is_empty());
    empty.headers.push(NULL_VALUE, "");
    assert_eq!(refused(&empty).0, RefusedFor::NoValue);
}

proptest! {
    /// Whatever lies in the topic, it is read or refused, and never stops the reader.
    #[test]
    fn any_record_is_read_or_refused(
        headers in proptest::collection::vec(
            ("(ce_(id|source|type|specversion|time)|content-type|application|event-type|[a-z_]{0,4})",
             proptest::collection::vec(any::<u8>(), 0..12)), 0..8),
        cloudevents in any::<bool>(),
        value in proptest::collection::vec(any::<u8>(), 0..64),
        key in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut record = record(&[], "");
        if cloudevents {
            record.headers.push("content-type", "application/cloudevents+json");
        }
        for (name, value) in headers {
            record.headers.push(name, value);
        }
        record.value = value.into();
        record.key = key.into();
        let _ = Incoming::read(&record, IntakeLimits::default());
    }
}

#[test]
fn a_rejected_record_is_judged_again_as_it_was_received_and_is_the_same_event_each_time() {
    let mut kept = record(&PLAIN, "{}");
    kept.headers.push("postrider-reason", "no application");
    assert_eq!(again(&kept), None, "it was no record of events");
    let id = record_id(&record(&PLAIN, "{}"));
    kept.headers.push(RECORD_ID, id.to_string());
    let once = again(&kept).unwrap();
    let names: Vec<_> = once.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["application", "event-type", RECORD_ID]);
    let (first, second) = (as_read(once.clone(), 4), as_read(once, 9));
    let id = |record| read(record).unwrap().into_event(app()).id;
    assert_eq!(id(&first), id(&second));
    assert_eq!(id(&first), id(&record(&PLAIN, "{}")));
    kept.headers.push(crate::VALUE_LEFT_OUT, "7");
    assert_eq!(again(&kept), None, "what it held was not kept");
}
