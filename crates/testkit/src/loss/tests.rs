use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Kill, LossChecker, WRITING_DOWN};
use crate::{Arrival, Checked};

fn arrival(event: &str, at: Instant, answered: Option<Instant>) -> Arrival {
    Arrival {
        path: Arc::from("/ok"),
        event: event.into(),
        timestamp: 0,
        at,
        on_its_way: Duration::ZERO,
        answered,
        over: answered,
        status: if answered.is_some() { 200 } else { 0 },
        number: None,
        body_hash: 1,
        signature: Checked::Not,
        connection: 0,
        port: 0,
    }
}

fn checker() -> (LossChecker, Instant) {
    let mut checker = LossChecker::default();
    checker.expect("msg_1", &["/ok"]);
    (checker, Instant::now())
}

fn kill_at(at: Instant) -> Kill {
    Kill {
        before: at,
        after: at + ms(5),
        reach: WRITING_DOWN,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_never_came_is_missing() {
    let (checker, now) = checker();
    let came = [arrival("msg_2", now, Some(now))];
    let verdict = checker.judge(&came);
    assert_eq!(verdict.missing, [("msg_1".to_owned(), "/ok".to_owned())]);
    assert!(!verdict.is_good());
}

#[test]
fn what_came_and_was_never_answered_with_success_is_missing() {
    let (checker, now) = checker();
    let unanswered = arrival("msg_1", now, None);
    let mut failed = arrival("msg_1", now, Some(now));
    failed.status = 503;
    assert_eq!(checker.missing(&[unanswered, failed]), 1);
}

#[test]
fn a_repeat_of_what_was_in_flight_at_a_kill_is_excused() {
    let (mut checker, now) = checker();
    let kill = now + seconds(5);
    checker.killed(kill_at(kill));
    let came = [
        arrival("msg_1", now, None),
        arrival("msg_1", now + seconds(6), Some(now + seconds(6))),
    ];
    let verdict = checker.judge(&came);
    assert!(verdict.is_good(), "{verdict}");
    assert_eq!(verdict.excused, [Duration::ZERO]);
}

#[test]
fn more_repeats_than_may_be_are_not_good_though_each_is_excused() {
    let (mut checker, now) = checker();
    let kill = now + seconds(5);
    checker.killed(kill_at(kill));
    let came: Vec<_> = ["msg_1", "msg_2"]
        .into_iter()
        .flat_map(|event| {
            let again = kill + seconds(1);
            [
                arrival(event, now, None),
                arrival(event, again, Some(again)),
            ]
        })
        .collect();
    checker.excuses_at_most(2);
    let verdict = checker.judge(&came);
    assert!(verdict.is_good() && verdict.excused.len() == 2, "{verdict}");
    checker.excuses_at_most(1);
    let verdict = checker.judge(&came);
    assert!(
        verdict.unexcused.is_empty() && !verdict.is_good(),
        "{verdict}"
    );
}

#[test]
fn a_repeat_without_a_kill_or_long_before_one_is_not_excused() {
    let (mut checker, now) = checker();
    let came = [
        arrival("msg_1", now, Some(now)),
        arrival("msg_1", now + seconds(6), Some(now + seconds(6))),
    ];
    assert_eq!(checker.judge(&came).unexcused.len(), 1);
    let kill = now + seconds(5);
    checker.killed(kill_at(kill));
    assert_eq!(checker.judge(&came).unexcused.len(), 1);
}

#[test]
fn what_was_answered_with_a_failure_may_come_again_but_not_changed() {
    let (checker, now) = checker();
    let mut failed = arrival("msg_1", now, Some(now));
    failed.status = 500;
    let again = arrival("msg_1", now + seconds(1), Some(now + seconds(1)));
    assert!(checker.judge(&[failed.clone(), again.clone()]).is_good());
    let changed = Arrival {
        body_hash: 2,
        ..again
    };
    assert_eq!(checker.judge(&[failed, changed]).changed.len(), 1);
}

#[test]
fn an_answer_that_went_out_a_moment_before_a_kill_is_in_flight_and_one_before_that_is_not() {
    let (mut checker, now) = checker();
    let kill = now + seconds(5);
    checker.killed(kill_at(kill));
    let again = arrival("msg_1", kill + seconds(1), None);
    let first = |before| arrival("msg_1", now, Some(kill - before));
    let just_before = checker.judge(&[first(ms(49)), again.clone()]);
    assert_eq!((just_before.excused.len(), just_before.in_flight), (1, 1));
    let long_before = checker.judge(&[first(ms(51)), again]);
    assert_eq!((long_before.unexcused.len(), long_before.in_flight), (1, 0));
}

#[test]
fn what_the_next_server_sends_twice_is_not_excused_by_the_kill_of_the_one_before() {
    let (mut checker, now) = checker();
    checker.killed(kill_at(now));
    let came = [
        arrival("msg_1", now + ms(6), Some(now + ms(7))),
        arrival("msg_1", now + ms(20), Some(now + ms(21))),
    ];
    assert_eq!(checker.judge(&came).unexcused.len(), 1);
}

#[test]
fn what_a_silent_path_never_answered_may_come_again_and_what_it_answered_may_not() {
    let (mut checker, now) = checker();
    checker.is_silent("/ok");
    let timed_out = arrival("msg_1", now, None);
    let then = now + seconds(2);
    let again = arrival("msg_1", then, Some(then));
    assert!(checker.judge(&[timed_out, again.clone()]).is_good());
    assert_eq!(checker.judge(&[again.clone(), again]).unexcused.len(), 1);
}

#[test]
fn a_request_in_flight_at_a_kill_excuses_one_repeat_also_behind_a_failure_and_no_second() {
    let (mut checker, now) = checker();
    let kill = now + seconds(5);
    checker.killed(kill_at(kill));
    let mut failed = arrival("msg_1", kill, Some(kill));
    failed.status = 503;
    let later = |after| arrival("msg_1", kill + seconds(after), Some(kill + seconds(after)));
    let twice = checker.judge(&[failed.clone(), later(6), later(7)]);
    assert!(twice.is_good(), "{twice}");
    assert_eq!(twice.excused.len(), 1);
    let thrice = checker.judge(&[failed, later(6), later(7), later(8)]);
    assert_eq!(thrice.unexcused.len(), 1);
}

#[test]
fn a_request_that_was_on_its_way_while_its_sender_slept_is_excused_when_it_comes_at_last() {
    let (mut checker, now) = checker();
    let asleep = now + seconds(5);
    checker.killed(kill_at(asleep));
    let meanwhile = arrival("msg_1", now + seconds(12), Some(now + seconds(12)));
    let mut at_last = arrival("msg_1", now + seconds(20), Some(now + seconds(20)));
    let both = [meanwhile.clone(), at_last.clone()];
    assert_eq!(checker.judge(&both).unexcused.len(), 1);
    at_last.on_its_way = seconds(16);
    assert!(checker.judge(&[meanwhile, at_last]).is_good());
}

#[test]
fn a_request_that_slept_and_came_before_another_took_its_place_excuses_one_repeat() {
    let (mut checker, now) = checker();
    let asleep = now + seconds(5);
    checker.killed(kill_at(asleep));
    let mut woke = arrival("msg_1", now + seconds(12), Some(now + seconds(12)));
    let later = |after| arrival("msg_1", now + seconds(after), Some(now + seconds(after)));
    assert_eq!(checker.judge(&[woke.clone(), later(13)]).unexcused.len(), 1);
    woke.on_its_way = seconds(8);
    assert!(checker.judge(&[woke.clone(), later(13)]).is_good());
    let twice = checker.judge(&[woke, later(13), later(14)]);
    assert_eq!(twice.unexcused.len(), 1);
}

#[test]
fn a_fault_excuses_nothing_at_paths_that_it_could_not_strike() {
    let (mut checker, now) = checker();
    let kill = now + seconds(5);
    let came = [
        arrival("msg_1", kill, None),
        arrival("msg_1", kill + seconds(1), Some(kill + seconds(1))),
    ];
    checker.killed_at(kill_at(kill), ["/other".to_owned()]);
    let elsewhere = checker.judge(&came);
    assert_eq!((elsewhere.unexcused.len(), elsewhere.in_flight), (1, 0));
    checker.killed_at(kill_at(kill), ["/ok".to_owned()]);
    assert!(checker.judge(&came).is_good());
}

#[test]
fn a_request_that_was_given_up_long_before_a_fault_is_not_struck_by_it() {
    let (mut checker, now) = checker();
    checker.is_silent("/ok");
    let kill = now + seconds(5);
    checker.killed(kill_at(kill));
    let mut given_up = arrival("msg_1", now, None);
    given_up.over = Some(now + seconds(2));
    let later = |after| arrival("msg_1", now + seconds(after), Some(now + seconds(after)));
    // Its retry came, and that once more.
    let twice = checker.judge(&[given_up.clone(), later(6), later(7)]);
    assert_eq!(twice.unexcused.len(), 1);
    given_up.over = Some(kill);
    let twice = checker.judge(&[given_up, later(6), later(7)]);
    assert!(twice.is_good(), "{twice}");
}

#[test]
fn what_was_pending_where_deliveries_are_put_aside_may_come_again_once_for_each_fault() {
    let (mut checker, now) = checker();
    checker.puts_aside("/ok");
    let at = |after| now + seconds(after);
    let came = |after: &[u64]| {
        let came = after
            .iter()
            .map(|after| arrival("msg_1", at(*after), Some(at(*after))));
        came.collect::<Vec<_>>()
    };
    assert_eq!(checker.judge(&came(&[8, 9])).unexcused.len(), 1);
    checker.accepted("msg_1", now);
    checker.killed(kill_at(at(5)));
    assert!(checker.judge(&came(&[8, 9])).is_good());
    assert_eq!(checker.judge(&came(&[8, 9, 10])).unexcused.len(), 1);
    // Done long before it, or accepted after it.
    assert_eq!(checker.judge(&came(&[3, 9])).unexcused.len(), 1);
    checker.accepted("msg_1", at(6));
    assert_eq!(checker.judge(&came(&[8, 9])).unexcused.len(), 1);
}

#[test]
fn what_may_have_been_written_twice_comes_again_once_and_only_if_it_was_pending_then() {
    let (mut checker, now) = checker();
    let at = |after| now + seconds(after);
    let came = |after: &[u64]| {
        let came = after
            .iter()
            .map(|after| arrival("msg_1", at(*after), Some(at(*after))));
        came.collect::<Vec<_>>()
    };
    checker.accepted("msg_1", now);
    checker.written_twice(kill_at(at(5)), ["/ok".to_owned()]);
    assert!(checker.judge(&came(&[8, 9])).is_good());
    assert_eq!(checker.judge(&came(&[8, 9, 10])).unexcused.len(), 1);
    assert_eq!(checker.judge(&came(&[3, 9])).unexcused.len(), 1);
}

#[test]
fn of_a_kill_whose_log_says_what_it_left_each_of_that_is_excused_once_and_nothing_else() {
    let (mut checker, now) = checker();
    let kill = now + seconds(5);
    let answered = |at: Instant| arrival("msg_1", at, Some(at));
    let twice = [answered(kill), answered(kill + seconds(1))];
    let thrice = [&twice[..], &[answered(kill + seconds(2))]].concat();
    let left = |event: &str, path: &str| [(event.to_owned(), path.to_owned())].into();
    let mut finished = checker.clone();
    finished.killed_leaving(kill_at(kill), left("msg_2", "/ok"));
    finished.killed_leaving(kill_at(kill), left("msg_1", "/other"));
    let verdict = finished.judge(&twice);
    assert_eq!((verdict.unexcused.len(), verdict.in_flight), (1, 0));
    checker.killed_leaving(kill_at(kill), left("msg_1", "/ok"));
    assert!(checker.judge(&twice).is_good());
    assert_eq!(checker.judge(&thrice).unexcused.len(), 1);
    // What had been answered long before was not in flight, whatever is left of it.
    let early = [answered(now), answered(kill + seconds(1))];
    assert_eq!(checker.judge(&early).unexcused.len(), 1);
    // It failed, was tried again before the kill, and that was not written down either.
    let mut failed = answered(kill);
    failed.status = 503;
    let all = [&[failed], &thrice[..]].concat();
    assert_eq!(checker.judge(&all).unexcused.len(), 1);
}
