//! Every key through every source, and every error.

use std::collections::HashMap;
use std::io::Write;

use super::*;

/// For each key a value that is not its default, and one that is wrong.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("data", "elsewhere", ""),
    ("listen", "127.0.0.1:0", "somewhere"),
    ("log.kind", "embedded", "kafka"),
    ("log.record", "16MiB", "1KiB"),
    ("log.tail", "64MiB", "lots"),
    ("log.wal", "128MiB", "1MiB"),
    ("log.reserve", "1GiB", "-1"),
    ("log.max", "10GiB", "much"),
    (
        "store.url",
        "sqlite:other.db",
        "postgres://user:hunter2@db/x",
    ),
    (
        "egress.allow",
        "127.0.0.0/8,::1/128",
        "127.0.0.0/8,localhost",
    ),
    ("egress.require_https", "false", "no"),
    ("ingest.max_payload", "256KiB", "1GiB"),
    ("ingest.max_json_depth", "20", "deep"),
    ("ingest.strict_event_types", "true", "1"),
    ("delivery.schedule", "0s,1s", "0s,later"),
    ("delivery.timeout", "5s", "soon"),
    ("delivery.slack", "2d", "0s"),
    ("delivery.in_flight", "512", "7"),
    ("delivery.in_flight_per_endpoint", "10", "0"),
    ("delivery.answering_share", "50", "91"),
    ("delivery.memory", "128MiB", "1KiB"),
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
    ("http.request_timeout", "45s", "45"),
    ("http.drain", "3s", "forever"),
    ("admin.listen", "127.0.0.1:9090", ":9090"),
    ("logs.format", "json", "xml"),
    ("logs.level", "warn,postrider=debug", "inof"),
];

/// The only keys with a single possible value so far.
const FIXED: &[&str] = &["log.kind"];

fn variables(of: &[(&str, &str)]) -> Option<HashMap<String, String>> {
    let named = of.iter().map(|(path, text)| {
        let key = KEYS.iter().find(|key| key.path == *path);
        let name = key.map_or_else(|| (*path).to_owned(), declare::Key::variable);
        (name, (*text).to_owned())
    });
    Some(named.collect())
}

fn from_environment(of: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_with(&Flags::default(), variables(of))
}

fn from_file(toml: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let flags = Flags {
        config: Some(file.path().to_owned()),
        ..Flags::default()
    };
    load_with(&flags, variables(&[]))
}

fn in_toml(path: &str, text: &str) -> String {
    match path.split_once('.') {
        Some((section, name)) => format!("[{section}]\n{name} = {}\n", value::quoted(text)),
        None => format!("{path} = {}\n", value::quoted(text)),
    }
}

#[test]
fn the_defaults_are_a_configuration() {
    from_environment(&[]).unwrap();
}

#[test]
fn every_key_changes_the_configuration_through_environment_and_file() {
    let default = from_environment(&[]).unwrap();
    let sampled: Vec<_> = SAMPLES.iter().map(|(path, ..)| *path).collect();
    let declared: Vec<_> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(sampled, declared, "each key has a sample");
    for (path, text, _) in SAMPLES {
        let by_variable = from_environment(&[(path, text)]).unwrap();
        let by_file = from_file(&in_toml(path, text)).unwrap();
        assert_eq!(by_variable, by_file, "{path}");
        assert_eq!(by_variable != default, !FIXED.contains(path), "{path}");
    }
}

#[test]
fn each_wrong_value_is_named_with_its_key_and_what_would_be_right() {
    for (path, _, bad) in SAMPLES {
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
    let config = load_with(&flags, given).unwrap();
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
    let error = load_with(&flags, variables(&[("logs.format", "xml")])).unwrap_err();
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
fn two_listeners_cannot_share_an_address() {
    let error = from_environment(&[("admin.listen", "127.0.0.1:8071")]).unwrap_err();
    assert!(error.to_string().contains("must differ"), "{error}");
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
    let given: Vec<_> = SAMPLES
        .iter()
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
fn the_documentation_has_the_reference_as_it_is() {
    let page = include_str!("../../../../docs/configuration.md");
    assert!(
        page.ends_with(&markdown()),
        "write the table in docs/configuration.md anew: postrider config --reference"
    );
}
