//! What an earlier build has written is opened by this one. `fixtures/make.sh` and `fixtures/make-postgres.sh` say what is
//! in it.

use std::path::Path;
use std::process::Command;

use postrider_testkit::{Api, Behaviour, Launch, Receiver, Recording, eventually, sql};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::counted::sum;
use crate::engines::Engines;
use crate::world::DEADLINE;

/// The secret of every endpoint in there.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_the_first_version_goes_on_where_it_was() {
    let directory = TempDir::with_prefix("postrider-upgrade-").unwrap();
    unpack("data-0.1.0.tar.gz", directory.path());
    let binary = env!("CARGO_BIN_EXE_postrider");
    // Whoever runs this years from now is to find it all.
    let launch = Launch::new(binary, directory.path().join("data"))
        .set("RETENTION__EVENTS", "never")
        .set("RETENTION__ATTEMPTS", "never")
        .set("RETENTION__DEAD_LETTERS", "never");
    let server = launch.start().await.unwrap();
    let api = server.api().unwrap();

    everything_is_still_told(&api).await;
    what_waited_still_does(&api).await;
    endpoints_are_called_again(&api).await;
}

/// The log is Kafka's own to keep: here it is empty, and what waited in it is not judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_version_goes_on_where_it_was() {
    let engines = Engines::new()
        .await
        .set("RETENTION__EVENTS", "never")
        .set("RETENTION__ATTEMPTS", "never")
        .set("RETENTION__DEAD_LETTERS", "never");
    unpack("postgres-0.1.0.tar.gz", engines.path());
    let dump = engines.path().join("dump.sql");
    let restore = format!("\\i {}", dump.display());
    sql(engines.get("STORE__URL"), &restore).await.unwrap();
    let token = |name: &str| std::fs::read_to_string(engines.path().join(name)).unwrap();
    let data = engines.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("operator.token"), token("operator.token")).unwrap();
    let (server, api) = engines.serve_again().await;

    everything_is_still_told(&api).await;
    let portal = Api::new(&server.url, token("acme.token").trim()).unwrap();
    let seen = portal.get("/api/v1/app/acme").await.unwrap();
    assert_eq!(seen["name"], "Acme");
    dead_letters_and_their_replay_are_still_told(&api).await;
    endpoints_are_called_again(&api).await;
}

fn unpack(fixture: &str, into: &Path) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(fixtures.join(fixture))
        .arg("-C")
        .arg(into)
        .status();
    assert!(unpacked.unwrap().success());
}

async fn everything_is_still_told(api: &Api) {
    let app = api.get("/api/v1/app/acme").await.unwrap();
    assert_eq!(app["metadata"]["plan"], "gold");
    let event = api.get("/api/v1/app/acme/msg/first-hook").await.unwrap();
    assert_eq!(event["payload"]["order"], "hook");
    let attempts = api.get("/api/v1/app/acme/attempt/endpoint/hook");
    assert_eq!(
        attempts.await.unwrap()["data"][0]["responseStatusCode"],
        204
    );
}

/// One was replayed, of which came another; and one is of an endpoint that was deleted.
async fn dead_letters_and_their_replay_are_still_told(api: &Api) {
    let replays = api.get("/api/v1/app/acme/replay").await.unwrap();
    let replay = &replays["data"][0];
    assert_eq!(
        (&replay["status"], &replay["done"]),
        (&json!("done"), &json!(1))
    );
    let letters = api
        .get("/api/v1/dead-letter?order=ascending")
        .await
        .unwrap();
    let letters = letters["data"].as_array().unwrap();
    let of = |event_type: &str| -> Vec<&Value> {
        let those = letters.iter().filter(|one| one["eventType"] == event_type);
        those.collect()
    };
    let (gone, left) = (of("order.gone"), of("order.left"));
    assert_eq!(
        (letters.len(), gone.len(), left.len()),
        (3, 2, 1),
        "{letters:?}"
    );
    assert_eq!(gone[0]["replayId"], replay["id"]);
    assert_eq!(gone[1]["replayId"], Value::Null);
    assert_eq!(left[0]["reason"], "exhausted");
}

/// The delivery with its retry ten hours after the first attempt is held, or has been tried or given up since.
async fn what_waited_still_does(api: &Api) {
    let found = eventually("the waiting delivery is known", DEADLINE, async || {
        let metrics = api.metrics().await.ok()?;
        let held = sum(&metrics, r#"postrider_pump_held{kind="retry""#);
        let attempts = api.get("/api/v1/app/acme/attempt/endpoint/later").await;
        let attempts = attempts.ok()?["data"].as_array()?.len();
        let letters = api.get("/api/v1/app/acme/dead-letter?endpoint_id=later");
        let letters = letters.await.ok()?["data"].as_array()?.len();
        (held >= 1.0 || attempts > 1 || letters > 0).then_some(())
    });
    found.await.unwrap();
}

/// With their secrets as they were: a new event, a resent one, and a dead letter.
async fn endpoints_are_called_again(api: &Api) {
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    for name in ["hook", "gone", "later"] {
        let path = format!("/{name}");
        let url = receiver.on(&path, Behaviour::Ok);
        let endpoint = format!("/api/v1/app/acme/endpoint/{name}");
        api.patch(&endpoint, &json!({ "url": url })).await.unwrap();
        receiver.verify(&path, SECRET);
    }
    let event = json!({ "eventType": "order.hook", "payload": { "order": 2 } });
    api.post("/api/v1/app/acme/msg", &event).await.unwrap();
    receiver.wait_for("/hook", 1, DEADLINE).await.unwrap();

    let resend = "/api/v1/app/acme/msg/first-later/endpoint/later/resend";
    api.post(resend, &json!({})).await.unwrap();
    receiver.wait_for("/later", 1, DEADLINE).await.unwrap();

    let replay = json!({ "filter": {} });
    api.post("/api/v1/app/acme/replay", &replay).await.unwrap();
    receiver.wait_for("/gone", 1, DEADLINE).await.unwrap();
    let arrivals = receiver.arrivals();
    assert!(
        arrivals
            .iter()
            .all(|one| one.signature == postrider_testkit::Checked::Good),
        "{arrivals:?}"
    );
}
