use std::sync::Arc;

use bytes::Bytes;
use postrider_model::{
    AppId, Class, Delivery, Event, EventId, EventOrigin, Partition, Position, TopicPartition,
    topics,
};
use proptest::prelude::*;

use super::*;
use crate::ParkReason;

#[path = "lane_limit_tests.rs"]
mod limit;
#[path = "lane_pace_tests.rs"]
mod pace;

const S: Duration = Duration::from_secs(1);

fn delivery(n: u64, now: Now) -> Delivery {
    let event = Event {
        id: EventId::derive(&[&n.to_be_bytes()]),
        app_id: AppId::from_bytes([1; 16]),
        event_type: "a.b".parse().unwrap(),
        channels: Vec::new(),
        content_type: "application/json".to_owned(),
        payload: Bytes::from_static(b"{}"),
        accepted_at: now.wall,
        uid: None,
        trace: None,
        origin: EventOrigin::Accepted,
    };
    let at: (Partition, Position) = (0, n);
    let deadline = now.wall.plus(S * 3600);
    Delivery::of_event(
        &event,
        at,
        EndpointId::from_bytes([2; 16]),
        1,
        Class::Normal,
        deadline,
    )
}

fn waiting_with(n: u64, delivery: Delivery) -> Waiting {
    Waiting {
        at: TopicPartition {
            topic: topics::DELIVERIES_NORMAL,
            partition: 0,
        },
        position: n,
        delivery: Arc::new(delivery),
        read_at: Instant::now(),
        prompt: false,
    }
}

fn waiting(n: u64, now: Now) -> Waiting {
    waiting_with(n, delivery(n, now))
}

/// Parks everything that waits, and counts it.
fn shed(lane: &mut Lane, reason: ParkReason, limits: &LaneLimits, now: Now) -> Vec<Offered> {
    let all = lane.take_all().into_iter();
    all.map(|waiting| {
        let offered = lane.put_aside(waiting, reason, limits, now);
        count(lane, &offered, now);
        offered
    })
    .collect()
}

/// Tells the lane what was parked of it.
fn count(lane: &mut Lane, offered: &Offered, now: Now) {
    if let Offered::Park(waiting, until, _) = offered {
        let delivery = &waiting.delivery;
        lane.parked(delivery.weight(), delivery.deadline, *until, now);
    }
}

/// Offers what came back, or is new, as the dispatcher does.
fn arrive(lane: &mut Lane, waiting: Waiting, limits: &LaneLimits, now: Now) -> Offered {
    if waiting.delivery.parked_since.is_some() {
        lane.came_back(&waiting.delivery);
    }
    let offered = lane.offer(waiting, limits, now);
    count(lane, &offered, now);
    offered
}

fn limited(rate: u32) -> Terms {
    Terms {
        rate: Some(rate),
        max_in_flight: 64,
        version: 1,
    }
}

/// Everything that starts now.
fn start_all(lane: &mut Lane, now: Now) -> Vec<u64> {
    let mut started = Vec::new();
    while let Next::Start(waiting, probe) = lane.poll(now.instant, u32::MAX) {
        lane.started(probe, now.instant);
        started.push(waiting.position);
    }
    started
}

fn fail(lane: &mut Lane, limits: &LaneLimits, times: u32, now: Now) -> bool {
    (0..times).any(|_| {
        lane.ended(
            Outcome::Refused,
            false,
            now.instant,
            &limits.breaker,
            now,
            0.0,
        )
    })
}

fn parked(offered: &Offered) -> Option<(Timestamp, ParkReason)> {
    match offered {
        Offered::Park(_, until, reason) => Some((*until, *reason)),
        Offered::Accepted | Offered::Overflow(_) => None,
    }
}

#[test]
fn a_retry_that_is_not_due_does_not_block_what_is_ready() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    let retry = delivery(1, now).retry_at(now.wall, now.wall.plus(S));
    assert!(matches!(
        lane.offer(waiting_with(1, retry), &limits, now),
        Offered::Accepted
    ));
    assert!(matches!(
        lane.offer(waiting(2, now), &limits, now),
        Offered::Accepted
    ));
    assert_eq!(start_all(&mut lane, now), [2]);
    assert!(matches!(lane.poll(now.instant, 9), Next::At(at) if at == now.instant + S));
    assert_eq!(start_all(&mut lane, now.plus(S)), [1]);
}

#[test]
fn what_is_due_later_than_a_few_seconds_is_parked_until_then() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    let due = now.wall.plus(60 * S);
    let offered = lane.offer(
        waiting_with(1, delivery(1, now).retry_at(now.wall, due)),
        &limits,
        now,
    );
    assert_eq!(parked(&offered), Some((due, ParkReason::NotDue)));
}

/// A retry that a pump let out just before the clock was set back.
#[test]
fn what_meets_a_lane_after_the_clock_was_set_back_waits_no_longer_than_it_was_to() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    let back = Now {
        instant: now.instant + 5 * S,
        wall: now.wall.minus(3600 * S),
    };
    let retry = |n, wait: Duration| {
        let retry = delivery(n, now).retry_at(now.wall, now.wall.plus(wait));
        waiting_with(n, retry)
    };
    let offered = arrive(&mut lane, retry(1, 60 * S), &limits, back);
    let (until, reason) = parked(&offered).unwrap();
    assert_eq!(
        (until.since(back.wall), reason),
        (60 * S, ParkReason::NotDue)
    );
    let Offered::Park(waiting, ..) = offered else {
        panic!("not parked");
    };
    let aside = Arc::unwrap_or_clone(waiting.delivery).parked_until(back.wall, until);
    assert_eq!(aside.wait(back.wall), 60 * S);
    assert_eq!(aside.wait(back.plus(40 * S).wall), 20 * S);
    let offered = arrive(&mut lane, retry(2, 2 * S), &limits, back);
    assert!(matches!(offered, Offered::Accepted));
    assert!(start_all(&mut lane, back).is_empty());
    assert_eq!(start_all(&mut lane, back.plus(2 * S)), [2]);
}

#[test]
fn a_state_that_was_told_before_the_clock_was_set_back_holds_its_endpoint_up_no_longer() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    assert!(fail(&mut lane, &limits, 5, now));
    let owner = Owner {
        epoch: 1,
        partition: 0,
        nonce: 0,
    };
    let id = EndpointId::from_bytes([2; 16]);
    let state = lane.state(id, owner, now).unwrap();
    let wait = state.probe_at.unwrap().since(now.wall);
    let back = Now {
        wall: now.wall.minus(3600 * S),
        ..now
    };
    let restored = Lane::restore(&state, &limits, back);
    let probe_at = restored.breaker.probe_at().unwrap();
    assert_eq!(probe_at, now.instant + wait);
}

#[test]
fn a_full_lane_parks_by_count_and_by_bytes() {
    let now = Now::some();
    for limits in [
        LaneLimits {
            deliveries: 10,
            ..LaneLimits::default()
        },
        LaneLimits {
            bytes: 10 * delivery(0, now).weight(),
            ..LaneLimits::default()
        },
    ] {
        let mut lane = Lane::new(&limits);
        for n in 0..10 {
            assert!(matches!(
                lane.offer(waiting(n, now), &limits, now),
                Offered::Accepted
            ));
        }
        let offered = lane.offer(waiting(10, now), &limits, now);
        let (until, reason) = parked(&offered).unwrap();
        assert!(reason == ParkReason::Full && until > now.wall);
    }
}

#[test]
fn attempts_in_flight_are_bounded_and_grow_with_success() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    for n in 0..100 {
        lane.offer(waiting(n, now), &limits, now);
    }
    assert_eq!(start_all(&mut lane, now).len(), 4);
    lane.ended(
        Outcome::Succeeded,
        false,
        now.instant,
        &limits.breaker,
        now,
        0.0,
    );
    assert_eq!(start_all(&mut lane, now).len(), 2);
    assert!(matches!(lane.poll(now.instant, 1), Next::Idle));
}

#[test]
fn an_open_breaker_parks_all_and_the_first_of_them_comes_back_as_the_probe() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    (0..20).for_each(|n| drop(lane.offer(waiting(n, now), &limits, now)));
    assert_eq!(start_all(&mut lane, now).len(), 4);
    assert!(fail(&mut lane, &limits, 5, now));
    let shed = shed(&mut lane, ParkReason::BreakerOpen, &limits, now);
    let until: Vec<_> = shed
        .iter()
        .filter_map(parked)
        .map(|(until, _)| until)
        .collect();
    let probe_at = now.wall.plus(limits.breaker.first_wait);
    assert_eq!((until.len(), until[0], lane.queued()), (16, probe_at, 0));
    assert!(until[1..].iter().all(|until| *until >= probe_at.plus(S)));

    let due = now.plus(limits.breaker.first_wait);
    for n in 0..3 {
        let back = delivery(n, now).parked_until(now.wall, due.wall);
        assert!(matches!(
            lane.offer(waiting_with(n, back), &limits, due),
            Offered::Accepted
        ));
    }
    assert_eq!(start_all(&mut lane, due), [0], "one probe, whatever waits");
    lane.ended(
        Outcome::Succeeded,
        true,
        due.instant,
        &limits.breaker,
        due,
        0.0,
    );
    assert_eq!(start_all(&mut lane, due), [1, 2]);
}

#[test]
fn few_wait_for_the_answer_of_a_probe() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    fail(&mut lane, &limits, 5, now);
    let due = now.plus(limits.breaker.first_wait);
    let accepted = (0..1000).filter(|n| {
        matches!(
            lane.offer(waiting(*n, due), &limits, due),
            Offered::Accepted
        )
    });
    assert_eq!(accepted.count(), limits.behind_probe);
}

#[test]
fn past_the_cap_what_comes_round_overflows_and_newcomers_do_past_twice_the_cap() {
    let now = Now::some();
    let weight = delivery(0, now).weight() as u64;
    let limits = LaneLimits {
        parked_bytes: 10 * weight,
        ..LaneLimits::default()
    };
    let mut lane = Lane::new(&limits);
    fail(&mut lane, &limits, 5, now);
    let overflows = |lane: &mut Lane, waiting| {
        matches!(arrive(lane, waiting, &limits, now), Offered::Overflow(_))
    };
    let first = (0..100).find(|n| overflows(&mut lane, waiting(*n, now)));
    assert_eq!(first, Some(20), "newcomers are parked up to twice the cap");
    let came_round = |n| waiting_with(n, delivery(n, now).parked_until(now.wall, now.wall));
    let died = (0..20)
        .filter(|n| overflows(&mut lane, came_round(*n)))
        .count();
    assert_eq!(
        died, 10,
        "the oldest die until what is parked is within the cap"
    );
}

#[test]
fn what_expired_while_parked_makes_room_though_the_breaker_stays_open() {
    let now = Now::some();
    let limits = LaneLimits {
        parked_bytes: 10 * delivery(0, now).weight() as u64,
        ..LaneLimits::default()
    };
    let mut lane = Lane::new(&limits);
    fail(&mut lane, &limits, 5, now);
    let first = (0..100).find(|n| {
        let offered = arrive(&mut lane, waiting(*n, now), &limits, now);
        matches!(offered, Offered::Overflow(_))
    });
    assert_eq!(first, Some(20));
    let later = now.plus(2 * 3600 * S);
    fail(&mut lane, &limits, 5, later);
    assert!(lane.forget_parked(later));
    for n in 100..110 {
        let due = later.wall.plus(3600 * S);
        let again = delivery(n, later).parked_until(later.wall, due);
        let offered = arrive(&mut lane, waiting_with(n, again), &limits, later);
        assert!(matches!(offered, Offered::Park(..)));
    }
}

#[test]
fn our_own_fault_is_charged_to_nobody() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    for _ in 0..100 {
        assert!(!lane.ended(
            Outcome::OwnFault,
            false,
            now.instant,
            &limits.breaker,
            now,
            0.0
        ));
        assert!(!lane.ended(
            Outcome::Forbidden,
            false,
            now.instant,
            &limits.breaker,
            now,
            0.0
        ));
    }
    assert!(!lane.is_worth_publishing());
}

#[test]
fn a_lane_that_knows_nothing_is_forgettable_and_one_that_does_is_restored_from_its_state() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let id = EndpointId::from_bytes([2; 16]);
    let mut lane = Lane::new(&limits);
    assert!(lane.is_forgettable(now.instant) && lane.state(id, Owner::default(), now).is_none());
    fail(&mut lane, &limits, 5, now);
    arrive(&mut lane, waiting(1, now), &limits, now);
    arrive(&mut lane, waiting(2, now), &limits, now);
    assert!(!lane.is_forgettable(now.instant + 3600 * S));
    let state = lane.state(id, Owner::default(), now).unwrap();
    assert_eq!((state.parked, state.openings), (2, 1));
    let later = now.plus(S);
    let mut restored = Lane::restore(&state, &limits, later);
    assert!(parked(&arrive(&mut restored, waiting(3, later), &limits, later)).is_some());
    assert_eq!(
        restored.state(id, Owner::default(), later).unwrap().parked,
        3
    );
}

proptest! {
    #[test]
    fn a_lane_loses_nothing_and_stays_in_its_bounds(
        steps in prop::collection::vec((0..4u8, 0..3_000u64), 1..300), rate in prop::option::of(1..50u32),
    ) {
        let limits = LaneLimits { deliveries: 20, ..LaneLimits::default() };
        let mut now = Now::some();
        let mut lane = Lane::new(&limits);
        let terms = Terms { rate, max_in_flight: 8, version: 1 };
        lane.configure(terms, now.instant, now.instant);
        let (mut offered, mut placed, mut out) = (0u64, 0u64, Vec::new());
        for (step, millis) in steps {
            now = now.plus(Duration::from_millis(millis));
            match step {
                0 | 1 => {
                    offered += 1;
                    let outcome = lane.offer(waiting(offered, now), &limits, now);
                    placed += u64::from(!matches!(outcome, Offered::Accepted));
                }
                2 => while let Next::Start(_, probe) = lane.poll(now.instant, u32::MAX) {
                    lane.started(probe, now.instant);
                    out.push(probe);
                    placed += 1;
                }
                _ => if let Some(probe) = out.pop() {
                    let outcome = if millis % 3 == 0 { Outcome::Succeeded } else { Outcome::TimedOut };
                    if lane.ended(outcome, probe, now.instant, &limits.breaker, now, 0.5) {
                        placed += shed(&mut lane, ParkReason::BreakerOpen, &limits, now).len() as u64;
                    }
                }
            }
            prop_assert!(lane.queued() <= 64 && lane.in_flight() <= 8);
            prop_assert_eq!(lane.in_flight() as usize, out.len());
            prop_assert_eq!(placed + lane.queued() as u64, offered);
            prop_assert!(out.iter().filter(|probe| **probe).count() <= 1);
        }
    }
}
