//! Every key through every source, and every error.

use std::collections::HashMap;
use std::io::Write;

use super::*;

mod contradictions;

/// For each key a value that is not its default, and one that is wrong.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("data", "elsewhere", ""),
    ("listen", "127.0.0.1:0", "somewhere"),
    ("log.kind", "kafka", "rabbit"),
    ("log.record", "16MiB", "1KiB"),
    ("log.tail", "64MiB", "lots"),
    ("log.wal", "128MiB", "1MiB"),
    ("log.reserve", "1GiB", "-1"),
    ("log.max", "10GiB", "much"),
    ("log.kafka.brokers", "a:9092,b:9092", "a"),
    ("log.kafka.topic_prefix", "mine.", "my topics"),
    ("log.kafka.create_topics", "false", "maybe"),
    ("log.kafka.partitions", "64", "0"),
    ("log.kafka.replication", "5", "17"),
    ("log.kafka.min_insync_replicas", "1", "none"),
    ("log.kafka.retention", "14d", "1h"),
    ("log.kafka.protocol", "sasl_ssl", "tls"),
    ("log.kafka.ca", "/etc/ca.pem", ""),
    ("log.kafka.certificate", "/etc/cert.pem", ""),
    ("log.kafka.key", "/etc/key.pem", ""),
    ("log.kafka.key_password", "hunter2", "***"),
    ("log.kafka.sasl_mechanism", "plain", "gssapi"),
    ("log.kafka.username", "postrider", "two words"),
    ("log.kafka.password", "hunter2", "***"),
    ("log.kafka.group_protocol", "classic", "consumers"),
    ("log.kafka.session_timeout", "10s", "1s"),
    ("log.kafka.heartbeat", "2s", "2"),
    ("log.kafka.instance_id", "worker-0", "worker 0"),
    ("log.kafka.lease", "4s", "1s"),
    ("log.kafka.queue", "16MiB", "1KiB"),
    ("log.kafka.queue_wait", "1s", "1h"),
    ("log.kafka.delivery_timeout", "5s", "1m"),
    ("log.kafka.linger", "5ms", "2s"),
    ("log.kafka.fetch", "32MiB", "1KiB"),
    (
        "log.kafka.properties",
        "client.rack=a;socket.timeout.ms=30000",
        "ssl.key.pem=hunter2",
    ),
    (
        "store.url",
        "postgres://user:hunter2@db/x",
        "mysql://user:hunter2@db/x",
    ),
    ("store.max_connections", "8", "1"),
    ("store.acquire_timeout", "2s", "1ms"),
    ("store.statement_timeout", "10s", "never"),
    ("store.lock_timeout", "2s", "1h"),
    ("store.call_timeout", "30s", "500ms"),
    ("registry.snapshot", "/var/lib/postrider/snapshot", ""),
    ("registry.snapshot_key", SEAL_KEY, "hunter2"),
    ("registry.snapshot_max_age", "2d", "1s"),
    (
        "egress.allow",
        "127.0.0.0/8,::1/128",
        "127.0.0.0/8,localhost",
    ),
    ("egress.require_https", "false", "no"),
    ("ingest.max_payload", "256KiB", "1GiB"),
    ("ingest.max_json_depth", "20", "deep"),
    ("ingest.strict_event_types", "true", "1"),
    ("api.max_endpoints", "50", "0"),
    ("delivery.schedule", "0s,1s", "0s,later"),
    ("delivery.timeout", "5s", "soon"),
    ("delivery.slack", "2d", "0s"),
    ("delivery.in_flight", "512", "7"),
    ("delivery.in_flight_per_endpoint", "10", "0"),
    ("delivery.answering_share", "50", "91"),
    ("delivery.memory", "128MiB", "1KiB"),
    ("delivery.parked", "10GiB", "much"),
    ("delivery.breaker_failures", "3", "0"),
    ("delivery.breaker_wait", "1s", "1ms"),
    ("delivery.breaker_longest_wait", "1m", "1y"),
    ("delivery.disable_failing_after", "never", "when I say so"),
    ("delivery.drain", "3s", "1h"),
    ("retention.events", "30d", "a while"),
    ("retention.attempts", "30d", "long"),
    ("retention.dead_letters", "30d", "some days"),
    ("retention.idempotency_keys", "2d", "1m"),
    ("http.max_connections", "500", "0"),
    ("http.bodies", "128MiB", "1MiB"),
    ("http.request_timeout", "45s", "45"),
    ("http.leave", "3s", "6m"),
    ("http.drain", "3s", "forever"),
    ("admin.listen", "127.0.0.1:9090", ":9090"),
    ("logs.format", "json", "xml"),
    ("logs.level", "warn,postrider=debug", "inof"),
    ("traces.endpoint", "https://collector:4318", "collector"),
    ("traces.headers", "authorization=hunter2", "authorization"),
    ("traces.sampling", "0.25", "1.5"),
    ("traces.service_name", "webhooks", ""),
    ("traces.queue", "100", "1"),
    ("traces.timeout", "1s", "soon"),
];

/// Keys that take any text.
const ANY_TEXT: &[&str] = &[
    "log.kafka.ca",
    "log.kafka.certificate",
    "log.kafka.key",
    "registry.snapshot",
];

const SEAL_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// What a key's value needs of others to be right.
fn companions(path: &str) -> &'static [(&'static str, &'static str)] {
    match path {
        "log.kind" => &[("log.kafka.brokers", "a:9092")],
        "traces.headers" | "traces.sampling" => &[("traces.endpoint", "http://collector:4318")],
        "store.url" => &[("log.kind", "kafka"), ("log.kafka.brokers", "a:9092")],
        "registry.snapshot" => &[
            ("log.kind", "kafka"),
            ("log.kafka.brokers", "a:9092"),
            ("store.url", "postgres://db/x"),
            ("registry.snapshot_key", SEAL_KEY),
        ],
        "registry.snapshot_key" => &[
            ("log.kind", "kafka"),
            ("log.kafka.brokers", "a:9092"),
            ("store.url", "postgres://db/x"),
            ("registry.snapshot", "snapshot"),
        ],
        _ => &[],
    }
}

fn variables(of: &[(&str, &str)]) -> Option<HashMap<String, String>> {
    let named = of.iter().map(|(path, text)| {
        let key = KEYS.iter().find(|key| key.path == *path);
        let name = key.map_or_else(|| (*path).to_owned(), declare::Key::variable);
        (name, (*text).to_owned())
    });
    Some(named.collect())
}

fn from_environment(of: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_with(&Flags::default(), variables(of), None)
}

fn from_file(toml: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let flags = Flags {
        config: Some(file.path().to_owned()),
        ..Flags::default()
    };
    load_with(&flags, variables(&[]), None)
}

fn in_toml(path: &str, text: &str) -> String {
    format!("{path} = {}\n", value::quoted(text))
}

#[test]
fn the_defaults_are_a_configuration() {
    from_environment(&[]).unwrap();
}

#[test]
fn every_key_changes_the_configuration_through_environment_and_file() {
    let sampled: Vec<_> = SAMPLES.iter().map(|(path, ..)| *path).collect();
    let declared: Vec<_> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(sampled, declared, "each key has a sample");
    for (path, text, _) in SAMPLES {
        let beside = companions(path);
        let default = from_environment(beside);
        let with: Vec<_> = beside.iter().chain([&(*path, *text)]).copied().collect();
        let by_variable = from_environment(&with).unwrap();
        let toml: String = with
            .iter()
            .map(|(path, text)| in_toml(path, text))
            .collect();
        let by_file = from_file(&toml).unwrap();
        assert_eq!(by_variable, by_file, "{path}");
        assert_ne!(Ok(by_variable), default, "{path}");
    }
}

#[test]
fn each_wrong_value_is_named_with_its_key_and_what_would_be_right() {
    for (path, _, bad) in SAMPLES {
        if ANY_TEXT.contains(path) {
            continue;
        }
        let error = from_environment(&[(path, bad)]).unwrap_err().to_string();
        let key = KEYS.iter().find(|key| key.path == *path).unwrap();
        assert!(
            error.contains(&format!("{path} ({})", key.variable())),
            "{error}"
        );
        assert!(error.contains(&key.expectation()), "{error}");
        if key.secret {
            assert!(!error.contains("hunter2"), "{error}");
        } else {
            assert!(error.contains(&format!("\"{bad}\"")), "{error}");
        }
    }
}

#[test]
fn a_file_writes_numbers_booleans_and_lists_as_toml_does() {
    let config = from_file(
        "[egress]\nrequire_https = false\nallow = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n\
         [http]\nmax_connections = 500\n",
    )
    .unwrap();
    assert!(!config.egress.require_https);
    assert_eq!(config.egress.allow.len(), 2);
    assert_eq!(config.http.max_connections, 500);
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"data = \"by-file\"\nlisten = \"127.0.0.1:1\"\n[http]\ndrain = \"1s\"\n")
        .unwrap();
    let flags = Flags {
        config: Some(file.path().to_owned()),
        data: None,
        listen: Some("127.0.0.1:3".to_owned()),
    };
    let given = variables(&[("listen", "127.0.0.1:2"), ("data", "by-variable")]);
    let config = load_with(&flags, given, None).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.data, PathBuf::from("by-variable"));
    assert_eq!(config.http.drain.as_secs(), 1);
}

#[test]
fn all_errors_come_together() {
    let error = from_environment(&[
        ("http.drain", "soon"),
        ("egress.require_https", "yes"),
        ("POSTRIDER__HTTP__DRIAN", "5s"),
        ("logs.format", "xml"),
    ])
    .unwrap_err();
    assert_eq!(error.0.len(), 4, "{error}");
    assert!(
        error
            .to_string()
            .starts_with("the configuration has 4 errors:\n")
    );
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_one_that_was_meant() {
    for (given, says) in [
        ("[http]\ndrian = \"5s\"", "did you mean http.drain?"),
        ("http = \"5s\"", "its keys are http.max_connections"),
        ("[weather]\nforecast = \"rain\"", "prints all of them"),
        ("[http.drain]\nlimit = \"5s\"", "http.drain.limit"),
    ] {
        let error = from_file(given).unwrap_err().to_string();
        assert!(error.contains(says), "{given}: {error}");
    }
}

#[test]
fn a_misspelt_key_does_not_show_what_may_be_a_secret() {
    let error = from_environment(&[("POSTRIDER__STORE__ULR", "postgres://u:hunter2@db/x")]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("store.url?") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_an_error_like_any_other() {
    let flags = Flags {
        config: Some("/nowhere/postrider.toml".into()),
        ..Flags::default()
    };
    let error = load_with(&flags, variables(&[("logs.format", "xml")]), None).unwrap_err();
    assert_eq!(error.0.len(), 2, "{error}");
    assert!(error.to_string().contains("/nowhere/postrider.toml"));
    assert!(
        from_file("listen = ")
            .unwrap_err()
            .to_string()
            .contains("TOML")
    );
}

#[test]
fn a_variable_that_only_looks_like_ours_is_an_error_that_names_the_right_one() {
    for (given, says) in [
        (
            "POSTRIDER_DATA",
            "POSTRIDER_DATA: there is no such variable; did you mean POSTRIDER__DATA?",
        ),
        (
            "POSTRIDER_LOG_RECORD",
            "did you mean POSTRIDER__LOG__RECORD?",
        ),
        (
            "POSTRIDER_HTTP__DRIAN",
            "did you mean POSTRIDER__HTTP__DRAIN?",
        ),
        ("POSTRIDER_STORE_URL", "did you mean POSTRIDER__STORE__URL?"),
        ("POSTRIDER_WEATHER_IN_UTRECHT", "with two underscores"),
    ] {
        let error = from_environment(&[(given, "hunter2"), ("logs.format", "xml")]).unwrap_err();
        assert_eq!(error.0.len(), 2, "{error}");
        let told = error.to_string();
        assert!(told.contains(says) && !told.contains("hunter2"), "{told}");
    }
    from_environment(&[
        ("POSTRIDER_TEST_KAFKA", "x"),
        ("POSTRIDER_SERVICE_HOST", "x"),
    ])
    .unwrap();
}

#[test]
fn what_is_printed_is_taken_again_and_documents_every_key() {
    let shown = SAMPLES
        .iter()
        .filter(|(_, text, _)| !text.contains("hunter2"));
    // A password is not printed, and without one the protocol takes no name; nor is a key, and without it there is no file.
    let alone = [
        "log.kafka.username",
        "log.kafka.protocol",
        "registry.snapshot_key",
    ];
    let given: Vec<_> = shown
        .filter(|(path, ..)| !alone.contains(path))
        .filter(|(path, ..)| !ANY_TEXT.contains(path))
        .map(|(path, text, _)| (*path, *text))
        .collect();
    let config = from_environment(&given).unwrap();
    let text = toml(&config);
    assert_eq!(from_file(&text).unwrap(), config);
    for key in KEYS {
        assert!(
            text.contains(key.meaning) && text.contains(&key.variable()),
            "{}",
            key.path
        );
        assert!(
            markdown().contains(&format!("| `{}` |", key.path)),
            "{}",
            key.path
        );
    }
}

#[test]
fn no_secret_is_printed_and_what_stands_instead_is_not_taken_for_one() {
    let secrets = [
        ("log.kind", "kafka"),
        ("log.kafka.brokers", "a:9092"),
        ("log.kafka.protocol", "sasl_ssl"),
        ("log.kafka.username", "postrider"),
        ("log.kafka.password", "hunter2"),
        ("log.kafka.key_password", "hunter2"),
        ("log.kafka.properties", "client.rack=a"),
        (
            "store.url",
            "postgres://user:hunter2@db:5432/x?sslmode=require&password=hunter2",
        ),
        ("traces.endpoint", "http://collector:4318"),
        ("traces.headers", "authorization=Bearer hunter2"),
    ];
    let config = from_environment(&secrets).unwrap();
    let printed = toml(&config);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert!(printed.contains("postgres://user:***@db:5432/x?sslmode=require"));
    assert!(printed.contains("client.rack=a"), "{printed}");
    let told = from_file(&printed).unwrap_err();
    assert_eq!(told.0.len(), 4, "{told}");
    let times = told.to_string().matches("it was hidden when").count();
    assert_eq!(times, 4, "{told}");
}

#[test]
fn a_property_that_holds_a_secret_is_refused_and_its_key_named() {
    for (property, instead) in [
        ("sasl.password", "log.kafka.password"),
        ("ssl.key.password", "log.kafka.key_password"),
        ("ssl.key.pem", "log.kafka.key"),
        ("ssl.keystore.password", "log.kafka.certificate"),
        ("sasl.oauthbearer.client.secret", "log.kafka.sasl_mechanism"),
        ("some.day.passphrase", "there is no key"),
    ] {
        let given = format!("client.rack=a;{property}=hunter2");
        let told = from_environment(&[("log.kafka.properties", &given)]);
        let told = told.unwrap_err().to_string();
        assert!(told.contains(property) && told.contains(instead), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn properties_of_the_client_are_a_table_in_a_file_and_the_environment_replaces_them() {
    let file = "[log.kafka.properties]\nclient.rack = \"a\"\n\"socket.timeout.ms\" = 30000\n";
    let by_variable = [(
        "log.kafka.properties",
        "client.rack=a;socket.timeout.ms=30000",
    )];
    assert_eq!(
        from_file(file).unwrap(),
        from_environment(&by_variable).unwrap()
    );
    let kafka = "[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"a:9092\"\n";
    let refused = format!("{kafka}[log.kafka.properties]\nacks = 1\n");
    let told = from_file(&refused).unwrap_err().to_string();
    assert!(told.contains("\"acks\" cannot be set"), "{told}");
    let told = from_environment(&[("log.kafka.properties", "security.protocol=ssl")]);
    let told = told.unwrap_err().to_string();
    assert!(told.contains("log.kafka.protocol"), "{told}");
}

#[test]
fn the_documentation_has_the_reference_as_it_is() {
    let page = include_str!("../../../../docs/configuration.md");
    assert!(
        page.ends_with(&markdown()),
        "write the table in docs/configuration.md anew: postrider config --reference"
    );
}

#[test]
fn every_network_that_is_none_is_named() {
    let error = from_environment(&[("egress.allow", "10.0.0.0/8,localhost,::1,127.0.0.1/33")]);
    let told = error.unwrap_err().to_string();
    assert!(
        told.contains("\"localhost\", \"::1\", \"127.0.0.1/33\" are no networks"),
        "{told}"
    );
}

#[test]
fn what_is_no_place_for_a_file_is_said_with_one_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    let told = |url: &str| {
        let given = [("data", at.as_str()), ("store.url", url)];
        from_environment(&given).unwrap_err().to_string()
    };
    for file in ["log.db", "log.db-wal"] {
        let told = told(&format!("sqlite:{at}/{file}"));
        assert!(
            told.contains("belongs to the embedded log") && told.contains("store.db"),
            "{told}"
        );
    }
    let as_directory = told(&format!("sqlite:{at}"));
    assert!(
        as_directory.contains(&format!("such as sqlite:{at}/store.db")),
        "{as_directory}"
    );

    let flags = Flags {
        config: Some(dir.path().to_owned()),
        ..Flags::default()
    };
    let error = load_with(&flags, variables(&[]), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("it is a directory, and --config names a file"),
        "{error}"
    );
}
