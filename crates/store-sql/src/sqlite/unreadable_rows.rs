//! A stored row that cannot be read hides itself and nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_model::{
    AppId, Class, DeadLetter, DeathReason, Delivery, Endpoint, EndpointId, EndpointPolicy, Event,
    EventId, EventOrigin, Id, IdKind, Timestamp,
};
use postrider_store::{
    Application, Applications, Change, ConfigFeed, DeadLetterFilter, DeadLetters, EndpointRef,
    Endpoints, HistoryKey, Order, Page, PageStart, StoreError,
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

async fn dead_letters(store: &SqliteStore, count: i64) -> Vec<DeadLetter> {
    let letter = |died_at| {
        let event = Event {
            id: EventId::new(),
            app_id: AppId::new(),
            event_type: "order.paid".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: Event::JSON.into(),
            payload: Bytes::from_static(b"{}"),
            accepted_at: at(1),
            trace: None,
            origin: EventOrigin::Accepted,
        };
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
