//! What is changed by one process counts in all of them, on Kafka and PostgreSQL: an endpoint that was made gets what is
//! accepted afterwards, one that was deleted or disabled gets nothing soon.

use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, Load, Pace, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cluster::{Basis, Cluster, PATIENCE};
use crate::creation::make;
use crate::world::Running;

/// A refresh each second, and what was in flight: five times that.
const SOON: Duration = Duration::from_secs(10);

/// Processes that make, accept, match and deliver, each by itself.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    cluster.lay_out().await;
    for (name, roles) in [
        ("api", "api"),
        ("ingest", "ingest"),
        ("fanout", "fanout"),
        ("worker", "worker"),
        ("rest", "pump,recorder,deadletter"),
    ] {
        cluster.play(name, roles).await;
    }
    cluster.ready().await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_one_process_made_gets_what_another_accepts_at_once() {
    const TRIES: u64 = 400;
    let mut cluster = cluster().await;
    let (api, ingest) = (cluster.api("api"), cluster.api("ingest"));
    let app = api.create_app("made").await.unwrap();
    let url = cluster.receiver.url("/made");
    let checker = make(TRIES, &app, &url, &api, &ingest).await;
    let receiver = &cluster.receiver;
    receiver.wait_for("/made/", TRIES, PATIENCE).await.unwrap();
    let verdict = checker.judge(&receiver.arrivals());
    assert!(verdict.is_good(), "{verdict}");
    cluster.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_was_deleted_or_disabled_gets_nothing_soon_after_that_was_answered() {
    let mut cluster = cluster().await;
    let api = cluster.api("api");
    let app = api.create_app("changed").await.unwrap();
    let mut ids = Vec::new();
    for path in ["/kept", "/deleted", "/disabled"] {
        let spec = json!({ "url": cluster.receiver.on(path, Behaviour::Ok) });
        ids.push(api.create_endpoint(&app, &spec).await.unwrap());
    }
    let load = Load {
        pace: Pace::Rate(50.0),
        connections: 4,
        ..Load::of(&app, "scenario.event")
    };
    let load = Running::begin(load, cluster.target("ingest"));
    let receiver = &cluster.receiver;
    for path in ["/kept", "/deleted", "/disabled"] {
        receiver.wait_for(path, 50, PATIENCE).await.unwrap();
    }
    let path = |id: &str| format!("/api/v1/app/{app}/endpoint/{id}");
    let deleted = api.call(Method::DELETE, &path(&ids[1]), &Value::Null).await;
    deleted.unwrap().ok().unwrap();
    let disabled = json!({ "disabled": true });
    api.patch(&path(&ids[2]), &disabled).await.unwrap();
    let soon = Instant::now() + SOON;

    let late = |path: &str| {
        let arrivals = receiver.arrivals_at(path);
        arrivals.iter().filter(|arrival| arrival.at > soon).count()
    };
    let on = eventually(
        "its neighbour still gets everything",
        PATIENCE,
        async || (late("/kept") > 150).then_some(()),
    );
    on.await.unwrap();
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);
    for path in ["/deleted", "/disabled"] {
        assert_eq!(late(path), 0, "{path}");
    }
    cluster.terminate().await;
}
