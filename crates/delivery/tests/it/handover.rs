//! What is known of endpoints goes with their partition, and stays with nobody else.

use std::sync::atomic::Ordering;

use postrider_model::{BreakerState, EndpointId, EndpointPolicy, EndpointState, topics};
use tokio::time::Instant;

use crate::members::{Second, endpoint_in, events, partitions, world};
use crate::world::{Does, MS, S, World, endpoint};

/// What the log has of an endpoint now.
fn state_of(world: &World, id: EndpointId) -> Option<EndpointState> {
    let records = world.log.records(topics::ENDPOINT_STATE);
    let mut states = records.iter().filter(|record| !record.value.is_empty());
    let record = states.find(|record| record.key == id.as_bytes().as_slice())?;
    Some(EndpointState::decode(&record.value).unwrap())
}

fn is_open(world: &World, id: EndpointId) -> bool {
    state_of(world, id).is_some_and(|state| state.breaker == BreakerState::Open)
}

/// Several machines share the work.
fn cautious() -> World {
    let mut world = world();
    world.options.cautious_start = true;
    world
}

/// Publishes to a dead endpoint of partition 0 until its breaker is open, and says so in the log.
async fn opened(world: &mut World) -> EndpointId {
    let dead = endpoint_in(world, 0, 0, Does::Dead);
    world.start();
    world.publish(&[dead; 40]).await;
    world
        .until(3 * S, "the breaker opens", |world| is_open(world, dead))
        .await;
    dead
}

#[tokio::test(start_paused = true)]
async fn a_handover_publishes_states_and_commits_with_one_nonce() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    assert_eq!(state_of(&world, dead).unwrap().nonce, 0, "while it goes on");
    world.log.revoke(topics::WORKER, &partitions(0));
    world
        .until(S, "it is handed over", |world| {
            state_of(world, dead).is_some_and(|state| state.nonce != 0)
        })
        .await;
    let state = state_of(&world, dead).unwrap();
    assert_eq!(state.partition, 0);
    let nonce = format!("{:016x}:", state.nonce);
    for at in partitions(0) {
        let committed = world.log.committed_at(topics::WORKER, at);
        assert!(committed.metadata.starts_with(&nonce), "{committed:?}");
    }
    for at in partitions(1) {
        let committed = world.log.committed_at(topics::WORKER, at);
        assert!(!committed.metadata.contains(':'), "{committed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_goes_on_with_what_was_handed_over() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    let probe_at = state_of(&world, dead).unwrap().probe_at.unwrap();
    let second = Second::start(&world).await;
    world.log.revoke(topics::WORKER, &partitions(0));
    // A healthy endpoint of the same partition, of which there was nothing to say, is not taken for a suspect.
    let healthy = endpoint_in(&mut world, 0, 1, Does::Answer(200));
    second.sender.set(healthy, Does::Slow(500 * MS));
    world.publish(&[healthy; 4]).await;
    world.publish(&[dead; 4]).await;
    world
        .until(S / 2, "the healthy one is served", |_| {
            second.sent_to(healthy).len() == 4
        })
        .await;
    assert!(probe_at > postrider_model::Clock::now(&*world.clock));
    assert!(second.sent_to(dead).is_empty(), "the breaker was forgotten");
    world
        .until(100 * S, "all is delivered", World::is_finished)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_next_owner_did_not_touch_is_handed_on() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    let before = state_of(&world, dead).unwrap();
    let second = Second::start(&world).await;
    for _ in 0..2 {
        let last = state_of(&world, dead).unwrap().nonce;
        world.log.revoke(topics::WORKER, &partitions(0));
        world
            .until(S / 4, "it is handed over", |world| {
                state_of(world, dead).is_some_and(|state| state.nonce != last)
            })
            .await;
        tokio::time::sleep(20 * MS).await;
    }
    let after = state_of(&world, dead).unwrap();
    assert_eq!(
        (after.breaker, after.probe_at, after.parked),
        (before.breaker, before.probe_at, before.parked)
    );
    let sent = world.sender.sent();
    world.publish(&[dead; 4]).await;
    tokio::time::sleep(100 * MS).await;
    assert_eq!(world.sender.sent(), sent, "the breaker was forgotten");
    assert_eq!(second.sender.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_no_state_counts_and_the_next_owner_starts_cautiously() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    let slow = endpoint_in(&mut world, 0, 1, Does::Answer(200));
    let second = Second::start(&world).await;
    second.sender.set(dead, Does::Answer(200));
    second.sender.set(slow, Does::Slow(100 * MS));
    world.log.lose(topics::WORKER, &partitions(0));
    world.publish(&[slow; 8]).await;
    world.publish(&[dead]).await;
    tokio::time::sleep(50 * MS).await;
    assert_eq!(second.sent_to(slow).len(), 1, "concurrency starts at one");
    assert_eq!(second.sent_to(dead).len(), 1, "the breaker starts closed");
    world
        .until(3 * S, "what was published is put right", |world| {
            !is_open(world, dead)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_state_one_failure_opens_the_breaker() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    let second = Second::start(&world).await;
    second.sender.set(dead, Does::Dead);
    world.log.lose(topics::WORKER, &partitions(0));
    world.publish(&[dead; 20]).await;
    tokio::time::sleep(500 * MS).await;
    assert_eq!(second.sent_to(dead).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_publishes_nothing_and_does_not_go_on_with_what_it_knew() {
    let mut world = world();
    let id = opened(&mut world).await;
    let second = Second::start(&world).await;
    second.sender.set(id, Does::Answer(200));
    world.log.lose(topics::WORKER, &partitions(0));
    world
        .until(400 * S, "the next owner delivers all", World::is_finished)
        .await;
    world
        .until(400 * S, "it recovers", |world| !is_open(world, id))
        .await;
    tokio::time::sleep(10 * S).await;
    assert!(!is_open(&world, id), "published by the former owner");
    assert_eq!(world.metrics.open_breakers.get(), 0);

    // It comes back: what was published meanwhile counts.
    world.sender.set(id, Does::Answer(200));
    let before = world.sender.sent();
    world.log.lose(topics::WORKER, &partitions(0));
    world.publish(&[id]).await;
    world
        .until(S / 4, "delivered at once", |world| {
            world.sender.sent() == before + 1
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn no_window_of_a_second_has_more_starts_than_the_rate_across_handovers_and_losses() {
    const RATE: usize = 5;
    let mut world = cautious();
    let id = endpoint_in(&mut world, 0, 0, Does::Answer(200));
    let known = world.endpoints.known.lock().unwrap().get(&id).cloned();
    let limited = EndpointPolicy {
        rate_limit: Some(RATE as u32),
        ..Default::default()
    };
    let mut limited = postrider_model::Endpoint {
        id,
        ..endpoint(0, limited)
    };
    limited.url = known.unwrap().url.clone();
    world.put(limited);
    world.start();
    let second = Second::start(&world).await;
    world.publish(&[id; 100]).await;
    for round in 0..8u32 {
        tokio::time::sleep(1700 * MS + 130 * MS * round).await;
        match round % 3 {
            0 => world.log.lose(topics::WORKER, &partitions(0)),
            _ => world.log.revoke(topics::WORKER, &partitions(0)),
        }
    }
    world
        .until(100 * S, "all is delivered", World::is_finished)
        .await;
    let (first, other) = (world.sender.sent_to(id), second.sender.sent_to(id));
    assert!(!first.is_empty() && !other.is_empty());
    let mut starts: Vec<Instant> = first.iter().chain(&other).map(|sent| sent.at).collect();
    starts.sort();
    for window in starts.windows(RATE + 1) {
        assert!(
            window[RATE] - window[0] >= S,
            "{:?}",
            window[RATE] - window[0]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn while_states_are_read_neighbours_are_served_and_partitions_are_given_up() {
    let mut world = world();
    let returns = endpoint_in(&mut world, 0, 0, Does::Answer(200));
    let stays = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    world.publish(&[returns, stays]).await;
    world.until(S, "it works", World::is_finished).await;
    world.follow_takes.store(10_000, Ordering::SeqCst);
    let began = Instant::now();
    world.log.lose(topics::WORKER, &partitions(0));
    world.log.assign(topics::WORKER, &partitions(0));
    world.publish(&[returns, stays]).await;
    world
        .until(S, "the neighbour is served", |world| {
            events(&world.sender, stays).len() == 2
        })
        .await;
    let second = Second::start(&world).await;
    world.log.revoke(topics::WORKER, &partitions(1));
    world.publish(&[stays]).await;
    world
        .until(S, "the neighbour is given up", |_| {
            second.sent_to(stays).len() == 1
        })
        .await;
    assert_eq!(events(&world.sender, returns).len(), 1, "before its state");
    world
        .until(10 * S, "it is served", World::is_finished)
        .await;
    assert!(began.elapsed() >= 10 * S);
    assert_eq!(events(&world.sender, returns).len(), 2);
    // Of the endpoints whose deliveries it took over, and no others.
    assert_eq!(*world.followed.lock().unwrap(), partitions(0));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_goes_before_its_states_were_read_keeps_what_was_handed_over() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    world.follow_takes.store(10_000, Ordering::SeqCst);
    world.log.revoke(topics::WORKER, &partitions(0));
    tokio::time::sleep(50 * MS).await;
    let handed_over = state_of(&world, dead).unwrap();
    assert_ne!(handed_over.nonce, 0);
    world.log.assign(topics::WORKER, &partitions(0));
    tokio::time::sleep(50 * MS).await;
    let second = Second::start(&world).await;
    world.log.revoke(topics::WORKER, &partitions(0));
    world.publish(&[dead; 4]).await;
    tokio::time::sleep(100 * MS).await;
    assert_eq!(state_of(&world, dead), Some(handed_over));
    assert_eq!(second.sender.sent(), 0, "the breaker was forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_hands_everything_over() {
    let mut world = cautious();
    let dead = opened(&mut world).await;
    let second = Second::start(&world).await;
    world.stop().await.unwrap();
    let state = state_of(&world, dead).unwrap();
    assert_ne!(state.nonce, 0);
    let nonce = format!("{:016x}:", state.nonce);
    for at in partitions(0) {
        let committed = world.log.committed_at(topics::WORKER, at);
        assert!(committed.metadata.starts_with(&nonce), "{committed:?}");
    }
    // Of what nothing is known, that much is handed over too.
    let committed = world.log.committed_at(topics::WORKER, partitions(1)[0]);
    assert!(committed.metadata.contains(':'), "{committed:?}");
    assert_eq!(second.sender.sent(), 0);
}
