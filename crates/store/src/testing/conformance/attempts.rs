//! Attempts.

use postrider_model::{AppId, Attempt, AttemptId, EndpointId, Event, EventId, Outcome};

use super::Harness;
use super::samples::{all, at, attempt, event, known_application, numbered};
use crate::{AttemptFilter, HistoryBatch, StatusFilter, Store, Tried};

async fn record(store: &dyn Store, attempts: &[Attempt]) {
    let batch = HistoryBatch {
        attempts: attempts.iter().cloned().map(Into::into).collect(),
        ..HistoryBatch::default()
    };
    store.record(&batch).await.unwrap();
}

fn of_event(event: EventId) -> AttemptFilter {
    AttemptFilter {
        event: Some(event),
        ..AttemptFilter::default()
    }
}

fn to_endpoint(endpoint: EndpointId) -> AttemptFilter {
    AttemptFilter {
        endpoint: Some(endpoint),
        ..AttemptFilter::default()
    }
}

pub async fn attempts_are_listed_by_event_and_by_endpoint(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let (one, two) = (event(app, at(0)), event(app, at(1)));
    let (here, there) = (EndpointId::new(), EndpointId::new());
    let made = [
        attempt(&one, here, at(10)),
        attempt(&one, there, at(11)),
        attempt(&two, here, at(12)),
    ];
    record(&*store, &made).await;
    let list =
        async |app, filter: AttemptFilter| store.attempts(app, &filter, &all()).await.unwrap();
    assert_eq!(list(app, of_event(one.id)).await, made[..2]);
    let to_here = [made[0].clone(), made[2].clone()];
    assert_eq!(list(app, to_endpoint(here)).await, to_here);
    let both = AttemptFilter {
        event: Some(one.id),
        ..to_endpoint(here)
    };
    assert_eq!(list(app, both).await, made[..1]);
    assert_eq!(list(AppId::new(), of_event(one.id)).await, []);
    assert_eq!(list(AppId::new(), to_endpoint(here)).await, []);
}

pub async fn each_filter_of_attempts_selects(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let hook = EndpointId::new();
    let mut events: Vec<Event> = (0..4).map(|seconds| event(app, at(seconds))).collect();
    events[1].event_type = "order.paid".parse().unwrap();
    events[2].channels = vec!["north".parse().unwrap()];
    let mut made: Vec<Attempt> = events
        .iter()
        .map(|one| attempt(one, hook, one.accepted_at))
        .collect();
    (made[1].outcome, made[1].status_code) = (Outcome::Throttled, Some(503));
    made[1].next_attempt_at = Some(at(100));
    (made[2].outcome, made[2].status_code) = (Outcome::TimedOut, None);
    (made[3].outcome, made[3].status_code) = (Outcome::Refused, Some(400));
    let batch = HistoryBatch {
        events: events.clone(),
        attempts: made.iter().cloned().map(Into::into).collect(),
        ..HistoryBatch::default()
    };
    store.record(&batch).await.unwrap();
    let select = async |filter: AttemptFilter| {
        let found = store.attempts(app, &filter, &all()).await.unwrap();
        let number = |found: &Attempt| made.iter().position(|one| one == found).unwrap();
        found.iter().map(number).collect::<Vec<_>>()
    };
    let base = || to_endpoint(hook);
    for (status, expected) in [
        (StatusFilter::Succeeded, vec![0]),
        (StatusFilter::Pending, vec![1]),
        (StatusFilter::Failed, vec![2, 3]),
    ] {
        let filter = AttemptFilter {
            status: Some(status),
            ..base()
        };
        assert_eq!(select(filter).await, expected, "{status:?}");
    }
    // What failed and is to be followed is none that failed for good.
    for (codes, expected) in [
        (vec![400, 503], vec![0, 3]),
        (vec![404], vec![0]),
        (vec![], vec![0]),
    ] {
        let filter = AttemptFilter {
            status: Some(StatusFilter::Succeeded),
            or_failed_with: codes,
            ..base()
        };
        assert_eq!(select(filter).await, expected);
    }
    for (class, expected) in [(2, vec![0]), (4, vec![3]), (5, vec![1]), (1, vec![])] {
        let filter = AttemptFilter {
            status_class: Some(class),
            ..base()
        };
        assert_eq!(select(filter).await, expected, "{class}");
    }
    let event_types = vec!["order.paid".parse().unwrap(), "other".parse().unwrap()];
    let filter = AttemptFilter {
        event_types,
        ..base()
    };
    assert_eq!(select(filter).await, [1]);
    let channel = Some("north".parse().unwrap());
    let filter = AttemptFilter { channel, ..base() };
    assert_eq!(select(filter).await, [2]);
    let filter = AttemptFilter {
        after: Some(at(2)),
        ..base()
    };
    assert_eq!(select(filter).await, [3]);
    let filter = AttemptFilter {
        before: Some(at(1)),
        ..base()
    };
    assert_eq!(select(filter).await, [0]);
}

pub async fn only_the_newest_attempt_of_each_event_to_each_endpoint_is_listed_where_that_is_asked_for(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let (one, two) = (event(app, at(0)), event(app, at(1)));
    let (here, there) = (EndpointId::new(), EndpointId::new());
    let failed = |attempt: Attempt| Attempt {
        outcome: Outcome::Refused,
        status_code: Some(500),
        next_attempt_at: Some(at(99)),
        ..attempt
    };
    let first = failed(attempt(&one, here, at(10)));
    // In the same millisecond as the one that it follows.
    let last = Attempt {
        outcome: Outcome::Succeeded,
        status_code: Some(200),
        next_attempt_at: None,
        ..numbered(&first, 2, at(10))
    };
    let elsewhere = attempt(&one, there, at(30));
    let earlier = failed(attempt(&two, here, at(11)));
    let later = failed(numbered(&earlier, 2, at(20)));
    let all_of_them = [first, last.clone(), elsewhere, earlier, later.clone()];
    record(&*store, &all_of_them).await;
    let list = async |filter: AttemptFilter| {
        let filter = AttemptFilter {
            only_newest: true,
            ..filter
        };
        store.attempts(app, &filter, &all()).await.unwrap()
    };
    assert_eq!(list(to_endpoint(here)).await, [last.clone(), later.clone()]);
    assert_eq!(list(of_event(one.id)).await.len(), 2);
    let with = |status| AttemptFilter {
        status: Some(status),
        ..to_endpoint(here)
    };
    assert_eq!(list(with(StatusFilter::Succeeded)).await, [last]);
    assert_eq!(list(with(StatusFilter::Pending)).await, [later]);
    let before_the_newest = AttemptFilter {
        before: Some(at(20)),
        event: Some(two.id),
        ..to_endpoint(here)
    };
    assert_eq!(list(before_the_newest).await, []);
}

pub async fn the_latest_attempt_to_each_endpoint_is_the_newest(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let one = event(app, at(0));
    let mut hooks = [EndpointId::new(), EndpointId::new(), EndpointId::new()];
    hooks.sort();
    let by_time = attempt(&one, hooks[0], at(10));
    let by_number = attempt(&one, hooks[1], at(10));
    let by_generation = attempt(&one, hooks[2], at(10));
    let mut again = by_generation.clone();
    again.generation = 1_700_000_000_000;
    let again = numbered(&again, 1, at(10));
    let latest = [
        numbered(&by_time, 2, at(20)),
        numbered(&by_number, 2, at(10)),
        again,
    ];
    let older = [
        by_time.clone(),
        by_number,
        numbered(&by_generation, 9, at(10)),
    ];
    record(&*store, &latest).await;
    record(&*store, &older).await;
    let tried = store.tried(app, one.id).await.unwrap();
    let last = |attempt: &Attempt| Tried {
        endpoint: attempt.endpoint_id,
        last_at: attempt.started_at,
    };
    assert_eq!(tried, latest.each_ref().map(last));
    let newest = async |app, event, of: &[Tried]| {
        let found = store.latest_attempts(app, event, of).await;
        found.unwrap()
    };
    assert_eq!(newest(app, one.id, &tried).await, latest);
    assert_eq!(newest(app, one.id, &tried[1..2]).await, latest[1..2]);
    assert_eq!(newest(app, one.id, &[]).await, []);
    for (app, event) in [(AppId::new(), one.id), (app, EventId::new())] {
        assert_eq!(store.tried(app, event).await.unwrap(), []);
        assert_eq!(newest(app, event, &tried).await, []);
    }
    // Those of one page, however many endpoints the event went to.
    let many: Vec<Attempt> = (0..600)
        .map(|_| attempt(&one, EndpointId::new(), at(30)))
        .collect();
    record(&*store, &many).await;
    let tried = store.tried(app, one.id).await.unwrap();
    assert!(tried.is_sorted_by_key(|tried| tried.endpoint));
    assert_eq!(newest(app, one.id, &tried).await.len(), 603);
    assert_eq!(newest(app, one.id, &tried[100..350]).await.len(), 250);
}

pub async fn an_attempt_is_found_in_its_application_and_event_only(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let one = event(app, at(0));
    let made = attempt(&one, EndpointId::new(), at(1));
    record(&*store, std::slice::from_ref(&made)).await;
    let find = async |app, event, id| store.attempt(app, event, id).await.unwrap();
    assert_eq!(find(app, one.id, made.id).await, Some(made.clone()));
    assert_eq!(find(AppId::new(), one.id, made.id).await, None);
    assert_eq!(find(app, EventId::new(), made.id).await, None);
    let unknown = AttemptId::derive(&[b"unknown"]);
    assert_eq!(find(app, one.id, unknown).await, None);
}

pub async fn an_answer_of_any_bytes_comes_back_as_it_was(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let one = event(app, at(0));
    let mut made = attempt(&one, EndpointId::new(), at(1));
    let every_byte: Vec<u8> = (0..=255).collect();
    made.response_body = every_byte.into();
    made.error = "nul \0 and \u{fffd} and 'quotes'".into();
    made.url = "https://example.com/\u{fc}\0".into();
    record(&*store, std::slice::from_ref(&made)).await;
    let store = harness.reopen(store).await;
    let found = store.attempt(app, one.id, made.id).await.unwrap();
    assert_eq!(found, Some(made));
}

pub async fn old_attempts_go_in_small_batches_the_oldest_first(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let hook = EndpointId::new();
    let made: Vec<Attempt> = (0..6)
        .map(|seconds| attempt(&event(app, at(0)), hook, at(seconds)))
        .collect();
    let reversed: Vec<_> = made.iter().rev().cloned().collect();
    record(&*store, &reversed).await;
    let left = async || {
        let found = store.attempts(app, &to_endpoint(hook), &all()).await;
        found.unwrap()
    };
    assert_eq!(store.delete_attempts(at(5), 3).await.unwrap(), 3);
    assert_eq!(left().await, made[3..]);
    assert_eq!(store.delete_attempts(at(5), 3).await.unwrap(), 2);
    assert_eq!(store.delete_attempts(at(5), 3).await.unwrap(), 0);
    assert_eq!(left().await, made[5..]);
}
