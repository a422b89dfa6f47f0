//! No endpoint delays another.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_model::{EndpointId, EndpointPolicy};

use crate::world::{self, Does, MS, S, World};

/// Sends an event to each of nine healthy endpoints and the bad one, `times` times at `every`, and asserts that no attempt
/// to a healthy one began later than `within` after its event.
async fn neighbours_are_not_delayed(
    does: Does,
    policy: EndpointPolicy,
    times: u32,
    every: Duration,
) {
    let mut world = World::new();
    let bad = world.endpoint_with(0, does, policy);
    let good: Vec<EndpointId> = (1..10)
        .map(|n| world.endpoint(n, Does::Answer(200)))
        .collect();
    let all: Vec<EndpointId> = good.iter().copied().chain([bad]).collect();
    world.start();
    let mut published = Vec::new();
    for _ in 0..times {
        let at = tokio::time::Instant::now();
        world.publish(&all).await;
        published.push(at);
        tokio::time::sleep(every).await;
    }
    let expected = published.len();
    world
        .until(S, "all healthy endpoints have everything", |world| {
            good.iter().all(|id| world.sent_to_count(*id) == expected)
        })
        .await;
    for id in &good {
        for (sent, published) in world.sender.sent_to(*id).iter().zip(&published) {
            let delay = sent.at - *published;
            assert!(
                delay <= 10 * MS,
                "an attempt began {delay:?} after its event"
            );
        }
    }
}

impl World {
    fn sent_to_count(&self, id: EndpointId) -> usize {
        self.sender.sent_to(id).len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_endpoint_does_not_delay_its_neighbours() {
    neighbours_are_not_delayed(Does::Hang, EndpointPolicy::default(), 1_000, 20 * MS).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_does_not_delay_its_neighbours() {
    neighbours_are_not_delayed(Does::Dead, EndpointPolicy::default(), 1_000, 20 * MS).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_does_not_delay_its_neighbours() {
    neighbours_are_not_delayed(Does::Slow(7 * S), EndpointPolicy::default(), 1_000, 20 * MS).await;
}

#[tokio::test(start_paused = true)]
async fn a_limited_endpoint_does_not_delay_its_neighbours() {
    let policy = EndpointPolicy {
        rate_limit: Some(2),
        ..EndpointPolicy::default()
    };
    neighbours_are_not_delayed(Does::Answer(200), policy, 1_000, 20 * MS).await;
}

#[tokio::test(start_paused = true)]
async fn a_limited_endpoint_gets_no_more_than_its_limit_in_any_second() {
    let mut world = World::new();
    let policy = EndpointPolicy {
        rate_limit: Some(5),
        ..EndpointPolicy::default()
    };
    let id = world.endpoint_with(0, Does::Answer(200), policy);
    world.start();
    world.publish(&[id; 100]).await;
    world
        .until(120 * S, "all sent", |world| world.sent_to_count(id) == 100)
        .await;
    let sent = world.sender.sent_to(id);
    assert!(sent.windows(6).all(|six| six[5].at - six[0].at >= S));
    let took = sent[99].at - sent[0].at;
    assert!(took <= 40 * S, "{took:?}: the slots are used");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_sets_no_limit_has_its_applications_and_a_change_of_that_reaches_it() {
    let mut world = World::new();
    *world.endpoints.rate_limit.lock().unwrap() = Some(5);
    let id = world.endpoint(0, Does::Answer(200));
    let own = EndpointPolicy {
        rate_limit: Some(50),
        ..EndpointPolicy::default()
    };
    let other = world.endpoint_with(1, Does::Answer(200), own);
    world.start();
    world.publish(&[id; 15]).await;
    world.publish(&[other; 15]).await;
    world
        .until(1100 * MS, "the other goes by its own limit", |world| {
            world.sent_to_count(other) == 15
        })
        .await;
    world
        .until(10 * S, "all sent", |world| world.sent_to_count(id) == 15)
        .await;
    let sent = world.sender.sent_to(id);
    assert!(sent.windows(6).all(|six| six[5].at - six[0].at >= S));

    *world.endpoints.rate_limit.lock().unwrap() = None;
    world.publish(&[id; 100]).await;
    world
        .until(S, "no limit any more", |world| {
            world.sent_to_count(id) == 115
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn new_limits_reach_what_is_queued_without_another_delivery() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Slow(100 * MS));
    world.start();
    world.publish(&[id; 400]).await;
    world
        .until(S, "some are sent", |world| world.sent_to_count(id) >= 20)
        .await;
    let policy = EndpointPolicy {
        rate_limit: Some(5),
        ..EndpointPolicy::default()
    };
    world.put(world::endpoint(0, policy));
    let before = world.sent_to_count(id);
    tokio::time::sleep(10 * S).await;
    let sent = world.sender.sent_to(id);
    assert!((40..=50).contains(&(sent.len() - before)));
    assert!(
        sent[before..]
            .windows(6)
            .all(|six| six[5].at - six[0].at >= S)
    );

    let policy = EndpointPolicy {
        max_in_flight: Some(1),
        ..EndpointPolicy::default()
    };
    world.put(world::endpoint(0, policy));
    tokio::time::sleep(2 * S).await;
    let sent = world.sender.sent_to(id);
    let one_by_one = |pair: &[world::Sent]| pair[1].at - pair[0].at >= 100 * MS;
    assert!(sent[sent.len() - 8..].windows(2).all(one_by_one));
    assert!(sent.len() < 400);
}

#[tokio::test(start_paused = true)]
async fn a_full_lane_whose_breaker_opens_does_not_delay_its_neighbours_until_it_is_written() {
    let mut world = World::new();
    world.commit_takes = 200 * MS;
    let bad = world.endpoint(0, Does::Hang);
    let good = world.endpoint(1, Does::Answer(200));
    world.start();
    world.publish(&[bad; 18_000]).await;
    world
        .until(10 * S, "the lane is full", |world| {
            world.metrics.waiting.get() > 17_000
        })
        .await;
    let mut sent = 0;
    let mut shed_at = None;
    // Two seconds beyond the moment at which the breaker opens, in which what was in the lane is written.
    while shed_at.is_none_or(|at: tokio::time::Instant| at.elapsed() < 2 * S) {
        world.publish(&[good]).await;
        sent += 1;
        world
            .until(20 * MS, "the neighbour is not delayed", |world| {
                world.sent_to_count(good) == sent
            })
            .await;
        tokio::time::sleep(20 * MS).await;
        if shed_at.is_none() && world.metrics.open_breakers.get() == 1 {
            shed_at = Some(tokio::time::Instant::now());
        }
    }
    assert!(world.parked().len() > 14_000);
}

#[tokio::test(start_paused = true)]
async fn where_sockets_are_short_every_endpoint_gets_its_turn() {
    let mut world = World::new();
    world.options.in_flight = 8;
    let ids: Vec<_> = (0..10)
        .map(|n| world.endpoint(n, Does::Answer(200)))
        .collect();
    world.start();
    for id in &ids {
        world.publish(&vec![*id; 1_000]).await;
    }
    world
        .until(60 * S, "half is sent", |world| world.sender.sent() >= 5_000)
        .await;
    let sent: Vec<_> = ids
        .iter()
        .map(|id| world.sender.sent_to(*id).len())
        .collect();
    assert!(
        sent.iter().all(|sent| (400..=600).contains(sent)),
        "of 1,000 to each: {sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_answers_soon_has_all_its_connections() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Slow(10 * MS));
    world.start();
    world.publish(&vec![id; 5_000]).await;
    world
        .until(3 * S, "all sent", |world| world.sent_to_count(id) == 5_000)
        .await;
    assert_eq!(world.sender.most_in_flight.load(Ordering::SeqCst), 64);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_hang_by_the_thousand_leave_sockets_to_one_that_answers() {
    let (mut world, good, hanging) = a_good_one_and_thousands(Does::Hang).await;
    a_good_one_is_not_delayed_by_them(&mut world, good, &hanging).await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_answered_and_begin_to_hang_by_the_thousand_leave_sockets_to_one_that_answers()
 {
    let (mut world, good, hanging) = a_good_one_and_thousands(Does::Answer(200)).await;
    for id in &hanging {
        world.publish(&[*id]).await;
    }
    let all = hanging.len() + 1;
    world
        .until(60 * S, "all have answered", |world| {
            world.sender.sent() == all
        })
        .await;
    tokio::time::sleep(3 * S).await;
    for id in &hanging {
        world.sender.set(*id, Does::Hang);
    }
    world.publish(&[good]).await;
    world
        .until(S, "the good one answers as before", |world| {
            world.sent_to_count(good) == 2
        })
        .await;
    a_good_one_is_not_delayed_by_them(&mut world, good, &hanging).await;
}

/// A hundred sockets, one endpoint that has answered, and two thousand.
async fn a_good_one_and_thousands(does: Does) -> (World, EndpointId, Vec<EndpointId>) {
    let mut world = World::new();
    world.options.in_flight = 100;
    let good = world.endpoint(0, Does::Answer(200));
    let thousands = (1..=2_000).map(|n| world.endpoint(n, does.clone()));
    let thousands = thousands.collect();
    world.start();
    world.publish(&[good]).await;
    world
        .until(S, "the healthy one is known", |world| {
            world.sent_to_count(good) == 1
        })
        .await;
    (world, good, thousands)
}

async fn a_good_one_is_not_delayed_by_them(
    world: &mut World,
    good: EndpointId,
    hanging: &[EndpointId],
) {
    let before = world.sent_to_count(good);
    for n in 1..200 {
        let part = hanging.chunks(20).nth(n % 100).unwrap();
        world.publish(part).await;
        world.publish(&[good]).await;
        world
            .until(50 * MS, "the healthy one is not delayed", |world| {
                world.sent_to_count(good) == before + n
            })
            .await;
    }
    assert!(world.sender.most_in_flight.load(Ordering::SeqCst) <= 100);
}

/// A region that is lost: none of these has an attempt that has ended, so nothing is known of it yet.
#[tokio::test(start_paused = true)]
async fn busy_endpoints_that_begin_to_hang_in_one_moment_leave_sockets_to_one_that_answers() {
    let mut world = World::new();
    world.options.lane.first_in_flight = world.options.lane.max_in_flight;
    let good = world.endpoint(0, Does::Answer(200));
    let lost: Vec<EndpointId> = (1..=40)
        .map(|n| world.endpoint(n, Does::Answer(200)))
        .collect();
    world.start();
    let all: Vec<EndpointId> = lost.iter().copied().chain([good]).collect();
    for n in 1..=200 {
        world.publish(&all).await;
        world
            .until(S, "all answer", |world| world.sender.sent() == 41 * n)
            .await;
    }
    for id in &lost {
        world.sender.set(*id, Does::Hang);
    }
    for id in &lost {
        world.publish(&vec![*id; 100]).await;
    }
    for n in 201..400 {
        world.publish(&[good]).await;
        world
            .until(50 * MS, "the healthy one is not delayed", |world| {
                world.sent_to_count(good) == n
            })
            .await;
        tokio::time::sleep(50 * MS).await;
    }
    let most = world.sender.most_in_flight.load(Ordering::SeqCst);
    assert!(most > 1_000, "{most} at once: were there enough?");
}
