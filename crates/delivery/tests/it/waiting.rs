//! What tells that more workers are needed.

use postrider_model::EndpointPolicy;

use crate::world::{Does, S, World};

/// One attempt at a time, each of twelve seconds.
fn slow(world: &World) -> postrider_model::EndpointId {
    let policy = EndpointPolicy {
        max_in_flight: Some(1),
        ..EndpointPolicy::default()
    };
    world.endpoint_with(0, Does::Slow(12 * S), policy)
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_unfinished_work_and_no_waiting_work() {
    let mut world = World::new();
    let slow = slow(&world);
    world.start();
    world.publish(&[slow]).await;
    let unfinished = 11 * S;
    world
        .until(12 * S, "it is seen to be unfinished", |world| {
            world.metrics.oldest_unfinished.get() >= unfinished.as_secs_f64() - 1.0
        })
        .await;
    assert_eq!(world.metrics.waiting.get(), 0);
    assert!(world.metrics.oldest_waiting.get() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_what_is_not_started_grows_until_it_is_started() {
    let mut world = World::new();
    let slow = slow(&world);
    world.start();
    world.publish(&[slow]).await;
    world.publish(&[slow]).await;
    world
        .until(12 * S, "the second has waited for seconds", |world| {
            world.metrics.oldest_waiting.get() >= 5.0
        })
        .await;
    assert_eq!(world.metrics.waiting.get(), 1);
    world
        .until(10 * S, "the second is started", |world| {
            world.metrics.waiting.get() == 0
        })
        .await;
    assert!(world.metrics.oldest_waiting.get() < f64::EPSILON);
    world
        .until(20 * S, "both are finished", World::is_finished)
        .await;
}
