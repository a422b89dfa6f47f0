//! History lies in partitions of a day, made ahead and dropped whole; what has none lies in the default one.

use std::time::Duration;

use postrider_model::{AppId, Event, EventId, Timestamp};
use postrider_store::{
    AttemptFilter, EventFilter, EventRef, History, HistoryBatch, HistoryKey, Store,
};

use super::databases::{Database, run};
use super::samples::{all, attempt, event, events, now};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn whole(event: &Event, started_at: Timestamp) -> HistoryBatch {
    HistoryBatch {
        attempts: vec![attempt(event, started_at).into()],
        ..events(std::slice::from_ref(event))
    }
}

async fn in_default(database: &Database) -> (i64, i64) {
    let events = database.number("SELECT count(*) FROM events_default");
    let attempts = database.number("SELECT count(*) FROM attempts_default");
    (events.await, attempts.await)
}

async fn listed(store: &dyn Store, app: AppId) -> Vec<Event> {
    let (filter, page) = (EventFilter::default(), all::<HistoryKey>());
    store.events(app, &filter, &page).await.unwrap()
}

#[tokio::test]
async fn what_is_of_today_lies_in_its_day_and_what_came_late_is_found_too() {
    let database = Database::new().await;
    let store = database.open().await;
    let app = AppId::new();
    let today = event(app, now());
    let late = event(app, now().minus(DAY * 400));
    let ahead = event(app, now().plus(DAY * 400));
    store.record(&whole(&today, now())).await.unwrap();
    assert_eq!(in_default(&database).await, (0, 0));
    store.record(&whole(&late, late.accepted_at)).await.unwrap();
    store
        .record(&events(std::slice::from_ref(&ahead)))
        .await
        .unwrap();
    assert_eq!(in_default(&database).await, (2, 1));
    let in_order = [late.clone(), today.clone(), ahead];
    assert_eq!(listed(&*store, app).await, in_order);
    for one in [late, today] {
        let found = store.event(app, &EventRef::Id(one.id)).await.unwrap();
        assert_eq!(found, Some(one.clone()));
        let filter = AttemptFilter {
            event: Some(one.id),
            ..AttemptFilter::default()
        };
        let found = store.attempts(app, &filter, &all()).await.unwrap();
        assert_eq!(found.len(), 1);
        let found = store.attempt(app, one.id, found[0].id).await.unwrap();
        assert!(found.is_some());
    }
}

#[tokio::test]
async fn retention_drops_the_partitions_of_days_that_are_over_their_age_and_no_others() {
    let database = Database::new().await;
    let store = database.open().await;
    let app = AppId::new();
    let made: Vec<Event> = (0..50).map(|_| event(app, now())).collect();
    for one in &made {
        store.record(&whole(one, now())).await.unwrap();
    }
    let partitions = |table: &str| {
        let query =
            format!("SELECT count(*) FROM pg_inherits WHERE inhparent = '{table}'::regclass");
        let database = &database;
        async move { database.number(&query).await }
    };
    // The day is not over, so all of it stays.
    store.delete_events(now(), 10).await.unwrap();
    store.delete_attempts(now(), 10).await.unwrap();
    assert_eq!(listed(&*store, app).await.len(), made.len());
    let (events, attempts) = (partitions("events").await, partitions("attempts").await);
    let later = now().plus(DAY * 2);
    store.delete_attempts(later, 10).await.unwrap();
    assert_eq!(listed(&*store, app).await.len(), made.len());
    assert!(partitions("attempts").await < attempts);
    store.delete_events(later, 10).await.unwrap();
    assert_eq!(listed(&*store, app).await, []);
    assert!(partitions("events").await < events);
    assert_eq!(partitions("events").await, partitions("fanouts").await);
    // Nothing is refused for want of a partition.
    store.record(&whole(&made[0], now())).await.unwrap();
    assert_eq!(in_default(&database).await, (1, 1));
    assert_eq!(listed(&*store, app).await, made[..1]);
}

#[tokio::test]
async fn the_rows_of_a_day_move_into_its_partition_when_that_is_made() {
    let database = Database::new().await;
    let store = database.open().await;
    let app = AppId::new();
    store.delete_events(now().plus(DAY * 3), 1).await.unwrap();
    store.delete_attempts(now().plus(DAY * 3), 1).await.unwrap();
    let (today, late) = (event(app, now()), event(app, now().minus(DAY * 9)));
    store.record(&whole(&today, now())).await.unwrap();
    store.record(&whole(&late, now())).await.unwrap();
    assert_eq!(in_default(&database).await, (2, 2));
    // Another process starts, and makes what is missing.
    let other = database.open().await;
    assert_eq!(in_default(&database).await, (1, 0));
    let in_order = [late, today];
    assert_eq!(listed(&*store, app).await, in_order);
    assert_eq!(listed(&*other, app).await, in_order);
}

#[tokio::test]
async fn an_event_that_its_producer_repeats_on_another_day_is_archived_once() {
    let database = Database::new().await;
    let store = database.open().await;
    let app = AppId::new();
    let first = Event {
        id: EventId::derive(&[b"from the producer"]),
        ..event(app, now().minus(DAY))
    };
    let again = Event {
        accepted_at: now(),
        ..first.clone()
    };
    let made = event(app, now());
    let batch = events(&[first.clone(), made.clone()]);
    store.record(&batch).await.unwrap();
    store
        .record(&events(&[again.clone(), made.clone()]))
        .await
        .unwrap();
    store.record(&batch).await.unwrap();
    assert_eq!(listed(&*store, app).await, [first.clone(), made.clone()]);
    let found = store.event(app, &EventRef::Id(first.id)).await.unwrap();
    assert_eq!(found, Some(first.clone()));
    let mut found = store.events_by_id(app, &[made.id, first.id]).await.unwrap();
    found.sort_by_key(|one| one.accepted_at);
    assert_eq!(found, [first, made]);
}

#[tokio::test]
async fn history_is_written_while_partitions_cannot_be_made() {
    let database = Database::new().await;
    let mut beside = database.connect().await;
    run(
        &mut beside,
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits \
         WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_default'::regclass \
         LOOP EXECUTE 'DROP TABLE ' || name; END LOOP; END $$",
    )
    .await;
    // Somebody reads the default partition for long, and has it locked against those who would make others.
    run(&mut beside, "BEGIN").await;
    run(
        &mut beside,
        "LOCK TABLE events_default IN ACCESS SHARE MODE",
    )
    .await;
    let store = database.open().await;
    let one = event(AppId::new(), now());
    store
        .record(&events(std::slice::from_ref(&one)))
        .await
        .unwrap();
    let written = std::slice::from_ref(&one);
    assert_eq!(listed(&*store, one.app_id).await, written);
    assert_eq!(in_default(&database).await.0, 1);
    run(&mut beside, "COMMIT").await;
    let other = database.open().await;
    assert_eq!(in_default(&database).await.0, 0);
    assert_eq!(listed(&*other, one.app_id).await, written);
}
