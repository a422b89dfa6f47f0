use super::*;

#[test]
fn a_limited_lane_takes_what_it_can_start_soon_and_gives_the_rest_a_slot_each() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    lane.configure(limited(10), now.instant - 10 * S, now.instant);
    let offered: Vec<_> = (0..1000)
        .map(|n| lane.offer(waiting(n, now), &limits, now))
        .collect();
    let slots: Vec<_> = offered.iter().filter_map(parked).collect();
    assert!((20..=40).contains(&(1000 - slots.len())), "{}", slots.len());
    assert!(
        slots
            .iter()
            .all(|(_, reason)| *reason == ParkReason::Limited)
    );
    assert!(
        slots
            .windows(2)
            .all(|pair| pair[1].0.since(pair[0].0) >= S / 11)
    );
    assert!(slots.last().unwrap().0.since(now.wall) > 90 * S);
}

#[test]
fn a_raised_limit_holds_for_what_is_new_at_once_however_much_is_parked() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    lane.configure(limited(1), now.instant - 10 * S, now.instant);
    for n in 0..10_000 {
        drop(lane.offer(waiting(n, now), &limits, now));
    }
    let newcomer = |lane: &mut Lane| parked(&lane.offer(waiting(10_000, now), &limits, now));
    assert!(newcomer(&mut lane).unwrap().0.since(now.wall) > 9_900 * S);
    lane.configure(limited(1_000), now.instant, now.instant);
    let (until, _) = newcomer(&mut lane).unwrap();
    assert!(
        (9 * S..=11 * S).contains(&until.since(now.wall)),
        "behind as many"
    );
    let unlimited = Terms {
        rate: None,
        ..limited(1)
    };
    lane.configure(unlimited, now.instant, now.instant);
    assert!(newcomer(&mut lane).is_none());
}

#[test]
fn a_lane_that_becomes_limited_waits_out_the_second_before() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    let unlimited = Terms {
        rate: None,
        max_in_flight: 64,
        version: 1,
    };
    lane.configure(unlimited, now.instant - 10 * S, now.instant);
    (0..9).for_each(|n| drop(lane.offer(waiting(n, now), &limits, now)));
    assert_eq!(start_all(&mut lane, now).len(), 4);
    lane.ended(
        Outcome::Succeeded,
        false,
        now.instant,
        &limits.breaker,
        now,
        0.0,
    );
    lane.configure(limited(2), now.instant - 10 * S, now.instant);
    assert!(matches!(lane.poll(now.instant, 9), Next::At(at) if at == now.instant + S));
    lane.configure(unlimited, now.instant, now.instant);
    assert_eq!(start_all(&mut lane, now).len(), 2);
}

#[test]
fn what_was_let_through_and_did_not_go_counts_as_nothing() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    lane.configure(limited(2), now.instant - 10 * S, now.instant);
    (0..4).for_each(|n| drop(lane.offer(waiting(n, now), &limits, now)));
    assert_eq!(start_all(&mut lane, now).len(), 2);
    let later = now.plus(S / 10);
    assert!(matches!(lane.poll(later.instant, 9), Next::At(at) if at == now.instant + S));
    lane.withheld(false, now.instant, later.instant);
    assert_eq!(
        (lane.in_flight(), start_all(&mut lane, later).len()),
        (1, 1)
    );

    // A probe is not out any more, and another one may go.
    lane.withheld(false, later.instant, later.instant);
    fail(&mut lane, &limits, 5, later);
    let due = later.plus(10 * S);
    assert!(matches!(lane.poll(due.instant, 9), Next::Start(_, true)));
    lane.started(true, due.instant);
    lane.withheld(true, due.instant, due.instant);
    assert_eq!((lane.in_flight(), lane.breaker()), (0, BreakerState::Open));
    let (id, later) = (EndpointId::from_bytes([2; 16]), due.plus(2 * S));
    let told = lane.state(id, Owner::default(), due).unwrap();
    assert_eq!(told.probe_at, Some(due.wall.plus(S)));
    lane.offer(waiting(4, later), &limits, later);
    assert!(matches!(lane.poll(later.instant, 9), Next::Start(_, true)));
}

#[test]
fn while_slots_are_reserved_newcomers_stand_behind_and_what_was_parked_is_taken() {
    let (limits, now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    lane.configure(limited(10), now.instant - 10 * S, now.instant);
    let offered: Vec<_> = (0..1000)
        .map(|n| lane.offer(waiting(n, now), &limits, now))
        .collect();
    while lane.queued() > 0 {
        shed(&mut lane, ParkReason::Memory, &limits, now);
    }
    let later = now.plus(20 * S);
    let (until, _) = parked(&lane.offer(waiting(5000, later), &limits, later)).unwrap();
    assert!(until > parked(offered.last().unwrap()).unwrap().0);
    let back = delivery(1, now).parked_until(now.wall, later.wall);
    assert!(matches!(
        lane.offer(waiting_with(1, back), &limits, later),
        Offered::Accepted
    ));
}
