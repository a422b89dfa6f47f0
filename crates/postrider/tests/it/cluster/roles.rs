//! Every role does its part as a process of its own.

use std::time::Duration;

use postrider_testkit::{Api, Behaviour, Load, LossChecker, Receiver, Target, eventually};
use serde_json::json;

use super::{Basis, Cluster, PATIENCE};
use crate::killing::expect_everywhere;

/// An endpoint that checks signatures; returns its id.
async fn endpoint(api: &Api, app: &str, receiver: &Receiver, path: &str, how: Behaviour) -> String {
    let spec = json!({ "url": receiver.on(path, how) });
    let id = api.create_endpoint(app, &spec).await.unwrap();
    receiver.verify(path, &api.secret(app, &id).await.unwrap());
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_as_a_process_delivers_retries_gives_up_replays_and_stops() {
    const EVENTS: u64 = 500;
    let mut cluster = Cluster::on(&Basis::shared()).await;
    cluster.set("DELIVERY__SCHEDULE", "0s,1s");
    let (absent, told) = cluster.command(&["topics", "check"]).await;
    assert!(!absent && told.contains("does not exist"), "{told}");
    cluster.lay_out().await;
    for (name, role) in [
        ("ingest", "ingest"),
        ("fanout", "fanout"),
        ("worker-1", "worker"),
        ("worker-2", "worker"),
        ("pump", "pump"),
        ("deadletter", "deadletter"),
        ("recorder", "recorder"),
        ("api", "api"),
    ] {
        cluster.play(name, role).await;
    }
    cluster.ready().await;
    let (api, receiver) = (cluster.api("api"), &cluster.receiver);
    let app = api.create_app("cluster").await.unwrap();
    for path in ["/one", "/two"] {
        endpoint(&api, &app, receiver, path, Behaviour::Ok).await;
    }
    let load = Load {
        count: Some(EVENTS),
        ..Load::of(&app, "scenario.event")
    };
    let target = cluster.target("ingest");
    let report = load.run_against(target.clone()).await.unwrap();
    assert_eq!(report.failed, 0, "{}", report.last_failure);
    receiver.wait_for("/one", EVENTS, PATIENCE).await.unwrap();
    receiver.wait_for("/two", EVENTS, PATIENCE).await.unwrap();
    let mut checker = LossChecker::default();
    expect_everywhere(&mut checker, &report, &["/one", "/two"]);
    let verdict = checker.judge(&receiver.arrivals());
    assert!(verdict.is_good(), "{verdict}");

    give_up_and_replay(&api, &app, receiver, target).await;

    cluster.terminate().await;
    let (same, told) = cluster.command(&["topics", "check"]).await;
    assert!(same, "{told}");
}

/// Two attempts fail and the delivery becomes a dead letter; mended, it arrives by a replay under the same id.
async fn give_up_and_replay(api: &Api, app: &str, receiver: &Receiver, target: Target) {
    let broken = endpoint(api, app, receiver, "/broken", Behaviour::FailFirst(2, 500)).await;
    let load = Load {
        count: Some(1),
        ..Load::of(app, "scenario.event")
    };
    load.run_against(target).await.unwrap();
    receiver.wait_for("/broken", 2, PATIENCE).await.unwrap();
    let path = format!("/api/v1/app/{app}/dead-letter?endpoint_id={broken}");
    let found = eventually("the dead letter is kept", PATIENCE, async || {
        let listed = api.get(&path).await.unwrap();
        listed["data"].as_array().filter(|data| data.len() == 1)?;
        Some(listed)
    });
    let letter = found.await.unwrap()["data"][0]["id"].clone();
    let body = json!({ "deadLetterIds": [letter] });
    let replay = format!("/api/v1/app/{app}/replay");
    api.post(&replay, &body).await.unwrap();
    receiver.wait_for("/broken", 3, PATIENCE).await.unwrap();
    let arrivals = receiver.arrivals_at("/broken");
    assert_eq!(arrivals[0].event, arrivals[2].event);
    assert_eq!(arrivals[0].body_hash, arrivals[2].body_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_database_that_is_away_and_says_so() {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    // Nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let url = format!("postgres://user:hunter2@{address}/nowhere");
    cluster.set("STORE__URL", url);

    // The pump needs no store, so it does not wait.
    cluster.play("pump", "pump").await;
    cluster.ready().await;
    let log = cluster.directory.path().join("ingest.log");
    let mut ingest = cluster.bare_command();
    ingest
        .args(["ingest", "--listen", "127.0.0.1:0"])
        .stderr(std::fs::File::create(&log).unwrap());
    let mut ingest = ingest.spawn().unwrap();
    let told = eventually("it says what it waits for", PATIENCE, async || {
        let said = std::fs::read_to_string(&log).ok()?;
        said.contains("waiting for it").then_some(said)
    });
    let told = told.await;
    let asked = std::process::Command::new("kill")
        .arg(ingest.id().to_string())
        .status();
    let ended = eventually("it ends", Duration::from_secs(30), async || {
        ingest.try_wait().ok().flatten()
    });
    let ended = ended.await;
    if ended.is_err() {
        ingest.kill().unwrap();
    }
    let told = told.unwrap();
    assert!(
        told.contains("cannot be reached") && !told.contains("hunter2"),
        "{told}"
    );
    assert!(asked.unwrap().success() && ended.unwrap().success());
}
