//! `postrider doctor` says what is wrong in words, and what to do.

use std::net::TcpListener;

use postrider_testkit::{Postgres, sql};
use serde_json::Value;

use crate::engines::{Ended, Engines};

/// It found something wrong, and said these words.
fn wrong(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let found: Vec<_> = ended.out.lines().collect();
    assert!(found.iter().any(|line| line.starts_with("WRONG")));
    for word in words {
        assert!(ended.out.contains(word), "{word:?} in:\n{}", ended.out);
    }
}

/// Nobody listens on the port of a listener that is gone.
fn nobody() -> String {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    gone.local_addr().unwrap().to_string()
}

#[test]
fn a_new_embedded_installation_is_well_and_nothing_is_made_by_asking() {
    let engines = Engines::local();
    let told = engines.command(&["doctor", "--data", "fresh"]);
    let out = told.ok();
    for word in [
        "the first start makes it",
        "log.db is new",
        "log.reserve",
        "only public addresses",
    ] {
        assert!(out.contains(word), "{word:?} in:\n{out}");
    }
    assert!(!engines.path().join("fresh").exists());

    let told = engines.command(&["doctor", "--json"]).ok();
    let findings: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(findings.iter().all(|finding| finding["verdict"] == "ok"));
    assert_eq!(findings[0]["part"], "configuration");
}

#[test]
fn all_mistakes_of_a_configuration_are_told_and_the_exit_code_is_two() {
    let engines = Engines::local();
    let engines = engines
        .set("DELIVERY__TIMEOUT", "soon")
        .set("LOGS__FORMAT", "xml");
    let told = engines.command(&["doctor"]);
    assert_eq!(told.code, 2, "{}", told.err);
    assert!(told.err.contains("has 2 errors"), "{}", told.err);
}

#[test]
fn a_place_that_cannot_be_used_a_full_disk_and_a_damaged_store_are_told_together() {
    let engines = Engines::local();
    std::fs::write(engines.path().join("file"), "").unwrap();
    wrong(
        &engines.command(&["doctor", "--data", "file"]),
        &["file is no directory", "name another one by --data"],
    );

    let data = engines.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(
        data.join("store.db"),
        "this is no database at all, but a text",
    )
    .unwrap();
    std::fs::write(data.join("operator.token"), "pr_hunter2").unwrap();
    let engines = engines.set("LOG__RESERVE", "1TiB");
    let told = engines.command(&["doctor", "--data", "data"]);
    wrong(
        &told,
        &[
            "no SQLite database",
            "restore it from a backup",
            "does not hold a token",
            "new events are refused",
            "make room",
            "open to other users",
        ],
    );
    assert!(!told.out.contains("hunter2"), "{}", told.out);
}

#[test]
fn networks_that_give_credentials_away_are_wrong() {
    let engines = Engines::local();
    let engines = engines
        .set("EGRESS__ALLOW", "10.0.0.0/8,169.254.0.0/16")
        .set("EGRESS__REQUIRE_HTTPS", "false");
    wrong(
        &engines.command(&["doctor"]),
        &["169.254.169.254 lies", "require_https is false"],
    );
}

#[tokio::test]
async fn brokers_and_a_database_are_examined_before_and_after_the_first_start() {
    let engines = Engines::new().await;
    let told = engines.command(&["doctor"]).ok();
    for word in [
        "min_insync_replicas is 1",
        "none of the",
        "is new: the first start makes its schema",
        "it agrees with that of the database",
        "they keep positions and sessions",
    ] {
        assert!(told.contains(word), "{word:?} in:\n{told}");
    }
    let engines = engines.set("LOG__KAFKA__CREATE_TOPICS", "false");
    wrong(
        &engines.command(&["doctor"]),
        &["none of the", "run `postrider topics apply`"],
    );

    engines.command(&["topics", "apply"]).ok();
    engines.command(&["migrate"]).ok();
    let told = engines.command(&["doctor"]).ok();
    for word in ["are there, as they are configured", "has schema version"] {
        assert!(told.contains(word), "{word:?} in:\n{told}");
    }
}

#[tokio::test]
async fn topics_brokers_settings_and_a_newer_schema_are_told_with_what_to_do() {
    let engines = Engines::new().await;
    engines.command(&["topics", "apply"]).ok();
    engines.command(&["migrate"]).ok();
    sql(
        engines.get("STORE__URL"),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'of the future', true, '', 0)",
    )
    .await
    .unwrap();
    let engines = engines
        .set("LOG__KAFKA__PARTITIONS", "5")
        .set("LOG__KAFKA__REPLICATION", "3")
        .set("LOG__KAFKA__LEASE", "5s")
        .set("LOG__KAFKA__RETENTION", "30d");
    wrong(
        &engines.command(&["doctor"]),
        &[
            "1 answers",
            "asks for 3 copies",
            "has 2 partitions, the configuration says 5",
            "docs/cluster.md",
            "has 1 copies of each partition",
            "retention.ms is",
            "kafka-configs.sh --entity-type topics",
            "group.consumer.session.timeout.ms is 6000, at least 7500 is needed",
            "offsets.retention.minutes",
            "kafka-configs.sh --entity-type brokers",
            "schema version 99, and this program knows none above",
            "use the newer program",
        ],
    );
}

#[tokio::test]
async fn servers_that_are_away_or_say_no_are_named_without_passwords() {
    let engines = Engines::new().await;
    let (broker, database) = (nobody(), nobody());
    let away = engines.set("LOG__KAFKA__BROKERS", &broker).set(
        "STORE__URL",
        format!("postgres://user:hunter2@{database}/x"),
    );
    let told = away.command(&["doctor"]);
    wrong(
        &told,
        &[
            &format!("Kafka at {broker} does not answer"),
            "check log.kafka.brokers",
            &format!("postgres://{database}/x cannot be reached"),
            "check host and port in store.url",
        ],
    );
    assert!(!told.out.contains("hunter2"), "{}", told.out);

    let engines = Engines::new().await;
    let server = engines.get("STORE__URL").to_owned();
    let (place, _) = server.rsplit_once('/').unwrap();
    let no_such = format!("{place}/there_is_none");
    wrong(
        &engines.set("STORE__URL", no_such).command(&["doctor"]),
        &[
            "cannot be used",
            "does not exist",
            "check user, password and database",
        ],
    );
}

#[tokio::test]
async fn connections_are_held_against_what_the_server_the_database_and_the_user_may_have() {
    let server = Postgres::start(&["max_connections=20"]).await.unwrap();
    let user = "CREATE ROLE plain LOGIN; CREATE DATABASE plain OWNER plain";
    for statement in user.split(';') {
        server.sql(statement).await.unwrap();
    }
    let (place, _) = server.url().rsplit_once('/').unwrap();
    let (_, host) = place.rsplit_once('@').unwrap();
    let engines = Engines::new()
        .await
        .set("STORE__URL", format!("postgres://plain@{host}/plain"));
    let takes = |engines: &Engines, more: &[&str]| {
        let arguments = [&["doctor"], more].concat();
        engines.command(&arguments)
    };
    // Of the 20 three are kept for administrators.
    let told = takes(&engines, &[]).ok();
    let words = "it takes 17 connections, and has 0, 0 of them ours; one process like this opens up to 4: there is room for 4 more";
    assert!(told.contains(words), "{told}");
    let told = takes(&engines, &["--connections", "17"]).ok();
    assert!(told.contains("open up to 17"), "{told}");
    wrong(
        &takes(&engines, &["--connections", "54"]),
        &[
            "all processes together open up to 54",
            "raise max_connections",
        ],
    );
    wrong(
        &takes(&engines.set("STORE__MAX_CONNECTIONS", "18"), &[]),
        &["opens up to 18", "lower store.max_connections"],
    );
}

#[tokio::test]
async fn a_limit_of_the_user_counts_where_it_leaves_less() {
    let server = Postgres::start(&[]).await.unwrap();
    for statement in [
        "CREATE ROLE plain LOGIN CONNECTION LIMIT 6",
        "CREATE DATABASE plain OWNER plain CONNECTION LIMIT 40",
    ] {
        server.sql(statement).await.unwrap();
    }
    let (place, _) = server.url().rsplit_once('/').unwrap();
    let (_, host) = place.rsplit_once('@').unwrap();
    let engines = Engines::new()
        .await
        .set("STORE__URL", format!("postgres://plain@{host}/plain"))
        .set("STORE__MAX_CONNECTIONS", "4");
    let told = engines.command(&["doctor"]).ok();
    assert!(told.contains("it takes 6 connections"), "{told}");
    assert!(told.contains("there is room for 1 more"), "{told}");
}
