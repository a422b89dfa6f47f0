use postrider_model::EndpointId;

use super::*;
use proptest::prelude::*;

fn opened(policy: &BreakerPolicy, now: Now) -> Breaker {
    let mut breaker = Breaker::default();
    (1..policy.consecutive_failures)
        .for_each(|_| assert!(!breaker.failed(false, now.instant, policy, now, 0.0)));
    assert!(breaker.failed(false, now.instant, policy, now, 0.0));
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = Breaker::default();
    for _ in 0..4 {
        (0..4).for_each(|_| assert!(!breaker.failed(false, now.instant, &policy, now, 0.0)));
        breaker.succeeded(false, now.instant, &policy, now);
    }
    assert_eq!(breaker.admits(now.instant), Admission::Pass);
    let breaker = opened(&policy, now);
    assert_eq!(
        breaker.admits(now.instant),
        Admission::Refused(now.instant + policy.first_wait)
    );
}

#[test]
fn a_high_share_of_failures_opens_it_although_some_succeed() {
    let (policy, now) = (
        BreakerPolicy {
            consecutive_failures: 50,
            ..BreakerPolicy::default()
        },
        Now::some(),
    );
    let mut breaker = Breaker::default();
    breaker.succeeded(false, now.instant, &policy, now);
    let opened = (0..30).any(|_| breaker.failed(false, now.instant, &policy, now, 0.0));
    assert!(opened);
}

#[test]
fn one_probe_decides() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = opened(&policy, now);
    let due = now.plus(policy.first_wait);
    assert_eq!(breaker.admits(due.instant), Admission::Probe);
    breaker.probe_started();
    assert_eq!(breaker.admits(due.instant), Admission::ProbeOut);
    assert!(
        !breaker.succeeded(false, due.instant, &policy, due),
        "what began before it opened decides nothing"
    );
    assert!(!breaker.failed(false, due.instant, &policy, due, 0.0));
    assert!(breaker.succeeded(true, due.instant, &policy, due));
    assert!(breaker.knows_nothing());
}

#[test]
fn what_began_before_it_opened_and_ends_after_it_closed_decides_nothing() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = opened(&policy, now);
    let due = now.plus(policy.first_wait);
    breaker.probe_started();
    assert!(breaker.succeeded(true, due.instant, &policy, due));
    let later = due.plus(Duration::from_secs(10));
    for _ in 0..100 {
        assert!(!breaker.failed(false, now.instant, &policy, later, 0.0));
    }
    assert!(breaker.knows_nothing());
    // What begins from now on counts.
    let began = due.instant;
    let opens = (0..100).any(|_| breaker.failed(false, began, &policy, later, 0.0));
    assert!(opens);
}

#[test]
fn the_wait_grows_with_each_failed_probe_up_to_the_longest() {
    let (policy, mut now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = opened(&policy, now);
    let mut waits = Vec::new();
    for _ in 0..10 {
        let until = breaker.probe_at().unwrap();
        waits.push((until - now.instant).as_secs());
        now = now.plus(until - now.instant);
        breaker.probe_started();
        assert!(breaker.failed(true, now.instant, &policy, now, 0.0));
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
}

#[test]
fn what_was_repaired_is_tried_at_once_and_waits_longer_still_if_it_was_not() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = opened(&policy, now);
    assert!(breaker.try_now(now.instant));
    assert!(!breaker.try_now(now.instant), "it waits no more");
    assert_eq!(breaker.admits(now.instant), Admission::Probe);
    breaker.probe_started();
    assert!(!breaker.try_now(now.instant), "one probe at a time");
    assert!(breaker.failed(true, now.instant, &policy, now, 0.0));
    let until = now.instant + 2 * policy.first_wait;
    assert_eq!(breaker.admits(now.instant), Admission::Refused(until));
    assert_eq!(breaker.opened_at(), Some(now.wall));
    assert!(!Breaker::default().try_now(now.instant), "it is closed");
}

#[test]
fn a_probe_that_is_out_while_the_endpoint_is_repaired_decides_nothing_and_the_next_goes_at_once() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = opened(&policy, now);
    breaker.probe_started();
    let repaired = now.plus(Duration::from_secs(5));
    assert!(!breaker.repaired(repaired.instant), "one probe at a time");
    assert_eq!(breaker.admits(repaired.instant), Admission::ProbeOut);
    let later = now.plus(Duration::from_secs(10));
    assert!(!breaker.failed(true, now.instant, &policy, later, 0.0));
    assert_eq!(
        (breaker.admits(later.instant), breaker.openings()),
        (Admission::Probe, 1)
    );
    // The next is one of how the endpoint is now.
    breaker.probe_started();
    assert!(breaker.failed(true, later.instant, &policy, later, 0.0));
    let until = later.instant + 2 * policy.first_wait;
    assert_eq!(breaker.admits(later.instant), Admission::Refused(until));
    assert!(breaker.repaired(later.instant));
    breaker.probe_started();
    assert!(breaker.succeeded(true, later.instant, &policy, later));
    assert!(breaker.knows_nothing());
}

#[test]
fn a_lost_probe_lets_another_go_without_a_longer_wait() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let mut breaker = opened(&policy, now);
    breaker.probe_started();
    let again = now.plus(Duration::from_secs(1));
    breaker.probe_was_lost(again.instant);
    assert_eq!(
        breaker.admits(now.instant),
        Admission::Refused(again.instant)
    );
    assert_eq!(
        (breaker.admits(again.instant), breaker.openings()),
        (Admission::Probe, 1)
    );
}

#[test]
fn a_cautious_breaker_opens_on_the_first_failure_and_trusts_after_the_first_success() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    assert!(Breaker::cautious().failed(false, now.instant, &policy, now, 0.0));
    let mut breaker = Breaker::cautious();
    breaker.succeeded(false, now.instant, &policy, now);
    assert!(!breaker.failed(false, now.instant, &policy, now, 0.0));
}

#[test]
fn the_next_owner_goes_on_where_this_one_was() {
    let (policy, now) = (BreakerPolicy::default(), Now::some());
    let before = opened(&policy, now);
    let state = EndpointState {
        endpoint_id: EndpointId::from_bytes([1; 16]),
        breaker: before.state(),
        probe_at: before.probe_at().map(|at| now.wall_of(at)),
        openings: before.openings(),
        consecutive_failures: before.consecutive_failures(),
        failing_since: before.failing_since(),
        next_slot: None,
        parked: 0,
        parked_bytes: 0,
        epoch: 1,
        updated_at: now.wall,
        partition: 0,
        nonce: 0,
        newer: Box::default(),
        opened_at: before.opened_at(),
        endpoint_version: 1,
    };
    let later = now.plus(Duration::from_secs(1));
    let after = Breaker::restore(&state, later);
    assert_eq!(
        after.admits(later.instant),
        Admission::Refused(now.instant + policy.first_wait)
    );
    assert_eq!(
        (after.openings(), after.failing_since(), after.opened_at()),
        (1, Some(now.wall), Some(now.wall))
    );
    let half_open = EndpointState {
        breaker: BreakerState::HalfOpen,
        probe_at: None,
        ..state
    };
    assert_eq!(
        Breaker::restore(&half_open, later).admits(later.instant),
        Admission::Probe
    );
}

proptest! {
    #[test]
    fn never_are_two_probes_out_and_no_wait_is_longer_than_the_longest(
        steps in prop::collection::vec((0..4u8, 0..200_000u64, 0.0..1.0f64), 1..200),
    ) {
        let policy = BreakerPolicy::default();
        let (mut breaker, mut now) = (Breaker::default(), Now::some());
        let (mut out, mut plain, mut began, mut repaired) = (false, 0u32, now, now);
        for (step, millis, draw) in steps {
            now = now.plus(Duration::from_millis(millis));
            match (step, breaker.admits(now.instant)) {
                (0, Admission::Pass) => plain += 1,
                (0, Admission::Probe) => { prop_assert!(!out); breaker.probe_started(); out = true; began = now; }
                (0, Admission::ProbeOut) => prop_assert!(out),
                (0, Admission::Refused(until)) => {
                    prop_assert!(until - now.instant <= policy.longest_wait.mul_f64(1.2));
                }
                (1, _) if out => {
                    let opened = breaker.failed(true, began.instant, &policy, now, draw);
                    prop_assert_eq!(opened, repaired.instant <= began.instant);
                    prop_assert!(opened || breaker.admits(now.instant) == Admission::Probe);
                    out = false;
                }
                (2, _) if out => { prop_assert!(breaker.succeeded(true, now.instant, &policy, now)); out = false; }
                (1, _) if plain > 0 => { breaker.failed(false, now.instant, &policy, now, draw); plain -= 1; }
                (2, _) if plain > 0 => { breaker.succeeded(false, now.instant, &policy, now); plain -= 1; }
                (3, admitted) => {
                    let waited = matches!(admitted, Admission::Refused(_));
                    prop_assert_eq!(breaker.repaired(now.instant), waited);
                    repaired = now;
                }
                _ => {}
            }
        }
    }
}
