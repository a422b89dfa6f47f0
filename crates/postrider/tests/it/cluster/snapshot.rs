//! A process that is started while the store is away goes on with what was known.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Instant, SystemTime};

use postrider_testkit::{Api, Behaviour, Postgres, eventually};
use serde_json::json;

use super::store_away::refuses_only_what_it_cannot_know;
use super::{Basis, Cluster, PATIENCE};
use crate::observing::{fires, watching};

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const ANOTHER: &str = "OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=";
const KILLED: [(&str, &str); 3] = [
    ("front", "ingest,api"),
    ("fanout", "fanout"),
    ("worker", "worker,pump"),
];

#[tokio::test(flavor = "multi_thread")]
async fn roles_killed_and_started_while_the_store_is_away_accept_and_deliver_what_they_knew() {
    let postgres = Postgres::start(&[]).await.unwrap();
    let basis = Basis {
        postgres: postgres.url().to_owned(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    cluster.lay_out().await;
    for (name, roles) in KILLED {
        let file = kept(&cluster, name).display().to_string();
        let own = [
            ("REGISTRY__SNAPSHOT", file.as_str()),
            ("REGISTRY__SNAPSHOT_KEY", KEY),
        ];
        cluster.play_with(name, roles, &own).await;
    }
    cluster.play("rest", "recorder,deadletter").await;
    cluster.ready().await;
    let api = cluster.api("front");
    let app = api.create_app("shop").await.unwrap();
    let url = cluster.receiver.on("/ok", Behaviour::Status(200));
    let spec = json!({ "url": url });
    api.create_endpoint(&app, &spec).await.unwrap();
    publish(&api, &app).await;
    arrived(&cluster, 1).await;
    every_file_has_what_its_process_knows(&cluster, &api).await;
    one_that_cannot_be_written_is_told(&cluster, &api).await;

    postgres.stop().await.unwrap();
    let stopped = Instant::now();
    for (name, _) in KILLED {
        cluster.process(name).kill();
    }
    for (name, _) in KILLED {
        cluster.process(name).restart().await;
    }
    let api = cluster.api("front");
    for (name, _) in KILLED {
        says_what_it_goes_by(&cluster, name, stopped).await;
    }
    for _ in 0..5 {
        publish(&api, &app).await;
    }
    arrived(&cluster, 6).await;
    refuses_only_what_it_cannot_know(&api, &app).await;
    a_file_that_cannot_be_used_is_said_and_the_store_waited_for(&cluster).await;

    postgres.restart(&[]).await.unwrap();
    cluster.ready().await;
    let later = cluster.receiver.on("/later", Behaviour::Status(200));
    let spec = json!({ "url": later });
    api.create_endpoint(&app, &spec).await.unwrap();
    publish(&api, &app).await;
    arrived(&cluster, 7).await;
    let reached = cluster.receiver.wait_for("/later", 1, PATIENCE);
    reached.await.unwrap();
    let path = format!("/api/v1/app/{app}/msg?limit=100");
    let caught_up = eventually("history is there", PATIENCE, async || {
        let listed = api.get(&path).await.ok()?;
        (listed["data"].as_array()?.len() == 7).then_some(())
    });
    caught_up.await.unwrap();
}

fn kept(cluster: &Cluster, name: &str) -> PathBuf {
    let folder = cluster.directory.path();
    folder.join(format!("{name}.kept")).join("snapshot")
}

async fn publish(api: &Api, app: &str) {
    api.publish(app, "scenario.event", &json!({}))
        .await
        .unwrap();
}

async fn arrived(cluster: &Cluster, count: u64) {
    let arrived = cluster.receiver.wait_for("/ok", count, PATIENCE);
    arrived.await.unwrap();
}

/// One more change has every process write its file, in which then is all that it knew before.
async fn every_file_has_what_its_process_knows(cluster: &Cluster, api: &Api) {
    let known = cluster.find("front").counted("postrider_registry_version");
    let known = known.await;
    for (name, _) in KILLED {
        let knows = eventually("it knows as much", PATIENCE, async || {
            let version = cluster.find(name).counted("postrider_registry_version");
            (version.await >= known).then_some(())
        });
        knows.await.unwrap();
    }
    let now = SystemTime::now();
    api.create_app("one more").await.unwrap();
    for (name, _) in KILLED {
        written_since(&kept(cluster, name), now).await;
    }
}

/// The alert of it fires, and the file is written again when nothing is in the way.
async fn one_that_cannot_be_written_is_told(cluster: &Cluster, api: &Api) {
    let prometheus = watching(&[cluster.target("front").address]).await;
    let in_the_way = kept(cluster, "front").with_extension("new");
    fs::create_dir(&in_the_way).unwrap();
    api.create_app("yet another").await.unwrap();
    fires(&prometheus, "PostriderSnapshotFailing").await;
    let now = SystemTime::now();
    fs::remove_dir(&in_the_way).unwrap();
    written_since(&kept(cluster, "front"), now).await;
}

async fn written_since(file: &Path, moment: SystemTime) {
    let written = eventually("its file is written", PATIENCE, async || {
        let modified = fs::metadata(file).ok()?.modified().ok()?;
        (modified > moment).then_some(())
    });
    written.await.unwrap();
}

/// Readiness says by what it goes, and the metric since when it is so: at least since the store was stopped.
async fn says_what_it_goes_by(cluster: &Cluster, name: &str, stopped: Instant) {
    let process = cluster.find(name);
    let told = process.readiness().await;
    let parts = told["parts"].as_array().unwrap().iter();
    let store = parts.into_iter().find(|part| part["name"] == "store");
    let why = store.unwrap()["why"].as_str().unwrap();
    assert!(why.contains("from the file of registry.snapshot"), "{told}");
    let at_least = stopped.elapsed().as_secs_f64();
    let told = eventually("its metrics tell the age", PATIENCE, async || {
        let age = process.counted("postrider_registry_age_seconds").await;
        (age >= at_least).then_some(())
    });
    told.await.unwrap();
}

async fn a_file_that_cannot_be_used_is_said_and_the_store_waited_for(cluster: &Cluster) {
    let log = cluster.directory.path().join("another.log");
    let mut another = cluster.bare_command();
    another
        .args(["fanout", "--listen", "127.0.0.1:0"])
        .env("POSTRIDER__REGISTRY__SNAPSHOT", kept(cluster, "fanout"))
        .env("POSTRIDER__REGISTRY__SNAPSHOT_KEY", ANOTHER)
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let mut another = another.spawn().unwrap();
    let told = eventually("it says what it waits for", PATIENCE, async || {
        let said = fs::read_to_string(&log).ok()?;
        said.contains("waiting for it").then_some(said)
    });
    let told = told.await;
    another.kill().unwrap();
    another.wait().unwrap();
    let told = told.unwrap();
    assert!(told.contains("sealed with another key"), "{told}");
    assert!(!told.contains(KEY) && !told.contains(ANOTHER), "{told}");
}
