//! What goes wrong in the middle is said in words, and the store works on.

use std::time::Duration;

use postrider_model::{AppId, Event, EventId, EventOrigin, Timestamp};
use postrider_store::{Claim, Claims, EventRef, Halving, History, HistoryBatch, StoreError};
use sqlx::AssertSqlSafe;

use super::SqliteStore;
use crate::StoreMetrics;
use crate::metrics::Failure;

async fn store(dir: &tempfile::TempDir) -> SqliteStore {
    let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let path = dir.path().join("store.db");
    SqliteStore::open(&path, metrics).await.unwrap()
}

fn large_events(app_id: AppId) -> HistoryBatch {
    let event = |_| Event {
        id: EventId::new(),
        app_id,
        event_type: "a".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: Event::JSON.into(),
        payload: vec![b'x'; 100_000].into(),
        accepted_at: Timestamp::from_millis(1),
        trace: None,
        origin: EventOrigin::Accepted,
    };
    HistoryBatch {
        events: (0..10).map(event).collect(),
        ..HistoryBatch::default()
    }
}

async fn on_the_writer(store: &SqliteStore, statement: String) {
    let done = sqlx::query(AssertSqlSafe(statement)).execute(&store.writer);
    done.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_written_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let (app, pages) = (AppId::new(), 70);
    on_the_writer(&store, format!("PRAGMA max_page_count = {pages}")).await;
    let batch = large_events(app);
    let result = store.record(&batch).await;
    let Err(StoreError::Unavailable(words)) = result else {
        panic!("{result:?}");
    };
    assert!(words.contains("the disk is full"), "{words}");
    assert_eq!(store.metrics.failures.of(Failure::Unavailable).get(), 1);
    let by = EventRef::Id(batch.events[0].id);
    assert_eq!(store.event(app, &by).await.unwrap(), None);
    on_the_writer(&store, "PRAGMA max_page_count = 1000000".into()).await;
    store.record(&batch).await.unwrap();
    assert!(store.event(app, &by).await.unwrap().is_some());
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_by_itself_does_not_stop_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let mut tx = store.begin().await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
    drop(tx);
    store.record(&large_events(AppId::new())).await.unwrap();
}

#[tokio::test]
async fn a_stored_row_that_cannot_be_read_is_named_by_its_column() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let app = AppId::new();
    let batch = large_events(app);
    store.record(&batch).await.unwrap();
    on_the_writer(&store, "UPDATE events SET event_type = 'not a type'".into()).await;
    let by = EventRef::Id(batch.events[0].id);
    let error = store.event(app, &by).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    assert!(error.to_string().contains("event_type: "), "{error}");
}

#[tokio::test]
async fn a_call_that_was_abandoned_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let batch = large_events(AppId::new());
    for micros in 0..40 {
        let patience = Duration::from_micros(micros * 50);
        // Whether it was in time does not matter here.
        let _ = tokio::time::timeout(patience, store.record(&batch)).await;
    }
    let at = Timestamp::from_millis;
    let claim = store.claim("k", "a", &[0; 32], at(0), at(1));
    let claim = tokio::time::timeout(Duration::from_secs(10), claim).await;
    assert_eq!(claim.unwrap().unwrap(), Claim::Ours { since: at(0) });
}

#[tokio::test]
async fn a_row_that_a_constraint_refuses_is_refused_alone_and_all_others_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let app = AppId::new();
    let batch = large_events(app);
    let bad = &batch.events[6];
    let hex: String = bad
        .id
        .as_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let trigger = format!(
        "CREATE TRIGGER refuses BEFORE INSERT ON events WHEN new.id = x'{hex}' \
         BEGIN SELECT raise(ABORT, 'testing'); END"
    );
    on_the_writer(&store, trigger).await;
    let mut halving = Halving::over(batch.events.len());
    let mut refused = Vec::new();
    while let Some(part) = halving.part() {
        let part = HistoryBatch {
            events: batch.events[part].to_vec(),
            ..HistoryBatch::default()
        };
        match store.record(&part).await {
            Ok(()) => halving.written(),
            Err(StoreError::Refused(_)) => refused.extend(halving.refused()),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, [6]);
    let ids: Vec<EventId> = batch.events.iter().map(|event| event.id).collect();
    let archived = store.events_by_id(app, &ids).await.unwrap();
    assert_eq!(archived.len(), ids.len() - 1);
    assert!(archived.iter().all(|event| event.id != bad.id));
}
