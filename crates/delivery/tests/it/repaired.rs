//! Whoever repaired an endpoint does not wait for its breaker.

use std::sync::atomic::Ordering;

use postrider_model::{BreakerState, Clock as _, Endpoint, EndpointId};

use crate::parking::open_state;
use crate::world::{Does, MS, S, World};

/// A dead endpoint whose next probe is some time off, and that would answer now.
async fn repaired(world: &mut World) -> (EndpointId, usize) {
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 20]).await;
    tokio::time::sleep(60 * S).await;
    let is_far_off = |world: &World| {
        let state = open_state(world).filter(|state| state.breaker == BreakerState::Open);
        let probe_at = state.and_then(|state| state.probe_at);
        probe_at.is_some_and(|at| at.since(world.clock.now()) > 20 * S)
    };
    world.until(300 * S, "a long wait", is_far_off).await;
    world.sender.set(id, Does::Answer(200));
    (id, world.sender.sent())
}

/// The breaker closes, and that is told.
async fn until_closed(world: &mut World) {
    let is_closed =
        |world: &World| open_state(world).is_none_or(|state| state.breaker == BreakerState::Closed);
    world.until(2 * S, "closed", is_closed).await;
}

/// The endpoint is another than before, as far as the registry is concerned.
fn change(world: &World, id: EndpointId) {
    let mut changed = Endpoint::clone(&world.endpoints.known.lock().unwrap()[&id]);
    changed.version += 1;
    world.put(changed);
    world.endpoints.version.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_changed_is_tried_at_once() {
    let mut world = World::new();
    let (id, before) = repaired(&mut world).await;
    change(&world, id);
    // The pump hears of it, though nothing new comes; unless something that waited comes back just then and is tried.
    let now = world.clock.now();
    world
        .until(3 * S, "the probe is put forward", |world| {
            let probe_at = open_state(world).and_then(|state| state.probe_at);
            probe_at.is_some_and(|at| at.since(now) < 3 * S) || world.sender.sent() > before
        })
        .await;
    world.publish(&[id]).await;
    world
        .until(S, "tried", |world| world.sender.sent() > before)
        .await;
    until_closed(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_changed_while_its_probe_is_out_is_tried_at_once_when_that_has_failed()
{
    let mut world = World::new();
    let (id, before) = repaired(&mut world).await;
    world.sender.set(id, Does::Hang);
    let is_out = |world: &World| {
        open_state(world).is_some_and(|state| state.breaker == BreakerState::HalfOpen)
    };
    world.until(600 * S, "a probe is out", is_out).await;
    assert_eq!(world.sender.sent(), before + 1);
    change(&world, id);
    world.sender.set(id, Does::Answer(200));
    // Two ticks, so that the change was seen.
    tokio::time::sleep(2 * S + MS).await;
    world.publish(&[id]).await;
    let is_failed = |world: &World| world.sender.in_flight.load(Ordering::SeqCst) == 0;
    world.until(60 * S, "the probe has failed", is_failed).await;
    world
        .until(S, "the next one is made", |world| {
            world.sender.sent() > before + 1
        })
        .await;
    until_closed(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_has_an_open_breaker_try_once_and_not_for_each_of_its_deliveries() {
    let mut world = World::new();
    let (id, before) = repaired(&mut world).await;
    world.sender.set(id, Does::Dead);
    let mut replayed: Vec<_> = (0..200).map(|_| world.delivery(id)).collect();
    for delivery in &mut replayed {
        delivery.generation = 1;
    }
    world.write(&replayed[..100]).await;
    world
        .until(S, "tried", |world| world.sender.sent() == before + 1)
        .await;
    world.write(&replayed[100..]).await;
    tokio::time::sleep(10 * S).await;
    assert_eq!(world.sender.sent(), before + 1);
}
