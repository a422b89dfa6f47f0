//! An endpoint is judged by a snapshot that is new enough, or not at all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use postrider_model::{DeathReason, Disabled, EndpointPolicy};

use crate::world::{Does, S, World, endpoint};

#[tokio::test(start_paused = true)]
async fn a_delivery_matched_at_a_newer_version_waits_for_a_refresh() {
    let mut world = World::new();
    let new = endpoint(7, EndpointPolicy::default());
    let id = new.id;
    world
        .endpoints
        .store
        .lock()
        .unwrap()
        .insert(id, Arc::new(new));
    world.endpoints.store_version.store(5, Ordering::SeqCst);
    world.start();
    let mut delivery = world.delivery(id);
    delivery.registry_version = 5;
    world.write(&[delivery]).await;
    world
        .until(S, "delivered", |world| world.attempts().len() == 1)
        .await;
    assert_eq!(world.endpoints.refreshes.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_knows_the_endpoint_and_its_application_as_they_were_matched_waits_for_no_store() {
    let mut world = World::new();
    let id = world.endpoint(1, Does::Answer(200));
    world.put(postrider_model::Endpoint {
        version: 5,
        ..endpoint(1, EndpointPolicy::default())
    });
    let known = &world.endpoints;
    known.application_version.store(7, Ordering::SeqCst);
    // That of the newest change of anything says nothing: others' may be seen before this one's.
    known.version.store(9, Ordering::SeqCst);
    known.down.store(true, Ordering::SeqCst);
    world.start();
    for version in [3, 5, 7, 8] {
        let mut delivery = world.delivery(id);
        delivery.registry_version = version;
        world.write(&[delivery]).await;
    }
    world
        .until(S, "three delivered, and one parked", |world| {
            (world.attempts().len(), world.parked().len()) == (3, 1)
        })
        .await;
    assert_eq!(world.parked()[0].registry_version, 8);
}

#[tokio::test(start_paused = true)]
async fn unknown_and_disabled_endpoints_are_verdicts_only_on_a_fresh_snapshot() {
    let mut world = World::new();
    let disabled = world.endpoint(1, Does::Answer(200));
    world.put(postrider_model::Endpoint {
        disabled: Some(Disabled::ByOwner),
        ..endpoint(1, EndpointPolicy::default())
    });
    let unknown = endpoint(2, EndpointPolicy::default()).id;
    world.endpoints.down.store(true, Ordering::SeqCst);
    world.start();
    world.publish(&[disabled, unknown]).await;
    world
        .until(S, "parked", |world| world.parked().len() == 2)
        .await;
    assert!(
        world.dead_letters().is_empty(),
        "the store is down: no verdict"
    );

    world.endpoints.down.store(false, Ordering::SeqCst);
    world
        .until(30 * S, "dead", |world| world.dead_letters().len() == 2)
        .await;
    assert!(
        world
            .dead_letters()
            .iter()
            .all(|dead| dead.reason == DeathReason::EndpointGone)
    );
    assert_eq!(world.sender.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_enabled_again_in_the_store_gets_what_waited() {
    let mut world = World::new();
    let id = world.endpoint(1, Does::Answer(200));
    let disabled = postrider_model::Endpoint {
        disabled: Some(Disabled::Failing),
        ..endpoint(1, EndpointPolicy::default())
    };
    world
        .endpoints
        .known
        .lock()
        .unwrap()
        .insert(id, Arc::new(disabled));
    world.start();
    world.publish(&[id]).await;
    world
        .until(S, "delivered", |world| world.attempts().len() == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_store_is_not_on_the_way_of_known_endpoints() {
    let mut world = World::new();
    let id = world.endpoint(1, Does::Answer(200));
    world.endpoints.down.store(true, Ordering::SeqCst);
    world.start();
    world.publish(&[id; 100]).await;
    world
        .until(S, "delivered", |world| world.attempts().len() == 100)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_without_a_usable_secret_is_put_aside_and_delivered_once_it_has_one() {
    let mut world = World::new();
    let id = world.endpoint(1, Does::Answer(200));
    let broken = postrider_model::Endpoint {
        secrets: Vec::new(),
        ..endpoint(1, EndpointPolicy::default())
    };
    world.put(broken);
    world.start();
    world.publish(&[id]).await;
    world
        .until(S, "parked", |world| world.parked().len() == 1)
        .await;
    world.put(endpoint(1, EndpointPolicy::default()));
    world
        .until(70 * S, "delivered", |world| world.attempts().len() == 1)
        .await;
}
