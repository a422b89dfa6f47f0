use std::collections::BTreeMap;

use super::*;

/// Of an endpoint that takes so many at a time, each for so long, and has been known for it for a while.
fn lane_of(at_a_time: u32, attempt: Duration, limits: &LaneLimits, now: &mut Now) -> Lane {
    let mut lane = Lane::new(limits);
    let terms = Terms {
        rate: None,
        max_in_flight: at_a_time,
        version: 1,
    };
    lane.configure(terms, now.instant, now.instant);
    for n in 0..30 {
        lane.offer(waiting(n, *now), limits, *now);
        answer_all(&mut lane, attempt, limits, now);
    }
    lane
}

/// Starts what may start, and answers it after `attempt`.
fn answer_all(lane: &mut Lane, attempt: Duration, limits: &LaneLimits, now: &mut Now) -> usize {
    let (began, started) = (*now, start_all(lane, *now).len());
    *now = now.plus(attempt);
    for _ in 0..started {
        let (policy, began) = (&limits.breaker, began.instant);
        lane.took(Outcome::Succeeded, began, now.instant);
        lane.ended(Outcome::Succeeded, false, began, policy, *now, 0.0);
    }
    started
}

fn until(offered: &[Offered], reason: ParkReason) -> Vec<Timestamp> {
    let parked = offered.iter().filter_map(parked);
    let for_it = parked.filter(|(_, why)| *why == reason);
    for_it.map(|(until, _)| until).collect()
}

#[test]
fn a_slow_lane_takes_what_it_can_start_soon_and_gives_the_rest_a_slot_each_at_its_pace() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = lane_of(2, S, &limits, &mut now);
    let offered: Vec<_> = (0..500)
        .map(|n| arrive(&mut lane, waiting(n, now), &limits, now))
        .collect();
    assert!((58..=64).contains(&lane.queued()), "{}", lane.queued());
    let slots = until(&offered, ParkReason::Slow);
    assert_eq!(slots.len() + lane.queued(), 500);
    let first = slots[0].since(now.wall);
    assert!(first >= 10 * S && first <= 20 * S, "{first:?}");
    let apart = |pair: &[Timestamp]| pair[1].since(pair[0]) >= S * 4 / 10;
    assert!(slots.windows(2).all(apart));
    assert!(slots[slots.len() - 1].since(now.wall) <= 300 * S);
}

#[test]
fn what_is_known_to_be_quick_or_not_known_at_all_is_taken() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let quick = lane_of(64, S / 100, &limits, &mut now);
    for mut lane in [quick, Lane::new(&limits)] {
        for n in 0..20_000 {
            let offered = lane.offer(waiting(n, now), &limits, now);
            assert!(matches!(offered, Offered::Accepted), "{n}");
        }
    }
}

#[test]
fn a_queue_that_turns_out_to_be_long_is_cut_to_what_starts_soon() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    (0..5_000).for_each(|n| drop(lane.offer(waiting(n, now), &limits, now)));
    let mut sent = answer_all(&mut lane, 10 * S, &limits, &mut now);
    assert!(!lane.is_too_long(&limits), "the first say nothing alone");
    sent += answer_all(&mut lane, 10 * S, &limits, &mut now);
    assert!(lane.is_too_long(&limits));
    let behind = lane.take_what_is_too_long(&limits);
    assert_eq!(behind.len() + lane.queued() + sent, 5_000);
    // 64 at a time, if it bears that.
    assert!((190..=195).contains(&lane.queued()), "{}", lane.queued());
    assert!(behind[0].position > 190 && !lane.is_too_long(&limits));
}

/// Takes 5,000 and answers the first after three seconds and all others after 50 ms; how long until nothing waits, if
/// nothing is parked meanwhile.
fn takes_all_of_5_000(lane: &mut Lane, now: &mut Now) -> Duration {
    let (limits, began) = (LaneLimits::default(), *now);
    for n in 0..5_000 {
        let offered = lane.offer(waiting(n, *now), &limits, *now);
        assert!(matches!(offered, Offered::Accepted), "{n}");
    }
    let mut attempt = 3 * S;
    while lane.queued() > 0 {
        let at_once = answer_all(lane, attempt, &limits, now);
        assert!(
            at_once <= limits.max_in_flight as usize,
            "{at_once} at once"
        );
        assert!(!lane.is_too_long(&limits), "{} wait", lane.queued());
        attempt = S / 20;
    }
    now.wall.since(began.wall)
}

#[test]
fn an_endpoint_whose_first_answers_take_long_and_the_others_do_not_keeps_its_backlog() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let took = takes_all_of_5_000(&mut Lane::new(&limits), &mut now);
    assert!(took < 15 * S, "{took:?}");
}

#[test]
fn an_endpoint_that_is_back_after_hours_is_not_judged_by_its_first_answers() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    for round in 0..6 {
        lane.offer(waiting(round, now), &limits, now);
        start_all(&mut lane, now);
        let (began, policy) = (now.instant, &limits.breaker);
        now = now.plus(15 * S);
        while lane.in_flight() > 0 {
            let probe = lane.is_open();
            lane.took(Outcome::TimedOut, began, now.instant);
            lane.ended(Outcome::TimedOut, probe, began, policy, now, 0.0);
        }
        lane.take_all();
        now = now.plus(1_800 * S);
    }
    assert!(lane.is_open());
    lane.offer(waiting(9, now), &limits, now);
    start_all(&mut lane, now);
    let (began, policy) = (now.instant, &limits.breaker);
    now = now.plus(3 * S);
    lane.took(Outcome::Succeeded, began, now.instant);
    lane.ended(Outcome::Succeeded, true, began, policy, now, 0.0);
    let took = takes_all_of_5_000(&mut lane, &mut now);
    assert!(took < 60 * S, "{took:?}");
}

#[test]
fn one_at_a_time_that_takes_minutes_keeps_the_one_that_is_next() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = lane_of(1, S, &limits, &mut now);
    for n in 0..40 {
        lane.offer(waiting(n, now), &limits, now);
        answer_all(&mut lane, 100 * S, &limits, &mut now);
    }
    (0..9).for_each(|n| lane.put_back(waiting(n, now)));
    assert!(lane.is_too_long(&limits));
    assert_eq!(lane.take_what_is_too_long(&limits).len(), 8);
    assert_eq!(lane.queued(), 1);
}

#[test]
fn newcomers_stand_behind_what_is_parked_unless_next_to_nothing_waits() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = lane_of(1, S, &limits, &mut now);
    (0..200).for_each(|n| drop(arrive(&mut lane, waiting(n, now), &limits, now)));
    while lane.queued() > 20 {
        answer_all(&mut lane, S, &limits, &mut now);
    }
    let newcomer = arrive(&mut lane, waiting(900, now), &limits, now);
    assert_eq!(
        parked(&newcomer).map(|(_, why)| why),
        Some(ParkReason::Slow)
    );
    let back = delivery(100, now).parked_until(now.wall, now.wall);
    let back = arrive(&mut lane, waiting_with(100, back), &limits, now);
    assert!(matches!(back, Offered::Accepted));
    while lane.queued() > 2 {
        answer_all(&mut lane, S, &limits, &mut now);
    }
    let newcomer = arrive(&mut lane, waiting(901, now), &limits, now);
    assert!(matches!(newcomer, Offered::Accepted));
}

/// Sends a backlog through a lane that starts `most` at a time, each answered after a second, and what is parked comes back
/// in its slot, a little late. Returns how long that takes, and how often each was parked.
fn drain(lane: &mut Lane, backlog: u64, most: u32, now: &mut Now) -> (Duration, Vec<u32>) {
    let limits = LaneLimits::default();
    let mut coming: BTreeMap<(Timestamp, u64), Delivery> = (0..backlog)
        .map(|n| ((now.wall, n), delivery(n, *now)))
        .collect();
    let (began, mut rounds) = (*now, vec![0; backlog as usize]);
    while !coming.is_empty() || lane.queued() > 0 {
        let later = coming.split_off(&(now.wall, u64::MAX));
        for ((_, n), delivery) in std::mem::replace(&mut coming, later) {
            let offered = arrive(lane, waiting_with(n, delivery.clone()), &limits, *now);
            if let Some((slot, _)) = parked(&offered) {
                rounds[n as usize] += 1;
                let delivery = delivery.parked_until(now.wall, slot);
                coming.insert((slot.plus(S), n), delivery);
            }
        }
        let mut started = 0;
        while let Next::Start(_, probe) = lane.poll(now.instant, most) {
            lane.started(probe, now.instant);
            started += 1;
        }
        let before = std::mem::replace(now, now.plus(S));
        for _ in 0..started {
            let (policy, began) = (&limits.breaker, before.instant);
            lane.took(Outcome::Succeeded, began, now.instant);
            lane.ended(Outcome::Succeeded, false, began, policy, *now, 0.0);
        }
    }
    (now.wall.since(began.wall), rounds)
}

#[test]
fn the_backlog_of_a_slow_endpoint_keeps_it_busy_and_goes_round_a_few_times() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    for at_a_time in [1, 16] {
        let mut lane = lane_of(at_a_time, S, &limits, &mut now);
        let backlog = 2_000 * u64::from(at_a_time);
        let (took, rounds) = drain(&mut lane, backlog, u32::MAX, &mut now);
        assert!(took <= 2_200 * S, "{took:?}");
        let mean = rounds.iter().sum::<u32>() as f64 / rounds.len() as f64;
        let most = rounds.iter().max().unwrap();
        assert!(mean <= 6.0 && *most <= 24, "{mean} rounds, {most} at most");
    }
}

#[test]
fn an_endpoint_that_is_thought_to_be_quicker_than_it_is_makes_its_backlog_go_round_little_more() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = lane_of(16, S, &limits, &mut now);
    let (took, rounds) = drain(&mut lane, 4_000, 2, &mut now);
    assert!(took <= 2_400 * S, "{took:?}");
    let mean = rounds.iter().sum::<u32>() as f64 / rounds.len() as f64;
    let most = rounds.iter().max().unwrap();
    assert!(mean <= 12.0 && *most <= 50, "{mean} rounds, {most} at most");
}

#[test]
fn what_is_parked_for_a_slow_endpoint_is_back_within_as_long_again_as_that_lasted() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = lane_of(1, S, &limits, &mut now);
    let offered: Vec<_> = (0..100_000)
        .map(|n| arrive(&mut lane, waiting(n, now), &limits, now))
        .collect();
    let slots = until(&offered, ParkReason::Slow);
    // What stands before it takes half a minute, and it is to be there by then.
    assert!(slots.iter().all(|slot| slot.since(now.wall) >= 10 * S));
    assert!(slots.iter().all(|slot| slot.since(now.wall) <= 301 * S));
    // And not all in one moment.
    for second in 151..299 {
        let within =
            |slot: &&Timestamp| (second..second + 2).contains(&slot.since(now.wall).as_secs());
        let count = slots.iter().filter(within).count();
        assert!(count <= 2_000, "{count} come back within {second} s");
    }
}

#[test]
fn an_endpoint_that_is_back_is_not_judged_by_how_it_hung() {
    let (limits, mut now) = (LaneLimits::default(), Now::some());
    let mut lane = Lane::new(&limits);
    for n in 0..20 {
        lane.offer(waiting(n, now), &limits, now);
        start_all(&mut lane, now);
        let began = now.instant;
        now = now.plus(15 * S);
        while lane.in_flight() > 0 {
            lane.took(Outcome::TimedOut, began, now.instant);
            lane.ended(
                Outcome::TimedOut,
                lane.is_open(),
                began,
                &limits.breaker,
                now,
                0.0,
            );
        }
        lane.take_all();
        now = now.plus(3600 * S);
    }
    lane.offer(waiting(100, now), &limits, now);
    let Next::Start(_, true) = lane.poll(now.instant, 9) else {
        panic!("no probe");
    };
    lane.started(true, now.instant);
    lane.ended(
        Outcome::Succeeded,
        true,
        now.instant,
        &limits.breaker,
        now,
        0.0,
    );
    for n in 0..5_000 {
        let offered = lane.offer(waiting(n, now), &limits, now);
        assert!(matches!(offered, Offered::Accepted), "{n}");
    }
}
