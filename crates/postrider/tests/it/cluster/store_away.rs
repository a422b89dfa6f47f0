//! The store is no part of the way from producer to endpoint.

use std::time::Duration;

use postrider_testkit::{Api, Behaviour, Kill, Postgres, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::crowd::Crowd;
use super::{Basis, Cluster, PATIENCE};
use crate::observing::{fires, none_fires, watching, watching_closely};

/// Longer than it takes until readiness says that the store is away (5 s).
const OUTAGE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_stopped_killed_or_cut_off_events_are_accepted_and_delivered_and_history_catches_up()
 {
    let seconds = postrider_testkit::setting("POSTRIDER_TEST_OUTAGE_SECONDS", OUTAGE.as_secs());
    let postgres = Postgres::start(&[]).await.unwrap();
    let basis = Basis {
        postgres: postgres.url().to_owned(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    cluster.lay_out().await;
    for (name, roles) in [
        ("front", "ingest,api"),
        ("middle", "fanout,pump,worker"),
        ("recorder", "recorder"),
        ("deadletter", "deadletter"),
        ("worker-2", "worker"),
        ("recorder-2", "recorder"),
    ] {
        cluster.play(name, roles).await;
    }
    cluster.ready().await;
    let targets =
        ["front", "middle", "recorder", "deadletter"].map(|name| cluster.target(name).address);
    let healthy = watching(&targets).await;
    let crowd = Crowd::settle(&cluster, "front").await;
    let api = cluster.api("front");
    let gone = refusing_app(&cluster, &api).await;
    let load = crowd.load(&cluster, "front", 20.0);
    cluster
        .receiver
        .wait_for("/ok/0", 20, PATIENCE)
        .await
        .unwrap();

    let prometheus = watching_closely(&targets).await;
    none_fires(&healthy).await;
    postgres.stop().await.unwrap();
    says_so(&cluster).await;
    for alert in [
        "PostriderStoreUnreachable",
        "PostriderRegistryStale",
        "PostriderRecorderBehind",
    ] {
        fires(&prometheus, alert).await;
    }
    refuses_only_what_it_cannot_know(&api, &crowd.app).await;
    let kill = moves_partitions(&mut cluster).await;
    let mut letters = 0;
    for _ in 0..3 {
        api.publish(&gone, "scenario.event", &json!({}))
            .await
            .unwrap();
        letters += 1;
    }
    let so_far = cluster.receiver.count("/ok/0");
    let more = so_far + 20 * seconds.saturating_sub(OUTAGE.as_secs()).max(1);
    cluster
        .receiver
        .wait_for(
            "/ok/0",
            more,
            PATIENCE.max(Duration::from_secs(5 * seconds)),
        )
        .await
        .unwrap();
    cluster
        .receiver
        .wait_for("/gone", letters, PATIENCE)
        .await
        .unwrap();
    postgres.restart(&[]).await.unwrap();
    for name in ["worker-2", "recorder-2"] {
        cluster.process(name).restart().await;
    }
    cluster.ready().await;
    wait_for_dead_letters(&api, &gone, letters).await;

    postgres.kill().await.unwrap();
    let so_far = cluster.receiver.count("/ok/0");
    cluster
        .receiver
        .wait_for("/ok/0", so_far + 20, PATIENCE)
        .await
        .unwrap();
    postgres.restart(&[]).await.unwrap();
    cut_connections(&postgres).await;
    let so_far = cluster.receiver.count("/ok/0");
    cluster
        .receiver
        .wait_for("/ok/0", so_far + 20, PATIENCE)
        .await
        .unwrap();
    cluster.ready().await;

    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);
    let faults = [("worker-2", kill)].to_vec();
    crowd.hold(&cluster, "front", &report, &faults).await;
    for accepted in report.accepted.iter().step_by(10) {
        let event = &accepted.event;
        let path = format!("/api/v1/app/{}/attempt/msg/{event}?limit=250", crowd.app);
        let attempts = api.get(&path).await.unwrap();
        let known = attempts["data"].as_array().unwrap().len();
        assert!(
            known >= crate::cluster::crowd::PATHS.len(),
            "{event}: {known} attempts"
        );
    }
}

/// An application whose only endpoint says that it is gone: each delivery becomes a dead letter at once.
async fn refusing_app(cluster: &Cluster, api: &Api) -> String {
    let app = api.create_app("gone").await.unwrap();
    let url = cluster.receiver.on("/gone", Behaviour::Status(410));
    api.create_endpoint(&app, &json!({ "url": url }))
        .await
        .unwrap();
    app
}

/// Readiness and metrics of every process that needs it.
async fn says_so(cluster: &Cluster) {
    for name in ["front", "middle", "recorder", "deadletter"] {
        let process = cluster.find(name);
        let what = format!("{name} says that the store is away");
        let told = eventually(&what, PATIENCE, async || {
            let told = process.readiness().await;
            let parts = told["parts"].as_array()?.clone();
            let store = parts.into_iter().find(|part| part["name"] == "store")?;
            (store["ready"] == Value::Bool(false)).then_some(store)
        });
        let told = told.await.unwrap();
        assert!(told["why"].is_string(), "{told}");
    }
    for name in ["front", "middle", "deadletter"] {
        let process = cluster.find(name);
        let what = format!("the metrics of {name} say how old its configuration is");
        let told = eventually(&what, PATIENCE, async || {
            let age = process.counted("postrider_registry_age_seconds").await;
            let failures = process.counted("postrider_registry_refresh_failures_total");
            (age >= 5.0 && failures.await > 0.0).then_some(())
        });
        told.await.unwrap();
    }
    let recorder = cluster.find("recorder");
    let waits = eventually("the recorder counts its failures", PATIENCE, async || {
        let failures = recorder.counted("postrider_recorder_store_failures_total");
        (failures.await > 0.0).then_some(())
    });
    waits.await.unwrap();
}

/// A worker is killed and a recorder told to stop while nothing can be written down of it: others take over what they owned.
async fn moves_partitions(cluster: &mut Cluster) -> Kill {
    const OWNED: &str = "postrider_kafka_owned_partitions";
    let owned = async |cluster: &Cluster| {
        let (middle, recorder) = (cluster.find("middle"), cluster.find("recorder"));
        (middle.counted(OWNED).await, recorder.counted(OWNED).await)
    };
    let leaving = async |cluster: &Cluster| {
        let (worker, recorder) = (cluster.find("worker-2"), cluster.find("recorder-2"));
        (worker.counted(OWNED).await, recorder.counted(OWNED).await)
    };
    let (before, left) = (owned(cluster).await, leaving(cluster).await);
    assert!(left.0 > 0.0 && left.1 > 0.0, "they own nothing: {left:?}");
    let kill = cluster.process("worker-2").kill();
    cluster.process("recorder-2").terminate().await;
    let all = (before.0 + left.0, before.1 + left.1);
    let taken = eventually("others take over", PATIENCE, async || {
        (owned(cluster).await == all).then_some(())
    });
    taken.await.unwrap();
    kill
}

/// 503 is said of what only the store knows; nobody is told that something known is not there.
pub(super) async fn refuses_only_what_it_cannot_know(api: &Api, app: &str) {
    let event = json!({ "eventType": "scenario.event", "payload": {} });
    let to = |app: &str| format!("/api/v1/app/{app}/msg");
    let stranger = api.with_token(&format!("pr_{}", "A".repeat(43)));
    let unknown_app = api.try_post(&to("nobody-knows-it"), &event).await.unwrap();
    let unknown_token = stranger.try_post(&to(app), &event).await.unwrap();
    let keyed = json!({ "eventType": "scenario.event", "payload": {}, "eventId": "once" });
    let keyed = api.call(Method::POST, &to(app), &keyed).await.unwrap();
    for (what, answer) in [
        ("an unknown application", unknown_app),
        ("an unknown token", unknown_token),
        ("an event with an id", keyed),
    ] {
        assert_eq!(answer.status, 503, "{what}: {}", answer.body);
    }
}

async fn wait_for_dead_letters(api: &Api, app: &str, count: u64) {
    let path = format!("/api/v1/app/{app}/dead-letter");
    let found = eventually("the dead letters are kept", PATIENCE, async || {
        let listed = api.get(&path).await.ok()?;
        (listed["data"].as_array()?.len() as u64 == count).then_some(())
    });
    found.await.unwrap();
}

async fn cut_connections(postgres: &Postgres) {
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    // They may not have come back after the restart.
    let some = eventually("there are connections to cut", PATIENCE, async || {
        let cut: u64 = postgres.sql(cut).await.ok()?.parse().ok()?;
        (cut > 0).then_some(())
    });
    some.await.unwrap();
}
