//! What an endpoint cannot take now waits in the log, costs no attempt, and comes back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_delivery::ParkReason;
use postrider_model::{
    BreakerState, Clock as _, DeadLetter, DeathReason, EndpointId, EndpointPolicy, EndpointState,
    topics,
};
use tokio::time::Instant;

use crate::world::{Does, MS, S, Sent, World};

pub(crate) fn open_state(world: &World) -> Option<EndpointState> {
    let records = world.log.records(topics::ENDPOINT_STATE);
    records
        .last()
        .and_then(|record| EndpointState::decode(&record.value).ok())
        .filter(|_| !records.is_empty())
}

/// When the open breaker of the one dead endpoint lets its next attempt through, as it is told; that lies ahead.
pub(crate) async fn probe_at(world: &World) -> Instant {
    let ahead = |world: &World| {
        let state = open_state(world).filter(|state| state.breaker == BreakerState::Open);
        let at = state?.probe_at?.since(world.clock.now());
        (at > MS).then_some(at)
    };
    world
        .until(400 * S, "it waits", |world| ahead(world).is_some())
        .await;
    Instant::now() + ahead(world).unwrap()
}

/// Holds what was sent after an endpoint had recovered to its breaker: one not before its time, and the others once that one
/// was answered, which takes a millisecond.
pub(crate) fn assert_probed_first(sent: &[Sent], probe_at: Instant) {
    let [first, second, ..] = sent else {
        panic!("less than two were sent");
    };
    // The state tells whole milliseconds.
    assert!(first.at + MS >= probe_at, "the breaker's wait was not over");
    assert!(second.at >= first.at + MS, "it did not wait for the probe");
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_is_probed_by_one_attempt_at_a_time_and_the_rest_waits_in_the_log() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 2_000]).await;
    world
        .until(2 * S, "all parked", |world| world.parked().len() >= 1_990)
        .await;
    let before = world.sender.sent();
    assert!(before <= 8, "{before} attempts until the breaker opened");
    tokio::time::sleep(60 * S).await;
    // Probes after 2, 4, 8, 16 and 32 s, with jitter.
    let probes = world.sender.sent() - before;
    assert!((3..=5).contains(&probes), "{probes} probes in a minute");
    assert_eq!(open_state(&world).unwrap().breaker, BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_recovers_gets_its_backlog_and_nothing_twice() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 500]).await;
    world
        .until(5 * S, "parked", |world| world.parked().len() >= 490)
        .await;
    let (probe_at, failed) = (probe_at(&world).await, world.sender.sent());
    world.sender.set(id, Does::Answer(200));
    world
        .until(400 * S, "all delivered", |world| {
            world
                .attempts()
                .iter()
                .filter(|attempt| attempt.outcome.is_success())
                .count()
                == 500
        })
        .await;
    world.until(20 * S, "finished", World::is_finished).await;
    tokio::time::sleep(60 * S).await;
    let succeeded = world
        .attempts()
        .into_iter()
        .filter(|attempt| attempt.outcome.is_success())
        .count();
    assert_eq!(succeeded, 500);
    assert_probed_first(&world.sender.sent_to(id)[failed..], probe_at);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_of_a_limited_endpoint_that_recovers_goes_out_at_its_limit_and_no_sooner() {
    let mut world = World::new();
    let policy = EndpointPolicy {
        rate_limit: Some(10),
        ..EndpointPolicy::default()
    };
    let id = world.endpoint_with(0, Does::Dead, policy);
    world.start();
    world.publish(&vec![id; 300]).await;
    world
        .until(5 * S, "parked", |world| world.parked().len() >= 290)
        .await;
    let (probe_at, failed) = (probe_at(&world).await, world.sender.sent());
    world.sender.set(id, Does::Answer(200));
    world
        .until(150 * S, "all delivered", |world| {
            world.sender.sent() == failed + 300
        })
        .await;
    let sent = &world.sender.sent_to(id)[failed..];
    assert_probed_first(sent, probe_at);
    let spans = sent.windows(11).map(|eleven| eleven[10].at - eleven[0].at);
    assert!(spans.min().unwrap() >= S, "more than ten in a second");
}

#[tokio::test(start_paused = true)]
async fn after_the_backlog_nothing_is_kept_of_an_endpoint_that_recovered() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 50]).await;
    world
        .until(5 * S, "the state is published", |world| {
            open_state(world).is_some()
        })
        .await;
    world.sender.set(id, Does::Answer(200));
    let forgotten = |world: &World| {
        let records = world.log.records(topics::ENDPOINT_STATE);
        records.last().is_some_and(|record| record.value.is_empty())
    };
    world
        .until(1_000 * S, "the state is withdrawn", forgotten)
        .await;
}

#[tokio::test(start_paused = true)]
async fn parked_deliveries_of_a_limited_endpoint_come_back_in_their_slots() {
    let mut world = World::new();
    let policy = EndpointPolicy {
        rate_limit: Some(10),
        ..EndpointPolicy::default()
    };
    let id = world.endpoint_with(0, Does::Answer(200), policy);
    world.start();
    world.publish(&vec![id; 1_000]).await;
    let began = Instant::now();
    world
        .until(200 * S, "all sent", |world| world.sender.sent() == 1_000)
        .await;
    let took = began.elapsed();
    assert!(took >= 99 * S && took <= 125 * S, "{took:?}");
    let sent = world.sender.sent_to(id);
    assert!(
        sent.windows(11)
            .all(|eleven| eleven[10].at - eleven[0].at >= S)
    );
}

#[tokio::test(start_paused = true)]
async fn a_limited_backlog_does_not_hold_up_the_retry_of_another() {
    let mut world = World::new();
    let limited = EndpointPolicy {
        rate_limit: Some(10),
        ..EndpointPolicy::default()
    };
    let first = world.endpoint_with(0, Does::Answer(200), limited);
    let failing = EndpointPolicy {
        schedule: Some("0s,5s".parse().unwrap()),
        ..EndpointPolicy::default()
    };
    let second = world.endpoint_with(1, Does::Script([500].into()), failing);
    world.start();
    world.publish(&vec![first; 20_000]).await;
    world.publish(&[second]).await;
    world
        .until(7 * S, "retried", |world| {
            world.sender.sent_to(second).len() == 2
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn more_parked_bytes_than_may_be_become_dead_letters() {
    let mut world = World::new();
    world.options.lane.parked_bytes = 100_000;
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 2_000]).await;
    let overflown = |world: &World| {
        world
            .dead_letters()
            .iter()
            .filter(|dead| dead.reason == DeathReason::ParkedOverflow)
            .count()
    };
    world
        .until(10 * S, "overflown", |world| overflown(world) > 1_000)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_it_is_parked_does_not_count_for_ever() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Dead);
    let delivery = world.delivery(id);
    world.options.lane.parked_bytes = 500 * delivery.weight() as u64;
    world.start();
    for _ in 0..150 {
        let mut deliveries: Vec<_> = (0..20).map(|_| world.delivery(id)).collect();
        for delivery in &mut deliveries {
            delivery.deadline = delivery.accepted_at.plus(40 * S);
        }
        world.write(&deliveries).await;
        tokio::time::sleep(60 * S).await;
    }
    world
        .until(3_600 * S, "all expired", |world| {
            world.dead_letters().len() >= 3_000
        })
        .await;
    let dead = world.dead_letters();
    let overflown = |dead: &&DeadLetter| dead.reason == DeathReason::ParkedOverflow;
    assert_eq!(dead.iter().filter(overflown).count(), 0);
    let forgotten = |world: &World| open_state(world).is_none_or(|state| state.parked == 0);
    world
        .until(3_600 * S, "nothing is counted any more", forgotten)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_put_aside_while_the_store_is_down_is_counted_until_it_is_back() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Answer(200));
    world.endpoints.known.lock().unwrap().clear();
    world.endpoints.down.store(true, Ordering::SeqCst);
    world.start();
    world.publish(&[id; 10]).await;
    let counted = |world: &World, count| {
        open_state(world)
            .is_some_and(|state| (state.parked, state.parked_bytes > 0) == (count, true))
    };
    world
        .until(4 * S, "counted", |world| counted(world, 10))
        .await;
    world.endpoints.down.store(false, Ordering::SeqCst);
    let withdrawn = |world: &World| {
        let records = world.log.records(topics::ENDPOINT_STATE);
        records.last().is_some_and(|record| record.value.is_empty())
    };
    world
        .until(60 * S, "nothing is counted any more", withdrawn)
        .await;
    assert_eq!(world.sender.sent(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_deleted_leaves_nothing_behind_and_its_backlog_becomes_dead_letters() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Dead);
    world.start();
    world.publish(&vec![id; 500]).await;
    world
        .until(5 * S, "parked", |world| world.parked().len() >= 490)
        .await;
    world
        .until(5 * S, "told", |world| open_state(world).is_some())
        .await;
    world.endpoints.store.lock().unwrap().clear();
    world.endpoints.known.lock().unwrap().clear();
    world
        .until(60 * S, "all dead letters", |world| {
            world.dead_letters().len() == 500
        })
        .await;
    let gone = |dead: &DeadLetter| dead.reason == DeathReason::EndpointGone;
    assert!(world.dead_letters().iter().all(gone));
    world
        .until(60 * S, "forgotten", |world| {
            let told = world.log.records(topics::ENDPOINT_STATE);
            told.last().is_some_and(|record| record.value.is_empty())
                && world.metrics.open_breakers.get() == 0
                && world.metrics.lanes.get() == 0
        })
        .await;
}

/// Four endpoints that answer after `time`, twice as often as there are sockets for when all are wanted, and then more
/// for them than memory holds.
async fn burst(time: Duration, deliveries: usize) -> World {
    let mut world = World::new();
    world.options.memory = 2 << 20;
    world.options.in_flight = 8;
    world.options.timeout = 60 * S;
    let ids: Vec<_> = (0..4)
        .map(|n| world.endpoint(n, Does::Slow(time)))
        .collect();
    world.start();
    for _ in 0..800 {
        world.publish(&ids).await;
    }
    tokio::time::sleep(time * 350).await;
    for _ in 0..deliveries / 4 {
        world.publish(&ids).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_only_our_sockets_hold_up_is_not_parked_but_read_as_it_is_sent() {
    let world = burst(2 * MS, 16_000).await;
    let mut most_held = 0;
    while !world.is_finished() {
        tokio::time::sleep(MS).await;
        most_held = most_held.max(world.metrics.held.get());
    }
    assert_eq!(world.sender.sent(), 19_200);
    assert_eq!(world.parked(), []);
    assert_eq!(world.metrics.parked.of(ParkReason::Memory).get(), 0);
    // Over three quarters, from where on the longest lanes are parked otherwise.
    assert!((3 << 19..3 << 20).contains(&most_held), "{most_held}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_goes_on_is_parked_so_that_others_are_read() {
    // Twenty seconds of work.
    let mut world = burst(2 * MS, 80_000).await;
    let other = world.endpoint(9, Does::Answer(200));
    world.publish(&[other]).await;
    world
        .until(15 * S, "the other is reached", |world| {
            !world.sender.sent_to(other).is_empty()
        })
        .await;
    assert!(world.sender.sent() < 70_000);
}

#[tokio::test(start_paused = true)]
async fn a_burst_for_slow_endpoints_is_parked_so_that_others_are_read() {
    let mut world = burst(S, 16_000).await;
    let quick = world.endpoint(9, Does::Answer(200));
    world.publish(&[quick]).await;
    world
        .until(20 * S, "the quick one is reached", |world| {
            !world.sender.sent_to(quick).is_empty()
        })
        .await;
    assert!(world.metrics.parked.of(ParkReason::Memory).get() > 1_000);
}

#[tokio::test(start_paused = true)]
async fn memory_stays_bounded_when_everything_hangs() {
    let mut world = World::new();
    world.options.memory = 1 << 20;
    let ids: Vec<_> = (0..4).map(|n| world.endpoint(n, Does::Hang)).collect();
    world.start();
    for _ in 0..200 {
        let to: Vec<_> = (0..100).map(|n| ids[n % 4]).collect();
        world.publish(&to).await;
        tokio::time::sleep(50 * MS).await;
        // One batch may come in on top before reading pauses.
        let held = world.metrics.held.get();
        assert!(held <= 2 << 20, "{held} bytes are held");
    }
    assert!(world.parked().len() > 10_000);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_budget_of_unfinished_records_what_is_read_is_parked() {
    let mut world = World::new();
    world.options.unfinished = 50;
    let [hanging, good] = [0, 1].map(|n| {
        world.endpoint(
            n,
            if n == 0 {
                Does::Hang
            } else {
                Does::Answer(200)
            },
        )
    });
    world.start();
    world.publish(&vec![hanging; 100]).await;
    world
        .until(S, "parked", |world| world.parked().len() >= 40)
        .await;
    world.publish(&[good]).await;
    let delivered = |world: &World| !world.sender.sent_to(good).is_empty();
    world
        .until(S, "the neighbour is not delayed", delivered)
        .await;
}

/// So many lanes of endpoints that hang, with `each` deliveries; the log's first commit takes longer than the test. Then one
/// after another is read for another, so that memory is looked after again and again.
async fn short_while_a_commit_is_slow(mut world: World, lanes: u64, each: u64) -> World {
    world.commit_takes = 60 * S;
    world.options.timeout = 120 * S;
    let ids: Vec<_> = (0..lanes).map(|n| world.endpoint(n, Does::Hang)).collect();
    let other = world.endpoint(lanes, Does::Hang);
    world.start();
    for _ in 0..each {
        world.publish(&ids).await;
    }
    for _ in 0..200 {
        world.publish(&[other]).await;
        tokio::time::sleep(20 * MS).await;
    }
    assert_eq!(world.parked(), [], "the commit is through");
    world
}

#[tokio::test(start_paused = true)]
async fn while_a_commit_is_slow_nothing_is_parked_for_memory_that_comes_free_with_it() {
    let mut world = World::new();
    world.options.memory = 1 << 20;
    let weight = world.delivery(EndpointId::derive(&[])).weight() as u64;
    let memory = world.options.memory as u64;
    let each = memory * 7 / 8 / 16 / weight;
    let world = short_while_a_commit_is_slow(world, 16, each).await;
    // From three quarters down to five eighths, and once or twice again as the rest comes in.
    let parked = world.metrics.parked.of(ParkReason::Memory).get() * weight;
    let some = memory / 8..memory / 2;
    assert!(some.contains(&parked), "{parked} bytes of {memory}");
}

#[tokio::test(start_paused = true)]
async fn while_a_commit_is_slow_nothing_is_parked_for_records_that_are_finished_with_it() {
    let mut world = World::new();
    world.options.unfinished = 800;
    let world = short_while_a_commit_is_slow(world, 16, 60).await;
    // 360 above the budget with what is read for another, and up to three times a hundred to spare.
    let parked = world.metrics.parked.of(ParkReason::Budget).get();
    assert!((360..720).contains(&parked), "{parked} are parked");
}
