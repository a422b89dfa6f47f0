//! No endpoint keeps the watermark of a partition back: behind it the log keeps what is everybody's.

use postrider_delivery::ParkReason;
use postrider_log::Limits;
use postrider_log::testing::MemoryLog;
use postrider_model::{Delivery, EndpointId, EndpointPolicy, topics};

use crate::world::{Does, MS, S, World};

/// How many records lie behind the watermark, or were not read.
fn kept(world: &World) -> usize {
    world.log.records(topics::DELIVERIES_NORMAL).len()
}

/// Sends ten a second to a neighbour, and asserts that nothing holds the watermark back for longer than `at_most` seconds.
async fn neighbour_is_finished(world: &mut World, seconds: u32, at_most: f64) {
    let neighbour = world.endpoint(9, Does::Answer(200));
    for second in 0..seconds {
        for _ in 0..10 {
            world.publish(&[neighbour]).await;
            tokio::time::sleep(100 * MS).await;
        }
        let oldest = world.metrics.oldest_unfinished.get();
        assert!(oldest <= at_most, "after {second} s: {oldest} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_busy_endpoint_keeps_no_watermark_back_and_is_kept_busy() {
    let mut world = World::new();
    let slow = world.endpoint(0, Does::Slow(10 * S));
    world.start();
    world.publish(&vec![slow; 2_500]).await;
    // A wave of ten seconds before it is known to be slow, and then what starts within thirty, and its attempts.
    neighbour_is_finished(&mut world, 300, 75.0).await;
    // What came back and the neighbour's of that time, of some 7,000 in all.
    assert!(kept(&world) <= 2_500, "{} records are kept", kept(&world));
    // 64 at a time, once it has shown that it bears them.
    let sent = world.sender.sent_to(slow).len();
    assert!(sent >= 1_000, "{sent} were sent");
    let moved = world.metrics.parked.of(ParkReason::Slow).get();
    assert!((1_500..15_000).contains(&moved), "{moved} were parked");
    let attempts = world.attempts().len();

    world.kill_and_restart().await;
    let new = world.endpoint(8, Does::Answer(200));
    world.publish(&[new]).await;
    world
        .until(5 * S, "what is new arrives", |world| {
            !world.sender.sent_to(new).is_empty()
        })
        .await;
    let again = world.metrics.skipped.get();
    assert!(again <= 2_500, "{again} were read again");
    world
        .until(600 * S, "all is delivered", |world| {
            world.sender.sent() >= 5_501 - attempts
        })
        .await;
    world
        .until(60 * S, "all is finished", World::is_finished)
        .await;
    assert_eq!(world.attempts().len(), 5_501);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_attempts_that_are_out_for_minutes_is_parked() {
    let mut world = World::new();
    let policy = EndpointPolicy {
        max_in_flight: Some(1),
        timeout: Some(120 * S),
        ..EndpointPolicy::default()
    };
    let slow = world.endpoint_with(0, Does::Slow(100 * S), policy);
    world.start();
    world.publish(&[slow; 5]).await;
    neighbour_is_finished(&mut world, 300, 170.0).await;
    assert!(world.metrics.parked.of(ParkReason::Watermark).get() > 0);
    world
        .until(1_200 * S, "all is delivered", |world| {
            world.sender.sent_to(slow).len() == 5
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_out_for_minutes_does_not_empty_the_lanes_of_others() {
    let mut world = World::new();
    let policy = |at_a_time, timeout| EndpointPolicy {
        max_in_flight: Some(at_a_time),
        timeout: Some(timeout),
        ..EndpointPolicy::default()
    };
    let hanging = world.endpoint_with(0, Does::Slow(110 * S), policy(1, 120 * S));
    let sound = world.endpoint_with(1, Does::Slow(2 * S), policy(4, 15 * S));
    world.start();
    // 35 seconds of queue for the sound one, which has as much to do as it bears.
    world.publish(&[sound; 70]).await;
    for second in 0..300u32 {
        if second % 100 == 0 {
            world.publish(&[hanging]).await;
        }
        world.publish(&[sound; 2]).await;
        tokio::time::sleep(S).await;
    }
    assert_eq!(world.metrics.parked.of(ParkReason::Watermark).get(), 0);
    let sent = world.sender.sent_to(sound).len();
    assert!(sent >= 580, "{sent} were sent");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_was_finished_is_not_even_decoded() {
    let mut world = World::new();
    let hanging = world.endpoint(0, Does::Hang);
    let good = world.endpoint(1, Does::Answer(200));
    world.start();
    world.publish(&[hanging]).await;
    let delivery = world.delivery(good);
    broken(&world, &delivery, good).await;
    world.publish(&[good; 10]).await;
    let finished = |world: &World| world.attempts().len() == 10;
    world.until(5 * S, "finished", finished).await;
    tokio::time::sleep(100 * MS).await;
    assert_eq!(world.metrics.malformed.get(), 1);
    world.kill_and_restart().await;
    world
        .until(5 * S, "read again", |world| {
            world.metrics.skipped.get() == 11
        })
        .await;
    assert_eq!(world.metrics.malformed.get(), 1, "decoded again");
    assert!(world.sender.sent_to(good).is_empty());
}

/// A record that is no delivery.
async fn broken(world: &World, like: &Delivery, to: EndpointId) {
    use postrider_log::{Durability, Log, Purpose};
    let mut record = like.to_record();
    assert_eq!(like.endpoint_id, to);
    record.value = bytes::Bytes::from_static(b"\xff\xff");
    let appended = world
        .log
        .append(vec![record], Durability::Ordered, Purpose::Intake);
    appended.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoints_queue_never_makes_the_next_owner_send_again_what_others_got() {
    // As with Kafka, but for fewer records: the map reaches some two hundred.
    let limits = Limits {
        record_bytes: 8 << 20,
        metadata_bytes: Some(40),
    };
    let mut world = World::new();
    world.log = MemoryLog::with_limits(topics::all(), world.clock.clone(), limits);
    let policy = EndpointPolicy {
        max_in_flight: Some(10),
        ..EndpointPolicy::default()
    };
    let slow = world.endpoint_with(0, Does::Slow(S), policy);
    let neighbour = world.endpoint(1, Does::Answer(200));
    world.start();
    for _ in 0..400 {
        world.publish(&[slow, neighbour]).await;
        tokio::time::sleep(50 * MS).await;
    }
    world
        .until(S, "the neighbour has got all", |world| {
            world.sender.sent_to(neighbour).len() == 400
        })
        .await;
    // It was busy meanwhile.
    let before = world.sender.sent_to(slow).len();
    assert!(before >= 150, "{before} went to the slow one");
    tokio::time::sleep(100 * MS).await;

    world.kill_and_restart().await;
    world
        .until(300 * S, "the slow one has got all", |world| {
            before + world.sender.sent_to(slow).len() >= 400
        })
        .await;
    world
        .until(60 * S, "all is finished", World::is_finished)
        .await;
    assert_eq!(world.sender.sent_to(neighbour).len(), 0, "they came again");
    let all = before + world.sender.sent_to(slow).len();
    assert!(all <= 410, "{all} to the slow one");
}
