//! An endpoint's breaker seen from outside, and "it was repaired: try it now", on both pairs of engines.

use std::time::Duration;

use postrider_model::{Clock, SystemClock, Timestamp};
use postrider_testkit::{Api, Behaviour, Receiver, eventually};
use serde_json::{Value, json};

use crate::engines::Engines;
use crate::world::{DEADLINE, World};

/// A wait this long cannot be over by chance before what is asked for has happened.
const LONG: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_endpoint_is_tried_when_its_owner_says_so_and_not_when_the_wait_is_over() {
    let world = World::with(&[]).await;
    repaired(&world.api, &world.receiver, &world.app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_and_postgresql_too_a_repaired_endpoint_is_tried_when_its_owner_says_so() {
    let engines = Engines::new().await;
    let (_server, api) = engines.serve().await;
    let receiver = Receiver::start().unwrap();
    let app = api.create_app("scenario").await.unwrap();
    repaired(&api, &receiver, &app).await;
}

/// Its deliveries have a schedule of days, of which hardly one gets further than its first attempts: each probe is another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_with_steady_traffic_is_disabled_while_its_deliveries_wait_for_probes() {
    let settings = [
        ("DELIVERY__DISABLE_FAILING_AFTER", "5s"),
        ("DELIVERY__BREAKER_WAIT", "500ms"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "500ms"),
    ];
    let world = World::with(&settings).await;
    let endpoint = world.endpoint("/dead", Behaviour::Status(500)).await;
    let path = format!("/api/v1/app/{}/endpoint/{endpoint}", world.app);
    let disabled = eventually("it is disabled", DEADLINE, async || {
        let event = world
            .api
            .publish(&world.app, "scenario.event", &json!({}))
            .await;
        event.unwrap();
        let told = world.api.get(&path).await.ok()?;
        (told["disabled"] == true).then_some(told)
    });
    let told = disabled.await.unwrap();
    assert_eq!(told["disabledReason"], "failing", "{told}");
    // Probes, and not every event.
    let metrics = world.api.metrics().await.unwrap();
    let exhausted = "postrider_delivery_dead_letters_total{reason=\"exhausted\"}";
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix(exhausted));
    assert_eq!(counted.map(str::trim), Some("0"), "{metrics}");
}

async fn repaired(api: &Api, receiver: &Receiver, app: &str) {
    let url = receiver.on("/hook", Behaviour::Status(500));
    let endpoint = api.create_endpoint(app, &json!({ "url": url })).await;
    let path = format!("/api/v1/app/{app}/endpoint/{}/breaker", endpoint.unwrap());
    // How endpoints stand is read after the start, and until then the answer is to ask again.
    let read = eventually("how endpoints stand is read", DEADLINE, async || {
        let told = api.get(&path).await.ok()?;
        (told["state"] == "closed").then_some(())
    });
    read.await.unwrap();

    for _ in 0..10 {
        api.publish(app, "scenario.event", &json!({}))
            .await
            .unwrap();
    }
    let is_far_off = |told: &Value| {
        let at = told["nextProbeAt"].as_str().and_then(Timestamp::parse)?;
        (told["state"] == "open" && at.since(SystemClock.now()) > LONG).then_some(at)
    };
    let open = eventually("the next probe is far off", DEADLINE, async || {
        let told = api.get(&path).await.unwrap();
        is_far_off(&told).map(|at| (at, told))
    });
    let (probe_at, told) = open.await.unwrap();
    assert!(
        told["why"].as_str().unwrap().contains("attempts failed"),
        "{told}"
    );
    assert!(told["consecutiveFailures"].as_u64().unwrap() >= 5, "{told}");
    assert!(told["waiting"].as_u64().unwrap() > 0, "{told}");
    let opened_at = told["openedAt"].as_str().and_then(Timestamp::parse);
    assert!(opened_at.unwrap() <= SystemClock.now(), "{told}");

    let before = receiver.count("/hook");
    receiver.on("/hook", Behaviour::Ok);
    api.post(&format!("{path}/probe"), &json!({}))
        .await
        .unwrap();
    let closed = eventually("it is closed", DEADLINE, async || {
        // What comes for it is the probe.
        api.publish(app, "scenario.event", &json!({}))
            .await
            .unwrap();
        let told = api.get(&path).await.unwrap();
        (told["state"] == "closed").then_some(())
    });
    closed.await.unwrap();
    assert!(receiver.count("/hook") > before);
    assert!(
        SystemClock.now() < probe_at,
        "it was closed by the ordinary probe"
    );
}
