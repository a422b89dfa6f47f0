//! What survives a kill, and what a stop leaves behind.

use std::collections::HashSet;

use postrider_model::topics;

use crate::parking::{assert_probed_first, probe_at};
use crate::world::{Does, MS, S, World};

#[tokio::test(start_paused = true)]
async fn after_a_kill_only_what_was_in_flight_is_sent_again() {
    let mut world = World::new();
    let hanging = world.endpoint(0, Does::Hang);
    let good = world.endpoint(1, Does::Answer(200));
    world.start();
    for _ in 0..50 {
        world.publish(&[good, hanging, good]).await;
    }
    world
        .until(S, "the healthy one has all", |world| {
            world.attempts().len() == 100
        })
        .await;
    world
        .until(S, "committed", |world| world.attempts().len() == 100)
        .await;
    tokio::time::sleep(20 * MS).await;
    let in_flight: HashSet<_> = world
        .sender
        .sent_to(hanging)
        .iter()
        .map(|sent| sent.event)
        .collect();
    world.kill_and_restart().await;
    tokio::time::sleep(2 * S).await;
    assert!(
        world.sender.sent_to(good).is_empty(),
        "what was finished is sent again"
    );
    let again: HashSet<_> = world
        .sender
        .sent_to(hanging)
        .iter()
        .map(|sent| sent.event)
        .collect();
    assert_eq!(again, in_flight);
}

#[tokio::test(start_paused = true)]
async fn a_kill_in_the_middle_loses_nothing_and_repeats_at_most_what_was_in_flight() {
    let mut world = World::new();
    let ids: Vec<_> = (0..5)
        .map(|n| world.endpoint(n, Does::Slow(7 * MS)))
        .collect();
    world.start();
    let (mut repeats, mut sent, mut written) = (0, 0, 0);
    let mut events = Vec::new();
    for round in 0..10u32 {
        for _ in 0..20 {
            events.extend(world.publish(&ids).await);
        }
        tokio::time::sleep(MS * (3 + round * 5)).await;
        // Attempts of this process that are not in the log: in flight, or answered a moment before the kill.
        let unwritten = world.sender.sent() - (world.attempts().len() - written);
        assert!(
            unwritten <= ids.len() * 64,
            "{unwritten} attempts are not written"
        );
        repeats += unwritten;
        sent += world.sender.sent();
        world.kill_and_restart().await;
        written = world.attempts().len();
    }
    world
        .until(60 * S, "all delivered", World::is_finished)
        .await;
    let delivered: HashSet<_> = world
        .attempts()
        .iter()
        .map(|attempt| attempt.event_id)
        .collect();
    assert_eq!(delivered.len(), events.len());
    sent += world.sender.sent();
    assert_eq!(
        sent,
        events.len() + repeats,
        "only what was not written is sent again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_survives_a_kill_and_its_backlog_arrives_with_no_new_event() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 100]).await;
    let published = |world: &World| !world.log.records(topics::ENDPOINT_STATE).is_empty();
    world
        .until(5 * S, "the state is published", published)
        .await;
    let probe_at = probe_at(&world).await;
    world.kill_and_restart().await;
    world.sender.set(id, Does::Answer(200));
    world
        .until(400 * S, "the backlog arrives", |world| {
            world
                .attempts()
                .iter()
                .filter(|attempt| attempt.outcome.is_success())
                .count()
                == 100
        })
        .await;
    assert_probed_first(&world.sender.sent_to(id), probe_at);
}

#[tokio::test(start_paused = true)]
async fn a_stop_starts_nothing_and_lets_what_is_in_flight_end() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Slow(3 * S));
    world.start();
    world.publish(&[id; 100]).await;
    world
        .until(S, "in flight", |world| world.sender.sent() > 0)
        .await;
    let started = world.sender.sent();
    world.stop().await.unwrap();
    assert_eq!(world.sender.sent(), started);
    assert_eq!(world.attempts().len(), started);
    let committed = world
        .log
        .committed(topics::WORKER, topics::DELIVERIES_NORMAL);
    assert_eq!(committed.next, started as u64);

    world.start();
    world
        .until(300 * S, "the rest is sent after the next start", |world| {
            world.attempts().len() == 100
        })
        .await;
    assert_eq!(world.sender.sent(), 100, "nothing twice");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let mut world = World::new();
    world.options.drain = 2 * S;
    let id = world.endpoint(0, Does::Hang);
    world.start();
    world.publish(&[id]).await;
    world
        .until(S, "in flight", |world| world.sender.sent() == 1)
        .await;
    let began = tokio::time::Instant::now();
    world.stop().await.unwrap();
    assert!(began.elapsed() <= 3 * S);
}

#[tokio::test(start_paused = true)]
async fn a_limited_endpoint_waits_one_window_after_a_start() {
    let mut world = World::new();
    let policy = postrider_model::EndpointPolicy {
        rate_limit: Some(5),
        ..Default::default()
    };
    let id = world.endpoint_with(0, Does::Answer(200), policy);
    world.start();
    let began = tokio::time::Instant::now();
    world.publish(&[id]).await;
    world
        .until(3 * S, "sent", |world| world.sender.sent() == 1)
        .await;
    assert!(began.elapsed() >= S - 10 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_no_delivery_stops_nobody_and_is_kept() {
    use postrider_log::{Durability, Log, NewRecord, Purpose};
    let mut world = World::new();
    let id = world.endpoint(0, Does::Answer(200));
    world.start();
    let poison = NewRecord::new(topics::DELIVERIES_NORMAL, "key", vec![0xff; 40]);
    world
        .log
        .append(vec![poison], Durability::Ordered, Purpose::Intake)
        .await
        .unwrap();
    world.publish(&[id]).await;
    world.until(S, "finished", World::is_finished).await;
    assert_eq!(world.attempts().len(), 1);
    assert_eq!(world.log.records(topics::EVENTS_REJECTED).len(), 1);
}
