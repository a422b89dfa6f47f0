//! The encoding, held byte for byte: what an older version wrote must be read by every later one.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::*;

fn id<K: IdKind>(byte: u8) -> Id<K> {
    Id::from_bytes([byte; 16])
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn delivery() -> Delivery {
    Delivery {
        id: id(1),
        generation: 2,
        attempts_made: 3,
        event_id: id(4),
        app_id: id(5),
        endpoint_id: id(6),
        event_type: "order.created".parse().unwrap(),
        accepted_at: at(7),
        event_at: (8, 9),
        deadline: at(10),
        registry_version: 11,
        class: Class::Bulk,
        not_before: at(12),
        waiting_since: at(13),
        content_type: "application/json".to_owned(),
        payload: Bytes::from_static(b"{}"),
        trace: None,
        trigger: Trigger::Manual,
        parked_since: Some(at(14)),
        reckoned_at: None,
        newer: Box::default(),
    }
}

fn attempt() -> Attempt {
    Attempt {
        id: id(1),
        delivery_id: id(2),
        generation: 3,
        number: 4,
        event_id: id(5),
        app_id: id(6),
        endpoint_id: id(7),
        event_type: "a".parse().unwrap(),
        endpoint_version: 8,
        url: "http://x/".to_owned(),
        started_at: at(9),
        duration: Duration::from_millis(10),
        outcome: Outcome::Refused,
        status_code: Some(500),
        response_body: Bytes::from_static(b"\0\xff"),
        error: String::new(),
        next_attempt_at: Some(at(11)),
        trigger: Trigger::Scheduled,
        accepted_at: at(12),
        exhausted: true,
    }
}

fn dead_letter() -> DeadLetter {
    DeadLetter::of(delivery(), DeathReason::Exhausted, at(1)).after(Outcome::TimedOut, None, "slow")
}

fn fanout() -> Fanout {
    Fanout {
        event_id: id(1),
        app_id: id(2),
        endpoints: vec![id(3), id(4)],
        registry_version: 5,
        stale: true,
        accepted_at: at(6),
        complete: false,
    }
}

fn state() -> EndpointState {
    EndpointState {
        endpoint_id: id(1),
        breaker: BreakerState::Open,
        probe_at: Some(at(2)),
        openings: 3,
        consecutive_failures: 4,
        next_slot: None,
        parked: 5,
        parked_bytes: 6,
        epoch: 7,
        updated_at: at(8),
        failing_since: Some(at(9)),
        partition: 10,
        nonce: 11,
        newer: Box::default(),
        opened_at: None,
        endpoint_version: 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fixed bytes of a field of 16 equal bytes.
fn sixteen(tag: u8, byte: u8) -> String {
    format!("{tag:02x}10{}", hex(&[byte; 16]))
}

#[test]
fn the_encoding_of_a_delivery_is_golden() {
    let golden = [
        sixteen(0x0a, 1),
        "10021803".to_owned(),
        sixteen(0x22, 4),
        sixteen(0x2a, 5),
        sixteen(0x32, 6),
        format!("3a0d{}", hex(b"order.created")),
        "4007480850095 80a600b6802700c780d".replace(' ', ""),
        format!("820110{}", hex(b"application/json")),
        "8a01027b7d".to_owned(),
        "980101a0010e".to_owned(),
    ];
    assert_eq!(hex(&delivery().to_record().value), golden.concat());
}

#[test]
fn a_trace_adds_its_fields_to_a_delivery_and_nothing_else() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let attempt = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let trace = TraceContext::parse(parent).unwrap();
    let traced = delivery().traced(trace.with_state("a=1").repeating(attempt));
    let without = hex(&delivery().to_record().value);
    let (before, after) = without.split_at(without.find("980101a0010e").unwrap());
    let golden = [
        before.to_owned(),
        format!("920137{}", hex(parent.as_bytes())),
        after.to_owned(),
        format!("aa0103{}", hex(b"a=1")),
        format!("b20137{}", hex(attempt.as_bytes())),
    ];
    assert_eq!(hex(&traced.to_record().value), golden.concat());
    assert_eq!(Delivery::decode(&traced.to_record().value), Ok(traced));
}

#[test]
fn the_encoding_of_an_attempt_is_golden() {
    let golden = [
        sixteen(0x0a, 1),
        sixteen(0x12, 2),
        "18032004".to_owned(),
        sixteen(0x2a, 5),
        sixteen(0x32, 6),
        sixteen(0x3a, 7),
        "4201614808".to_owned(),
        format!("5209{}", hex(b"http://x/")),
        "5809600a680570f4037a0200ff".to_owned(),
        "88010b98010ca00101".to_owned(),
    ];
    assert_eq!(hex(&attempt().to_record().value), golden.concat());
}

#[test]
fn whatever_is_written_reads_back_the_same() {
    let delivery = delivery();
    assert_eq!(Delivery::decode(&delivery.to_record().value), Ok(delivery));
    let attempt = attempt();
    assert_eq!(Attempt::decode(&attempt.to_record().value), Ok(attempt));
    let letter = dead_letter();
    assert_eq!(DeadLetter::decode(&letter.to_record().value), Ok(letter));
    let fanout = fanout();
    assert_eq!(Fanout::decode(&fanout.to_record().value), Ok(fanout));
    let state = state();
    assert_eq!(EndpointState::decode(&state.to_record().value), Ok(state));
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What the generated code makes of an encoding that it has read.
fn as_generated<M: Message + Default>(value: &Bytes) -> String {
    hex(&M::decode(value.clone()).unwrap().encode_to_vec())
}

proptest::proptest! {
    #[test]
    fn what_is_written_field_by_field_is_what_the_generated_code_writes(
        (generation, number, at) in (0_u64.., 0_u32.., i64::MIN..i64::MAX),
        (text, body) in (".{0,300}", proptest::collection::vec(0_u8.., 0..300)),
        (is, status) in (proptest::bool::ANY, proptest::option::of(0_u16..999)),
    ) {
        let at = Timestamp::from_millis(at);
        let delivery = Delivery {
            generation,
            attempts_made: number,
            accepted_at: at,
            event_at: (number, generation),
            content_type: text.clone(),
            payload: body.clone().into(),
            trace: is.then(|| TraceContext::parse(PARENT).unwrap().with_state("a=1").repeating(PARENT)),
            parked_since: is.then_some(at),
            reckoned_at: is.then_some(at),
            ..delivery()
        };
        let attempt = Attempt {
            generation,
            number,
            url: text.clone(),
            started_at: at,
            status_code: status,
            response_body: body.into(),
            error: text.clone(),
            next_attempt_at: is.then_some(at),
            exhausted: is,
            ..attempt()
        };
        let fanout = Fanout {
            event_id: id(1),
            app_id: id(2),
            endpoints: vec![id(3); number as usize % 3],
            registry_version: generation,
            stale: is,
            accepted_at: at,
            complete: !is,
        };
        let value = delivery.to_record().value;
        assert_eq!(as_generated::<proto::Delivery>(&value), hex(&value));
        let value = attempt.to_record().value;
        assert_eq!(as_generated::<proto::Attempt>(&value), hex(&value));
        let value = fanout.to_record().value;
        assert_eq!(as_generated::<proto::Fanout>(&value), hex(&value));
        let dead = DeadLetter::of(delivery, DeathReason::Expired, at);
        let dead = DeadLetter { payload_left_out: is, ..dead.after(Outcome::Refused, status, text) };
        let value = dead.to_record().value;
        assert_eq!(as_generated::<proto::DeadLetter>(&value), hex(&value));
    }
}

/// Field 1000, the text "new".
const NEW: [u8; 6] = [0xc2, 0x3e, 3, b'n', b'e', b'w'];

#[test]
fn what_a_newer_version_adds_to_a_delivery_is_handed_on_by_whoever_moves_it() {
    let mut bytes = delivery().to_record().value.to_vec();
    bytes.extend(NEW);
    // A class, field 13, that this version does not know: it is read as normal.
    bytes.extend([0x68, 99]);
    let read = Delivery::decode(&bytes.into()).unwrap();
    let expected = Delivery {
        class: Class::Normal,
        newer: NEW.into(),
        ..delivery()
    };
    assert_eq!(read, expected);
    for moved in [
        read.clone().parked_until(at(20), at(30)),
        read.clone().retry_at(at(20), at(30)),
    ] {
        let value = moved.to_record_in(topics::DELIVERIES_BULK).value;
        assert!(value.ends_with(&NEW));
        assert_eq!(Delivery::decode(&value), Ok(moved));
    }
}

/// `message` in field 1, as protobuf has it.
fn in_field_1(message: &[u8]) -> Vec<u8> {
    let mut field = vec![0x0a];
    prost::encoding::encode_varint(message.len() as u64, &mut field);
    field.extend(message);
    field
}

#[test]
fn what_a_newer_version_adds_to_a_dead_letter_or_to_the_delivery_in_it_is_kept() {
    let plain = dead_letter().to_record().value;
    let inner = delivery().to_record().value;
    let rest = &plain[in_field_1(&inner).len()..];
    let inner = [&inner[..], &NEW].concat();
    let bytes = [&in_field_1(&inner), rest, &NEW[..]].concat();
    let read = DeadLetter::decode(&bytes.clone().into()).unwrap();
    let mut expected = dead_letter();
    expected.newer = NEW.into();
    expected.delivery.newer = NEW.into();
    assert_eq!(read, expected);
    assert_eq!(hex(&read.to_record().value), hex(&bytes));

    let small = read.clone().without_payload().to_record().value;
    assert!(small.ends_with(&NEW) && DeadLetter::decode(&small).unwrap().newer == NEW.into());
    let again = read.delivery.again(99, 7, at(1), at(2));
    assert!(again.to_record().value.ends_with(&NEW));
}

#[test]
fn what_a_newer_version_adds_to_an_endpoints_state_goes_with_the_state() {
    let plain = state().to_record().value;
    let bytes = [&plain[..], &NEW].concat();
    let read = EndpointState::decode(&bytes.clone().into()).unwrap();
    assert_eq!(read.newer, NEW.into());
    assert_eq!(read.to_record().value, bytes);
    let handed_on = EndpointState { nonce: 12, ..read };
    assert!(handed_on.to_record().value.ends_with(&NEW));
}

proptest::proptest! {
    #[test]
    fn whatever_stands_behind_known_fields_is_read_without_a_fault(
        garbage in proptest::collection::vec(0_u8.., 0..60)
    ) {
        let records = [dead_letter().to_record(), state().to_record(), delivery().to_record()];
        for record in records {
            let bytes = Bytes::from([&record.value[..], &garbage].concat());
            if let Ok(read) = DeadLetter::decode(&bytes) {
                let again = read.to_record().value;
                assert_eq!(DeadLetter::decode(&again), Ok(read));
            }
            let _ = EndpointState::decode(&bytes);
        }
    }
}

#[test]
fn what_a_newer_version_adds_elsewhere_is_read_over_and_an_outcome_of_it_is_charged_to_nobody() {
    let mut bytes = attempt().to_record().value.to_vec();
    bytes.extend(NEW);
    // An outcome, field 13, that this version does not know.
    bytes.extend([0x68, 99]);
    let read = Attempt::decode(&bytes.into()).unwrap();
    let outcome = Outcome::OwnFault;
    assert_eq!(
        read,
        Attempt {
            outcome,
            ..attempt()
        }
    );
}

#[test]
fn records_of_the_first_version_read_as_they_were_written() {
    let file = include_str!("../tests/fixtures/records-0.1.0.txt");
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let records = lines.map(|line| {
        let (name, value) = line.split_once(' ').unwrap();
        (name, from_hex(value))
    });
    let records: std::collections::BTreeMap<_, _> = records.collect();
    let value = |name: &str| &records[name];
    assert_eq!(Delivery::decode(value("delivery")), Ok(delivery()));
    assert_eq!(Attempt::decode(value("attempt")), Ok(attempt()));
    assert_eq!(DeadLetter::decode(value("dead-letter")), Ok(dead_letter()));
    assert_eq!(Fanout::decode(value("fanout")), Ok(fanout()));
    assert_eq!(EndpointState::decode(value("endpoint-state")), Ok(state()));
    assert_eq!(records.len(), 5);
}

fn from_hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16));
    bytes.map(Result::unwrap).collect()
}

#[test]
fn what_is_malformed_is_refused_and_says_where() {
    let error = Delivery::decode(&Bytes::from_static(b"\xff\xff")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the record is not a delivery"),
        "{error}"
    );
    let no_ids = proto::Delivery::default().encode_to_vec();
    assert_eq!(
        Delivery::decode(&no_ids.into()).unwrap_err().to_string(),
        "id: 0 bytes, expected 16"
    );
}

#[test]
fn ids_derive_from_what_they_repeat() {
    let delivery = delivery();
    let again = delivery.clone().again(99, 7, at(1), at(2));
    assert_eq!(again.id, delivery.id);
    assert_ne!(again.attempt_id(1), delivery.attempt_id(1));
    assert_ne!(again.dead_letter_id(), delivery.dead_letter_id());
    assert_ne!(delivery.attempt_id(1), delivery.attempt_id(2));
    assert_eq!(delivery.next_attempt_id(), delivery.attempt_id(4));
}
