//! What fails is tried again by the schedule, then given up.

use postrider_testkit::{Behaviour, Checked, eventually};
use serde_json::json;

use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_tried_again_and_signed_afresh() {
    let world = World::with(&[("DELIVERY__SCHEDULE", "0s,2s,2s")]).await;
    world
        .endpoint("/failing-first", Behaviour::FailFirst(2, 500))
        .await;
    world.publish(1).await;
    world.wait_for("/failing-first", 3).await;
    let arrivals = world.receiver.arrivals_at("/failing-first");
    assert!(arrivals.iter().all(|one| one.event == arrivals[0].event));
    assert!(arrivals.iter().all(|one| one.signature == Checked::Good));
    // Each attempt carries its own time, which is in whole seconds.
    assert!(arrivals[0].timestamp < arrivals[2].timestamp);
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_delivery_becomes_a_dead_letter_and_one_that_fails_its_replay_another() {
    let world = World::with(&[("DELIVERY__SCHEDULE", "0s")]).await;
    world.endpoint("/failing", Behaviour::Status(500)).await;
    world.publish(1).await;
    world.wait_for_dead_letters(1).await;

    let list = format!("/api/v1/app/{}/dead-letter", world.app);
    let first = world.api.get(&list).await.unwrap()["data"][0].clone();
    let body = json!({ "deadLetterIds": [first["id"]] });
    let replay = format!("/api/v1/app/{}/replay", world.app);
    world.api.post(&replay, &body).await.unwrap();
    world.wait_for("/failing", 2).await;

    let second = eventually("there is a second dead letter", DEADLINE, async || {
        let page = world.api.get(&list).await.unwrap();
        let all = page["data"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["id"] != first["id"])
    });
    let second = second.await.unwrap();
    assert_eq!(first["msgId"], second["msgId"], "{first} {second}");
    assert!(first["msgId"].is_string(), "{first}");
    let arrivals = world.receiver.arrivals_at("/failing");
    assert_eq!(arrivals[0].event, arrivals[1].event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let world = World::with(&[("DELIVERY__SCHEDULE", "0s")]).await;
    let elsewhere = world.receiver.url("/elsewhere");
    world
        .endpoint("/moved", Behaviour::Redirect(elsewhere))
        .await;
    world.publish(1).await;
    world.wait_for_dead_letters(1).await;
    assert_eq!(world.receiver.count("/elsewhere"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_says_gone_is_disabled() {
    let world = World::with(&[]).await;
    let gone = world.endpoint("/gone", Behaviour::Status(410)).await;
    world.publish(1).await;
    world.wait_for_dead_letters(1).await;
    let path = format!("/api/v1/app/{}/endpoint/{gone}", world.app);
    let disabled = eventually("the endpoint is disabled", DEADLINE, async || {
        let endpoint = world.api.get(&path).await.unwrap();
        (endpoint["disabled"] == json!(true)).then_some(())
    });
    disabled.await.unwrap();
}
