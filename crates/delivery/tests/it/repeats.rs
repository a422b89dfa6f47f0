//! Logs on which a crash can lie between what was written and the position that it finished: what is written twice is sent
//! once, and what is cut off is repeated once.

use std::collections::VecDeque;

use postrider_model::{Clock, Delivery, EndpointPolicy};

use crate::world::{Does, MS, S, World};

fn world() -> World {
    let world = World::new();
    world.log.complete_in_two_steps();
    world
}

#[tokio::test(start_paused = true)]
async fn what_fan_out_or_the_pump_wrote_twice_is_sent_once() {
    let mut world = world();
    let id = world.endpoint(0, Does::Answer(200));
    let delivery = world.delivery(id);
    world.start();
    // The second while the first is in hand, and one long after.
    world.write(&[delivery.clone(), delivery.clone()]).await;
    world.until(S, "finished", World::is_finished).await;
    tokio::time::sleep(10 * S).await;
    world.write(&[delivery]).await;
    world.until(S, "finished", World::is_finished).await;
    assert_eq!((world.sender.sent(), world.attempts().len()), (1, 1));
    assert_eq!(world.metrics.repeats.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_generation_of_a_delivery_is_no_repeat() {
    let mut world = world();
    let id = world.endpoint(0, Does::Answer(200));
    let first = world.delivery(id);
    let again = first.clone().again(7, 0, first.accepted_at, first.deadline);
    world.start();
    world.write(&[first, again]).await;
    world.until(S, "finished", World::is_finished).await;
    assert_eq!((world.sender.sent(), world.metrics.repeats.get()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_parked_comes_back_and_is_sent() {
    let mut world = world();
    let policy = EndpointPolicy {
        rate_limit: Some(5),
        ..Default::default()
    };
    let limited = world.endpoint_with(0, Does::Answer(200), policy);
    let other = world.endpoint(1, Does::OurFault(2));
    world.start();
    let events = world.publish(&[limited; 100]).await;
    world.publish(&[other]).await;
    world
        .until(300 * S, "all is sent", |world| {
            let done = world.attempts().into_iter();
            done.filter(|attempt| attempt.outcome.is_success()).count() == 101
        })
        .await;
    assert_eq!(world.sender.sent_to(limited).len(), events.len());
    assert_eq!(world.metrics.repeats.get(), 0);
}

/// A worker writes what came of its first attempts, is killed before it commits, and another takes over.
async fn killed_before_its_commit(world: &mut World) {
    world.log.crash_before_positions();
    world.start();
    assert!(world.ended().await.is_err());
    world.kill_and_restart().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_and_not_committed_at_a_kill_is_sent_once_more_and_no_oftener() {
    const COUNT: usize = 20;
    let mut world = world();
    let id = world.endpoint(0, Does::Answer(200));
    let all: Vec<Delivery> = (0..COUNT).map(|_| world.delivery(id)).collect();
    world.write(&all).await;
    killed_before_its_commit(&mut world).await;
    let written = world.attempts().len();
    world.until(9 * S, "finished", World::is_finished).await;
    assert_eq!(world.sender.sent(), COUNT, "by the second");
    let mut ids: Vec<_> = world.attempts().iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), COUNT + written);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), COUNT, "a repeat has the id of the first");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_was_written_by_two_workers_is_attempted_once() {
    let mut world = world();
    let id = world.endpoint(0, Does::Script(VecDeque::from([500, 500])));
    let delivery = world.delivery(id);
    world.write(&[delivery]).await;
    killed_before_its_commit(&mut world).await;
    world
        .until(60 * S, "both retries came", |world| {
            world.metrics.repeats.get() == 1
        })
        .await;
    world.until(S, "finished", World::is_finished).await;
    tokio::time::sleep(60 * S).await;
    assert_eq!(world.sender.sent(), 2, "the first attempt and the second");
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_two_workers_parked_is_sent_once() {
    let mut world = world();
    let id = world.endpoint(0, Does::Answer(200));
    let later = world.clock.now().plus(20 * S);
    let delivery = world.delivery(id).first_at(later);
    world.write(&[delivery]).await;
    killed_before_its_commit(&mut world).await;
    world
        .until(100 * S, "one is passed over", |world| {
            world.metrics.repeats.get() == 1
        })
        .await;
    tokio::time::sleep(60 * S + MS).await;
    assert!(world.is_finished());
    assert_eq!(world.sender.sent(), 1);
}
