//! A stored row that cannot be read hides itself and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use postrider_model::{
    AppId, Attempt, Class, DeadLetter, DeathReason, Delivery, Endpoint, EndpointId, EndpointPolicy,
    Event, EventId, EventOrigin, Id, IdKind, Outcome, ReplayId, Timestamp,
};
use postrider_store::{
    Application, Applications, AttemptFilter, Change, ConfigFeed, DeadLetterFilter, DeadLetters,
    EndpointRef, Endpoints, EventFilter, EventRef, History, HistoryBatch, HistoryKey, Order, Page,
    PageStart, Replay, ReplayStatus, Replays, Selection, StoreError,
};
use sqlx::AssertSqlSafe;

use super::SqliteStore;
use crate::StoreMetrics;
use crate::measure::hex;
use crate::metrics::Skipped;

async fn store(dir: &tempfile::TempDir) -> SqliteStore {
    let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let path = dir.path().join("store.db");
    SqliteStore::open(&path, metrics).await.unwrap()
}

async fn spoil<K: IdKind>(store: &SqliteStore, change: &str, id: Id<K>) {
    let id = hex(id.as_bytes());
    let statement = AssertSqlSafe(format!("UPDATE {change} WHERE id = {id}"));
    let done = sqlx::query(statement).execute(&store.writer).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

async fn application(store: &SqliteStore) -> Application {
    let application = Application {
        id: AppId::new(),
        uid: None,
        name: "shop".into(),
        metadata: BTreeMap::new(),
        rate_limit: None,
        version: 0,
        created_at: at(1),
        updated_at: at(1),
    };
    store.insert_application(&application).await.unwrap()
}

async fn endpoint(store: &SqliteStore, app_id: AppId) -> Endpoint {
    let endpoint = Endpoint {
        id: EndpointId::new(),
        app_id,
        uid: None,
        url: "https://example.com/hook".parse().unwrap(),
        description: String::new(),
        metadata: BTreeMap::new(),
        event_types: None,
        channels: None,
        disabled: None,
        policy: EndpointPolicy::default().shared(),
        secrets: Vec::new(),
        version: 0,
        created_at: at(1),
        updated_at: at(1),
    };
    store.insert_endpoint(&endpoint).await.unwrap()
}

fn event(app_id: AppId, accepted_at: Timestamp) -> Event {
    Event {
        id: EventId::new(),
        app_id,
        event_type: "order.paid".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: Event::JSON.into(),
        payload: Bytes::from_static(b"{}"),
        accepted_at,
        trace: None,
        origin: EventOrigin::Accepted,
    }
}

fn attempt(event: &Event, endpoint: EndpointId) -> Attempt {
    let delivery = Delivery::of_event(event, (0, 1), endpoint, 1, Class::Normal, at(9));
    Attempt {
        id: delivery.attempt_id(1),
        delivery_id: delivery.id,
        generation: 0,
        number: 1,
        event_id: event.id,
        app_id: event.app_id,
        endpoint_id: endpoint,
        event_type: event.event_type.clone(),
        endpoint_version: 1,
        url: "https://example.com/".into(),
        started_at: event.accepted_at,
        duration: Duration::from_millis(1),
        outcome: Outcome::Succeeded,
        status_code: Some(200),
        response_body: Bytes::new(),
        error: String::new(),
        next_attempt_at: None,
        trigger: delivery.trigger,
        accepted_at: event.accepted_at,
        exhausted: false,
    }
}

fn replay(app_id: AppId) -> Replay {
    Replay {
        id: ReplayId::new(),
        app_id: Some(app_id),
        selection: Selection::Ids(Vec::new()),
        rate: 1,
        status: ReplayStatus::Paused,
        paused_because: None,
        total: 0,
        done: 0,
        failed: 0,
        cursor: None,
        requested_by: "a test".into(),
        generation: 1,
        created_at: at(1),
        updated_at: at(1),
    }
}

/// The items of a listing in the order of their keys, from first to last, as pages of two lead to them.
macro_rules! turned {
    ($key:expr, |$page:ident| $list:expr) => {{
        let (mut found, mut start) = (Vec::new(), PageStart::Beginning);
        loop {
            let $page = Page {
                limit: 2,
                start,
                order: Order::Ascending,
            };
            let part = $list;
            found.extend(part.iter().cloned());
            let Some(last) = part.last().filter(|_| part.len() == 2) else {
                break found;
            };
            start = PageStart::After($key(last));
        }
    }};
}

async fn dead_letters(store: &SqliteStore, count: i64) -> Vec<DeadLetter> {
    let letter = |died_at| {
        let event = event(AppId::new(), at(1));
        let delivery =
            Delivery::of_event(&event, (0, 1), EndpointId::new(), 1, Class::Normal, at(9));
        DeadLetter::of(delivery, DeathReason::Exhausted, at(died_at))
    };
    let letters: Vec<DeadLetter> = (1..=count).map(letter).collect();
    store.keep_dead_letters(&letters).await.unwrap();
    letters
}

#[tokio::test]
async fn the_feed_shows_everything_but_the_rows_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let app = application(&store).await;
    let bad = endpoint(&store, app.id).await;
    let good = endpoint(&store, app.id).await;
    spoil(&store, "endpoints SET url = 'no URL'", bad.id).await;
    let changes = store.changes(0).await.unwrap();
    assert_eq!(changes.version, good.version);
    let shown: Vec<EndpointId> = changes
        .items
        .iter()
        .filter_map(|change| match change {
            Change::Endpoint(endpoint) => Some(endpoint.id),
            _ => None,
        })
        .collect();
    assert_eq!((shown, changes.items.len()), (vec![good.id], 2));
    assert_eq!(store.metrics.skipped.of(Skipped::Endpoint).get(), 1);
    let by = EndpointRef::Id(bad.id);
    let asked = store.endpoint(app.id, &by).await;
    assert!(matches!(asked, Err(StoreError::Unreadable(_))), "{asked:?}");
}

#[tokio::test]
async fn an_application_and_a_removal_that_cannot_be_read_are_left_out_of_the_feed_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    // Somebody who has read nothing is shown no removals.
    let known = application(&store).await;
    let (bad, good) = (application(&store).await, application(&store).await);
    let removed = endpoint(&store, good.id).await;
    store.delete_endpoint(good.id, removed.id).await.unwrap();
    spoil(&store, "applications SET metadata = '{'", bad.id).await;
    spoil(&store, "removed SET app_id = x'00'", removed.id).await;
    let changes = store.changes(known.version).await.unwrap();
    let [Change::Application(shown)] = &changes.items[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(shown.id, good.id);
    for kind in [Skipped::Application, Skipped::Removal] {
        assert_eq!(store.metrics.skipped.of(kind).get(), 1);
    }
}

#[tokio::test]
async fn pages_of_dead_letters_are_full_and_go_past_the_rows_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let letters = dead_letters(&store, 20).await;
    let bad = [0, 2, 3, 4, 5, 11, 19];
    for index in bad {
        spoil(&store, "dead_letters SET letter = x'FF'", letters[index].id).await;
    }
    let mut expected: Vec<DeadLetter> = letters.clone();
    expected.retain(|letter| bad.iter().all(|index| letters[*index].id != letter.id));
    for order in [Order::Ascending, Order::Descending] {
        let (mut found, mut start) = (Vec::new(), PageStart::Beginning);
        loop {
            let page = Page {
                limit: 3,
                start,
                order,
            };
            let filter = DeadLetterFilter::default();
            let part = store.dead_letters(&filter, &page).await.unwrap();
            found.extend(part.iter().map(|stored| stored.letter.clone()));
            let Some(last) = part.last().filter(|_| part.len() == 3) else {
                break;
            };
            start = PageStart::After(HistoryKey {
                at: last.letter.died_at,
                id: *last.letter.id.as_bytes(),
            });
        }
        assert_eq!(found, expected);
        expected.reverse();
    }
    assert!(store.metrics.skipped.of(Skipped::DeadLetter).get() >= 2 * bad.len() as u64);
    let asked = store.dead_letter(letters[0].id).await;
    assert!(matches!(asked, Err(StoreError::Unreadable(_))), "{asked:?}");
}

/// Which of nine rows are spoiled: the first, the last, and more in a row than a page has.
const BAD: [usize; 5] = [0, 2, 3, 4, 8];

fn good<T: Clone>(rows: &[T]) -> Vec<T> {
    let good = rows.iter().enumerate().filter(|(n, _)| !BAD.contains(n));
    good.map(|(_, row)| row.clone()).collect()
}

#[tokio::test]
async fn pages_of_events_are_full_and_go_past_the_rows_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let app = application(&store).await.id;
    let events: Vec<Event> = (1..=9).map(|n| event(app, at(n))).collect();
    let batch = HistoryBatch {
        events: events.clone(),
        ..HistoryBatch::default()
    };
    store.record(&batch).await.unwrap();
    for bad in BAD {
        spoil(&store, "events SET event_type = ' '", events[bad].id).await;
    }
    let key = |event: &Event| HistoryKey {
        at: event.accepted_at,
        id: *event.id.as_bytes(),
    };
    let filter = EventFilter::default();
    let found = turned!(key, |page| store.events(app, &filter, &page).await.unwrap());
    assert_eq!(found, good(&events));
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    assert_eq!(store.events_by_id(app, &ids).await.unwrap().len(), 4);
    assert!(store.metrics.skipped.of(Skipped::Event).get() >= 2 * BAD.len() as u64);
    let asked = store.event(app, &EventRef::Id(ids[0])).await;
    assert!(matches!(asked, Err(StoreError::Unreadable(_))), "{asked:?}");
}

#[tokio::test]
async fn attempts_that_cannot_be_read_are_left_out_unless_all_of_them_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let app = application(&store).await.id;
    let hook = EndpointId::new();
    let events: Vec<Event> = (1..=9).map(|n| event(app, at(n))).collect();
    let attempts: Vec<Attempt> = events.iter().map(|event| attempt(event, hook)).collect();
    let batch = HistoryBatch {
        attempts: attempts.iter().cloned().map(Into::into).collect(),
        ..HistoryBatch::default()
    };
    store.record(&batch).await.unwrap();
    for bad in BAD {
        spoil(&store, "attempts SET detail = x'FF'", attempts[bad].id).await;
    }
    let key = |attempt: &Attempt| HistoryKey {
        at: attempt.started_at,
        id: *attempt.id.as_bytes(),
    };
    let mut filter = AttemptFilter {
        endpoint: Some(hook),
        ..AttemptFilter::default()
    };
    let found = turned!(key, |page| store
        .attempts(app, &filter, &page)
        .await
        .unwrap());
    assert_eq!(found, good(&attempts));
    assert!(store.metrics.skipped.of(Skipped::Attempt).get() >= BAD.len() as u64);
    for (row, is_there) in [(0, false), (1, true)] {
        let event = events[row].id;
        let tried = store.tried(app, event).await.unwrap();
        let latest = store.latest_attempts(app, event, &tried).await.unwrap();
        assert_eq!((tried.len(), latest.len()), (1, usize::from(is_there)));
    }
    filter.all_readable = true;
    let page = Page {
        limit: 3,
        start: PageStart::Beginning,
        order: Order::Descending,
    };
    let asked = store.attempts(app, &filter, &page).await;
    assert!(matches!(asked, Err(StoreError::Unreadable(_))), "{asked:?}");
}

#[tokio::test]
async fn replays_that_cannot_be_read_are_left_out_of_their_listing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let app = application(&store).await.id;
    let mut replays: Vec<Replay> = (0..9).map(|_| replay(app)).collect();
    replays.sort_by_key(|replay| replay.id);
    for replay in &replays {
        store.insert_replay(replay).await.unwrap();
    }
    for bad in BAD {
        spoil(&store, "replays SET status = 'lost'", replays[bad].id).await;
    }
    let key = |replay: &Replay| replay.id;
    let found = turned!(key, |page| store.replays(None, &page).await.unwrap());
    assert_eq!(found, good(&replays));
    assert!(store.metrics.skipped.of(Skipped::Replay).get() >= BAD.len() as u64);
}
