//! Values that are each right and do not fit together.

use super::*;

#[test]
fn two_listeners_cannot_share_an_address() {
    let error = from_environment(&[("admin.listen", "127.0.0.1:8071")]).unwrap_err();
    assert!(error.to_string().contains("must differ"), "{error}");
}

#[test]
fn bodies_on_their_way_have_room_for_the_largest_payload() {
    let given = |payload, bodies| {
        from_environment(&[
            ("ingest.max_payload", payload),
            ("log.record", "65MiB"),
            ("http.bodies", bodies),
        ])
    };
    let error = given("33MiB", "64MiB").unwrap_err().to_string();
    assert!(error.contains("two such payloads"), "{error}");
    given("32MiB", "64MiB").unwrap();
    given("64MiB", "128MiB").unwrap();
    // Unless it is said they have it by themselves.
    for (payload, bodies) in [("1MiB", "64MiB"), ("21MiB", "64MiB"), ("64MiB", "192MiB")] {
        let alone = [("ingest.max_payload", payload), ("log.record", "65MiB")];
        let taken = from_environment(&alone).unwrap().http.bodies;
        assert_eq!(Ok(taken), value::Value::read(bodies), "{payload}");
    }
}

#[test]
fn values_that_do_not_fit_together_are_told_together() {
    let given = [
        ("ingest.max_payload", "1MiB"),
        ("log.record", "1MiB"),
        ("delivery.breaker_wait", "1h"),
        ("delivery.breaker_longest_wait", "1m"),
        ("retention.attempts", "1d"),
        ("delivery.disable_failing_after", "5d"),
    ];
    let error = from_environment(&given).unwrap_err();
    assert_eq!(error.0.len(), 3, "{error}");
}

#[test]
fn what_does_not_fit_together_is_told_beside_values_that_cannot_be_read() {
    let error = from_environment(&[
        ("ingest.max_payload", "1MiB"),
        ("log.record", "1MiB"),
        ("http.drain", "soon"),
        ("delivery.breaker_wait", "shortly"),
        ("delivery.breaker_longest_wait", "100ms"),
    ])
    .unwrap_err();
    let told = error.to_string();
    assert_eq!(error.0.len(), 3, "{told}");
    assert!(
        told.contains("ingest.max_payload is \"1MiB\" and log.record \"1MiB\""),
        "{told}"
    );
    // What is the default only because the value cannot be read contradicts nothing.
    assert!(!told.contains("must not be below"), "{told}");
}

#[test]
fn what_does_not_fit_kafka_is_told_together_and_only_where_kafka_is_the_log() {
    let given = [
        ("log.kafka.replication", "1"),
        ("log.kafka.queue_wait", "5s"),
        ("log.kafka.group_protocol", "classic"),
        ("log.kafka.heartbeat", "5s"),
        ("log.kafka.protocol", "plaintext"),
        ("log.kafka.ca", "ca.pem"),
        ("log.kafka.username", "postrider"),
    ];
    from_environment(&given).unwrap();
    let with_kafka: Vec<_> = given.into_iter().chain([("log.kind", "kafka")]).collect();
    let told = from_environment(&with_kafka).unwrap_err();
    assert_eq!(told.0.len(), 6, "{told}");
    assert!(told.to_string().contains("log.kafka.brokers empty"));
}

#[test]
fn a_snapshot_has_a_file_a_key_and_a_store_that_may_be_away() {
    const KEY: (&str, &str) = ("registry.snapshot_key", SEAL_KEY);
    let file = ("registry.snapshot", "/var/lib/postrider/snapshot");
    let short = ("registry.snapshot_key", "c2hvcnQ=");
    let kafka = [
        ("log.kind", "kafka"),
        ("log.kafka.brokers", "kafka:9092"),
        ("store.url", "postgres://db/x"),
    ];
    let on_kafka =
        |given: &[(&'static str, &'static str)]| from_environment(&[&kafka[..], given].concat());
    on_kafka(&[file, KEY]).unwrap();
    for (given, words) in [
        (on_kafka(&[file]), "registry.snapshot_key is not"),
        (on_kafka(&[KEY]), "registry.snapshot is not"),
        (on_kafka(&[file, short]), "32 bytes in base64"),
        (from_environment(&[file, KEY]), "is never away"),
    ] {
        let told = given.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
        assert!(!told.contains(short.1), "{told}");
    }
}

#[test]
fn a_certificate_is_nothing_without_its_key() {
    let given = [
        ("log.kind", "kafka"),
        ("log.kafka.brokers", "a:9092"),
        ("log.kafka.protocol", "ssl"),
        ("log.kafka.certificate", "our.pem"),
    ];
    let told = from_environment(&given).unwrap_err().to_string();
    assert!(told.contains("give both"), "{told}");
    let both: Vec<_> = given
        .into_iter()
        .chain([("log.kafka.key", "our.key")])
        .collect();
    from_environment(&both).unwrap();
}

#[test]
fn the_embedded_log_and_postgresql_do_not_go_together() {
    let told = from_environment(&[("store.url", "postgres://user:hunter2@db/x")]);
    let told = told.unwrap_err().to_string();
    assert!(told.contains("set log.kind to kafka"), "{told}");
}

#[test]
fn a_process_is_refused_roles_that_its_log_or_store_cannot_share() {
    use crate::roles::Role;
    let roles = [Role::Ingest, Role::Fanout, Role::Worker];
    let load = |given: &[(&str, &str)], roles: &Roles| {
        load_with(&Flags::default(), variables(given), Some(roles))
    };
    let kafka = [("log.kind", "kafka"), ("log.kafka.brokers", "a:9092")];
    let postgres = [kafka[0], kafka[1], ("store.url", "postgres://db/x")];

    load(&[], &Roles::all()).unwrap();
    let told = load(&[("http.drain", "soon")], &Roles::of(&roles)).unwrap_err();
    assert_eq!(told.0.len(), 2, "told with the rest: {told}");
    let told = told.to_string();
    assert!(
        told.contains("missing here: pump, deadletter, recorder, api"),
        "{told}"
    );
    // SQLite belongs to one process; the pump needs no store.
    load(&kafka, &Roles::all()).unwrap();
    load(&kafka, &Roles::of(&[Role::Pump])).unwrap();
    let told = load(&kafka, &Roles::of(&roles)).unwrap_err().to_string();
    assert!(
        told.contains("need the store too: deadletter, recorder, api"),
        "{told}"
    );
    load(&postgres, &Roles::of(&roles)).unwrap();
    load(&postgres, &Roles::all()).unwrap();
}
