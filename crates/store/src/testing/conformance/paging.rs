//! Every listing comes in pages, forwards and backwards, in both orders, without a gap or a repeat.

use std::fmt::Debug;

use postrider_model::{EndpointId, Event, EventId};

use super::Harness;
use super::config::event_type;
use super::samples::{
    application, at, attempt, dead_letter, endpoint, event, known_application, replay, token,
};
use crate::{
    AttemptFilter, DeadLetterFilter, EventFilter, HistoryBatch, HistoryKey, Order, Page, PageStart,
    TokenScope,
};

/// Things in a listing: an odd number, so that pages of two do not fit.
const COUNT: usize = 7;

/// Walks the listing of `expected`, which is in ascending order, in pages of two and of other sizes. `$list` is an async
/// expression over a page; a macro, because a closure would have to lend the page to a future.
macro_rules! walk {
    ($expected:expr, $key:expr, |$page:ident| $list:expr) => {{
        let (ascending, key) = ($expected, $key);
        assert_eq!(ascending.len(), COUNT);
        for order in [Order::Ascending, Order::Descending] {
            let mut expected = ascending.clone();
            if order == Order::Descending {
                expected.reverse();
            }
            for limit in [1, 2, COUNT, COUNT + 5] {
                let mut found = Vec::new();
                let mut start = PageStart::Beginning;
                loop {
                    let $page = Page {
                        limit,
                        start: start.clone(),
                        order,
                    };
                    let page = $list;
                    assert!(page.len() <= limit);
                    let Some(last) = page.last() else { break };
                    start = PageStart::After(key(last));
                    found.extend(page);
                }
                same(&found, &expected);
            }
            for (index, item) in expected.iter().enumerate() {
                let start = PageStart::Before(key(item));
                let $page = Page {
                    limit: 2,
                    start,
                    order,
                };
                let page = $list;
                same(&page, &expected[index.saturating_sub(2)..index]);
            }
        }
    }};
}

fn same<T: PartialEq + Debug>(found: &[T], expected: &[T]) {
    assert!(found == expected, "{found:#?}\nis not\n{expected:#?}");
}

pub async fn applications_come_in_pages_in_both_orders(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let mut made = Vec::new();
    for n in 0..COUNT {
        let one = application(&n.to_string());
        made.push(store.insert_application(&one).await.unwrap());
    }
    made.sort_by_key(|one| one.id);
    walk!(made, |one: &crate::Application| one.id, |page| store
        .applications(&page)
        .await
        .unwrap());
}

pub async fn endpoints_come_in_pages_in_both_orders(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let other = known_application(&*store).await;
    let mut made = Vec::new();
    for _ in 0..COUNT {
        made.push(store.insert_endpoint(&endpoint(app)).await.unwrap());
        store.insert_endpoint(&endpoint(other)).await.unwrap();
    }
    made.sort_by_key(|one| one.id);
    walk!(made, |one: &postrider_model::Endpoint| one.id, |page| store
        .endpoints(app, &page)
        .await
        .unwrap());
}

pub async fn event_types_come_in_pages_in_both_orders(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let mut made = Vec::new();
    for name in ["B", "a", "a.b", "a-b", "b", "_", "0"] {
        let one = event_type(name);
        made.push(store.insert_event_type(&one).await.unwrap());
    }
    made.sort_by(|one, other| one.name.cmp(&other.name));
    walk!(
        made,
        |one: &crate::EventTypeInfo| one.name.clone(),
        |page| store.event_types(false, &page).await.unwrap()
    );
}

pub async fn tokens_come_in_pages_in_both_orders(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let mut made = Vec::new();
    for n in 0..COUNT {
        let one = token(u8::try_from(n).unwrap(), TokenScope::Operator);
        made.push(store.insert_token(&one).await.unwrap());
    }
    made.sort_by_key(|one| one.id);
    walk!(made, |one: &crate::TokenRecord| one.id, |page| store
        .tokens(&page)
        .await
        .unwrap());
}

/// Events of which several have one time, and some an id without time.
fn events_of_few_times(app: postrider_model::AppId) -> Vec<Event> {
    let mut made: Vec<Event> = (0..COUNT)
        .map(|n| event(app, at(i64::try_from(n).unwrap() / 3)))
        .collect();
    made[1].id = EventId::derive(&[b"1"]);
    made[4].id = EventId::derive(&[b"4"]);
    made[5].id = EventId::derive(&[b"5"]);
    made
}

pub async fn events_of_one_time_come_in_pages_by_id(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let mut made = events_of_few_times(app);
    let mut batch = HistoryBatch {
        events: made.clone(),
        ..HistoryBatch::default()
    };
    batch
        .events
        .push(event(known_application(&*store).await, at(0)));
    store.record(&batch).await.unwrap();
    let key = |one: &Event| HistoryKey {
        at: one.accepted_at,
        id: *one.id.as_bytes(),
    };
    made.sort_by_key(key);
    let filter = EventFilter::default();
    walk!(made, key, |page| store
        .events(app, &filter, &page)
        .await
        .unwrap());
}

pub async fn attempts_of_one_time_come_in_pages_by_id(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let hook = EndpointId::new();
    let made = events_of_few_times(app);
    let made = made.iter().map(|one| attempt(one, hook, one.accepted_at));
    let mut made: Vec<_> = made.collect();
    let batch = HistoryBatch {
        attempts: made.iter().cloned().map(Into::into).collect(),
        ..HistoryBatch::default()
    };
    store.record(&batch).await.unwrap();
    let key = |one: &postrider_model::Attempt| HistoryKey {
        at: one.started_at,
        id: *one.id.as_bytes(),
    };
    made.sort_by_key(key);
    let filter = AttemptFilter {
        endpoint: Some(hook),
        ..AttemptFilter::default()
    };
    walk!(made, key, |page| store
        .attempts(app, &filter, &page)
        .await
        .unwrap());
}

pub async fn dead_letters_of_one_time_come_in_pages_by_id(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let events = events_of_few_times(app);
    let hook = store.insert_endpoint(&endpoint(app)).await.unwrap().id;
    let letters = events
        .iter()
        .map(|one| dead_letter(one, hook, one.accepted_at));
    let letters: Vec<_> = letters.collect();
    store.keep_dead_letters(&letters).await.unwrap();
    let stored = |letter: &postrider_model::DeadLetter| crate::StoredDeadLetter {
        letter: letter.clone(),
        replayed: None,
        deleted: None,
    };
    let mut made: Vec<_> = letters.iter().map(stored).collect();
    let key = |one: &crate::StoredDeadLetter| HistoryKey {
        at: one.letter.died_at,
        id: *one.letter.id.as_bytes(),
    };
    made.sort_by_key(key);
    for filter in [
        DeadLetterFilter::default(),
        DeadLetterFilter {
            app_id: Some(app),
            ..DeadLetterFilter::default()
        },
        DeadLetterFilter {
            endpoint_id: Some(hook),
            before: Some(at(1000)),
            ..DeadLetterFilter::default()
        },
        DeadLetterFilter {
            only_replayable: true,
            ..DeadLetterFilter::default()
        },
    ] {
        walk!(made.clone(), key, |page| store
            .dead_letters(&filter, &page)
            .await
            .unwrap());
    }
}

pub async fn replays_come_in_pages_in_both_orders(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let mut made = Vec::new();
    for _ in 0..COUNT {
        let one = replay(Some(app));
        store.insert_replay(&one).await.unwrap();
        made.push(one);
    }
    made.sort_by_key(|one| one.id);
    let key = |one: &crate::Replay| one.id;
    walk!(made.clone(), key, |page| store
        .replays(None, &page)
        .await
        .unwrap());
    let other = replay(None);
    store.insert_replay(&other).await.unwrap();
    walk!(made, key, |page| store
        .replays(Some(app), &page)
        .await
        .unwrap());
}
