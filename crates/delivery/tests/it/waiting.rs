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
async fn what_waits_for_its_endpoint_alone_does_not_ask_for_more_workers() {
    let mut world = World::new();
    let slow = slow(&world);
    world.start();
    world.publish(&[slow; 2]).await;
    for _ in 0..11 {
        tokio::time::sleep(S).await;
        assert!(world.metrics.oldest_waiting.get() < f64::EPSILON);
    }
    assert_eq!(world.metrics.waiting.get(), 1);
    world
        .until(20 * S, "both are finished", World::is_finished)
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_age_of_what_we_hold_up_grows_until_it_is_started() {
    let mut world = World::new();
    world.options.in_flight = 8;
    let ids: Vec<_> = (0..20)
        .map(|n| world.endpoint(n, Does::Slow(12 * S)))
        .collect();
    world.start();
    world.publish(&ids).await;
    world
        .until(12 * S, "some have waited for seconds", |world| {
            world.metrics.oldest_waiting.get() >= 5.0
        })
        .await;
    assert!(world.metrics.waiting.get() > 0);
    world
        .until(100 * S, "all are started", |world| {
            world.metrics.waiting.get() == 0
        })
        .await;
    assert!(world.metrics.oldest_waiting.get() < f64::EPSILON);
    world
        .until(20 * S, "all are finished", World::is_finished)
        .await;
}
