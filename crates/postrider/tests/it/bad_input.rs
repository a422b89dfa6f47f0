//! Whatever is wrong gets a clear answer; the server lives on and delivers.

use std::fs;
use std::path::Path;
use std::process::Command;

use postrider_testkit::{Behaviour, Launch, SVIX_2, client_library};
use reqwest::Method;
use serde_json::json;

use crate::engines::Engines;
use crate::world::World;

/// One request that must be refused.
struct Refusal {
    what: &'static str,
    path: String,
    body: String,
    status: u16,
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_a_reason_and_disturb_nothing() {
    let world = World::with(&[("INGEST__MAX_PAYLOAD", "64KiB")]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    for refusal in refusals(&world.app) {
        let Refusal {
            what,
            path,
            body,
            status,
        } = refusal;
        let sent = world
            .api
            .send(Method::POST, &path, "application/json", body);
        let answer = sent.await.unwrap();
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        // The dialect's 422 has a list of what is wrong where; all others have a code and a text.
        let detail = &answer.body["detail"];
        let clear = match answer.status {
            422 => detail[0]["msg"].is_string() && detail[0]["loc"].is_array(),
            _ => answer.body["code"].is_string() && detail.is_string(),
        };
        assert!(clear, "{what}: {answer:?}");
        println!("{what}: {} {detail}", answer.status);
    }
    world.publish(3).await;
    world.wait_for("/ok", 3).await;
    assert_eq!(world.receiver.count("/ok"), 3);
}

fn refusals(app: &str) -> Vec<Refusal> {
    let msg = format!("/api/v1/app/{app}/msg");
    let endpoint = format!("/api/v1/app/{app}/endpoint");
    let event = json!({ "eventType": "a.b", "payload": {} }).to_string();
    let large = json!({ "eventType": "a.b", "payload": { "pad": "x".repeat(200_000) } });
    let deep = format!(
        r#"{{"eventType":"a.b","payload":{{"a":{}1{}}}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let refusal = |what, path: &str, body: String, status| Refusal {
        what,
        path: path.to_owned(),
        body,
        status,
    };
    vec![
        refusal("not JSON", &msg, "{\"eventType\":".to_owned(), 400),
        refusal("no JSON at all", &endpoint, "\0\u{1}".to_owned(), 400),
        refusal("too large", &msg, large.to_string(), 413),
        refusal("too deep", &msg, deep, 422),
        refusal(
            "an unknown application",
            "/api/v1/app/app_nobody/msg",
            event,
            404,
        ),
        refusal(
            "a malformed event type",
            &msg,
            json!({ "eventType": "no blanks please", "payload": {} }).to_string(),
            422,
        ),
        refusal(
            "what no database can store",
            &endpoint,
            json!({ "url": "http://127.0.0.1:1/", "description": "a\0b" }).to_string(),
            422,
        ),
        refusal(
            "types that do not exist",
            &endpoint,
            json!({ "url": "http://127.0.0.1:1/", "eventTypes": ["never.registered"] }).to_string(),
            422,
        ),
        refusal(
            "a malformed URL",
            &endpoint,
            json!({ "url": "http//nowhere" }).to_string(),
            422,
        ),
        refusal(
            "an address that is not public",
            &endpoint,
            json!({ "url": "http://169.254.169.254/latest/meta-data" }).to_string(),
            422,
        ),
        refusal(
            "an absurd retry schedule",
            &endpoint,
            json!({ "url": "http://127.0.0.1:1/", "retrySchedule": ["10000d"] }).to_string(),
            422,
        ),
        refusal(
            "a replay of nothing that exists",
            &format!("/api/v1/app/{app}/replay"),
            json!({ "deadLetterIds": ["nonsense"] }).to_string(),
            422,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_nothing_is_answered() {
    let world = World::with(&[]).await;
    let path = format!("/api/v1/app/{}", world.app);
    for token in ["", "wrong", "testsk_wrong.eu"] {
        let answer = world.api.with_token(token).try_get(&path).await.unwrap();
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.body["code"].is_string(), "{answer:?}");
        let event = json!({ "eventType": "a.b", "payload": {} });
        let msg = format!("{path}/msg");
        let answer = world.api.with_token(token).try_post(&msg, &event).await;
        assert_eq!(answer.unwrap().status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_refused() {
    let world = World::with(&[]).await;
    let second = Launch::new(env!("CARGO_BIN_EXE_postrider"), world.launch.data());
    let (status, said) = second.refused().await.unwrap();
    assert!(!status.success());
    let clear = said.contains("belongs to a running process");
    assert!(clear && !said.contains("panicked"), "{said}");
    // The first one is not disturbed.
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(1).await;
    world.wait_for("/ok", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_log_file_is_refused_and_left_as_it_is() {
    let mut world = World::with(&[]).await;
    world.publish(10).await;
    world.terminate().await;
    let log = world.launch.data().join("log.db");
    // A first page in the write-ahead log would take the place of the one that is spoilt here.
    fs::remove_file(world.launch.data().join("log.db-wal")).ok();
    let mut bytes = fs::read(&log).unwrap();
    bytes[..4096].fill(0x5a);
    fs::write(&log, &bytes).unwrap();
    let (status, said) = world.launch.refused().await.unwrap();
    assert!(!status.success());
    assert!(
        said.contains("log.db") && !said.contains("panicked"),
        "{said}"
    );
    assert_eq!(
        fs::read(&log).unwrap(),
        bytes,
        "a file that it cannot read was changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_of_the_log_is_told_by_the_doctor_and_ends_the_process_with_what_to_do()
 {
    let mut world = World::with(&[("DELIVERY__DRAIN", "100ms")]).await;
    world.endpoint("/hang", Behaviour::Hang).await;
    world.publish(3_000).await;
    world.terminate().await;
    let data = world.launch.data();
    let log = data.join("log.db");
    let mut bytes = fs::read(&log).unwrap();
    let (begin, end) = (bytes.len() / 10 / 8192 * 8192, bytes.len() / 8192 * 8192);
    bytes[begin..end].fill(0xee);
    fs::write(&log, &bytes).unwrap();

    let told = Engines::local().command(&["doctor", "--data", data.to_str().unwrap()]);
    assert_eq!(told.code, 1, "{}", told.out);
    let found = told.out.lines().find(|line| line.starts_with("WRONG"));
    let found = found.unwrap_or_else(|| panic!("{}", told.out));
    assert!(found.contains("log.db is damaged ("), "{found}");
    assert!(found.contains("Restore it, with its -wal file"), "{found}");

    let (status, said) = world.launch.refused().await.unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    // Either the start meets it, or what reads behind it does; then the log says so first.
    if let Some(stopped) = said.find("the log has stopped") {
        let behind = &said[stopped..];
        assert!(!behind.contains("wiring: ready"), "{said}");
        assert!(behind.contains("starting again does not help"), "{said}");
    }
    let last = said.lines().last().unwrap();
    assert!(last.contains("Restore it, with its -wal file"), "{last}");
    assert_eq!(last.matches("malformed").count(), 1, "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_missed_and_a_new_one_begins_only_where_that_is_said() {
    let mut world = World::with(&[]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.terminate().await;
    let log = world.launch.data().join("log.db");
    for file in ["log.db", "log.db-wal", "log.db-shm"] {
        fs::remove_file(world.launch.data().join(file)).ok();
    }
    let (status, said) = world.launch.refused().await.unwrap();
    assert!(!status.success());
    assert!(said.contains("log.db is not in"), "{said}");
    assert!(said.contains("make an empty file"), "{said}");
    assert!(!log.exists());
    let data = world.launch.data().to_str().unwrap();
    let doctor = || Engines::local().command(&["doctor", "--data", data]);
    let told = doctor();
    assert_eq!(told.code, 1, "{}", told.out);
    assert!(told.out.contains("log.db is not in"), "{}", told.out);

    fs::write(&log, "").unwrap();
    let told = doctor().ok();
    assert!(told.contains("a new log begins"), "{told}");
    world.start().await;
    let said = world.server().log();
    assert!(said.contains("a new log begins"), "{said}");
    world.publish(1).await;
    world.wait_for("/ok", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_a_newer_version_is_refused() {
    // As a later version would leave them: the log with a later format, the store with one more migration.
    let migration = "INSERT INTO _sqlx_migrations \
         (version, description, installed_on, success, checksum, execution_time) \
         VALUES (99999, 'later', CURRENT_TIMESTAMP, 1, x'00', 0)";
    for (file, change) in [
        ("log.db", "PRAGMA user_version = 99999"),
        ("store.db", migration),
    ] {
        let mut world = World::with(&[]).await;
        world.terminate().await;
        execute(&world.launch.data().join(file), change);
        let (status, said) = world.launch.refused().await.unwrap();
        assert!(!status.success(), "{file}");
        let clear = said.contains(file) && said.contains("version");
        assert!(clear && !said.contains("panicked"), "{file}: {said}");
        println!("{said}");
    }
}

/// Changes a SQLite file by SQLite itself: its first page may lie in the write-ahead log.
pub(crate) fn execute(file: &Path, statement: &str) {
    let python = client_library(SVIX_2).unwrap().join("bin/python");
    let script = "import sqlite3, sys\n\
                  with sqlite3.connect(sys.argv[1]) as file: file.execute(sys.argv[2])";
    let mut command = Command::new(python);
    let status = command
        .args(["-c", script])
        .arg(file)
        .arg(statement)
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_all_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(
        env!("CARGO_BIN_EXE_postrider"),
        directory.path().join("data"),
    )
    .set("DELIVERY__SCHEDULE", "whenever")
    .set("DELIVERY__TIMEOUT", "-3")
    .set("NO__SUCH_KEY", "1");
    let (status, said) = launch.refused().await.unwrap();
    assert!(!status.success());
    for named in ["schedule", "timeout", "such_key"] {
        assert!(said.contains(named), "{named} is not named in: {said}");
    }
}
