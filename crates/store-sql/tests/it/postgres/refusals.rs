//! What the database will never take, and what in it cannot be read.

use std::time::Duration;

use postrider_model::{
    AppId, Class, DeadLetter, DeathReason, Delivery, EndpointId, EventId, Timestamp,
};
use postrider_store::{
    ApplicationRef, Applications, Change, Claims, ConfigFeed, DeadLetterFilter, DeadLetters,
    EventFilter, EventRef, History, HistoryKey, Order, Page, PageStart, StoreError,
};

use super::databases::{Database, run};
use super::samples::{application, event, events, now};

#[tokio::test]
async fn what_postgresql_never_takes_is_refused_and_not_tried_again() {
    let database = Database::new().await;
    let store = database.open().await;
    let zero = store.insert_application(&application("a\0b")).await;
    assert!(matches!(zero, Err(StoreError::Refused(_))), "{zero:?}");
    // Longer than an index bears, and not to be compressed.
    let names = (0..200u32).map(|n| EventId::derive(&[&n.to_be_bytes()]).to_string());
    let long: String = names.collect();
    let claim = store.claim(&long, "a", &[0; 32], now(), now()).await;
    assert!(matches!(claim, Err(StoreError::Refused(_))), "{claim:?}");
}

#[tokio::test]
async fn headers_of_an_event_may_hold_any_character() {
    let database = Database::new().await;
    let store = database.open().await;
    let mut one = event(AppId::new(), now());
    one.content_type = "text/plain; x=\0\u{fffd}".into();
    one.payload = vec![0, 0xff, 0xfe].into();
    store
        .record(&events(std::slice::from_ref(&one)))
        .await
        .unwrap();
    let found = store.event(one.app_id, &EventRef::Id(one.id)).await;
    assert_eq!(found.unwrap(), Some(one));
}

#[tokio::test]
async fn a_stored_row_that_cannot_be_read_hides_itself_and_nothing_else() {
    let database = Database::new().await;
    let store = database.open().await;
    let bad = store.insert_application(&application("bad")).await.unwrap();
    let good = store
        .insert_application(&application("good"))
        .await
        .unwrap();
    let mut beside = database.connect().await;
    run(
        &mut beside,
        "UPDATE applications SET metadata = '{' WHERE name = 'bad'",
    )
    .await;
    let changes = store.changes(0).await.unwrap();
    assert_eq!(changes.items, [Change::Application(good.into())]);
    let by = ApplicationRef::Id(bad.id);
    let asked = store.application(&by).await;
    assert!(matches!(asked, Err(StoreError::Unreadable(_))), "{asked:?}");
}

#[tokio::test]
async fn pages_of_dead_letters_are_full_and_go_past_the_rows_that_cannot_be_read() {
    let database = Database::new().await;
    let store = database.open().await;
    let letter = |n: i64| {
        let one = event(AppId::new(), now());
        let delivery = Delivery::of_event(&one, (0, 1), EndpointId::new(), 1, Class::Normal, now());
        DeadLetter::of(delivery, DeathReason::Exhausted, Timestamp::from_millis(n))
    };
    let letters: Vec<DeadLetter> = (1..=9).map(letter).collect();
    store.keep_dead_letters(&letters).await.unwrap();
    let mut beside = database.connect().await;
    let spoil = "UPDATE dead_letters SET letter = '\\xff' WHERE died_at IN (1, 3, 4, 5, 9)";
    run(&mut beside, spoil).await;
    let (filter, mut start, mut found) =
        (DeadLetterFilter::default(), PageStart::Beginning, vec![]);
    loop {
        let page = Page {
            limit: 2,
            start,
            order: Order::Ascending,
        };
        let part = store.dead_letters(&filter, &page).await.unwrap();
        found.extend(part.iter().map(|stored| stored.letter.died_at.as_millis()));
        let Some(last) = part.last().filter(|_| part.len() == 2) else {
            break;
        };
        start = PageStart::After(HistoryKey {
            at: last.letter.died_at,
            id: *last.letter.id.as_bytes(),
        });
    }
    assert_eq!(found, [2, 6, 7, 8]);
}

#[tokio::test]
async fn pages_of_events_go_past_the_rows_that_cannot_be_read() {
    let database = Database::new().await;
    let store = database.open().await;
    let app = AppId::new();
    let first = now();
    let at = |n| first.plus(Duration::from_millis(n));
    let all: Vec<_> = (0..9).map(|n| event(app, at(n))).collect();
    store.record(&events(&all)).await.unwrap();
    let mut beside = database.connect().await;
    let spoil = "UPDATE events SET event_type = ' ' WHERE id IN \
        (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY accepted_at) AS n FROM events) numbered \
         WHERE n IN (1, 3, 4, 5, 9))";
    run(&mut beside, spoil).await;
    let (filter, mut start, mut found) = (EventFilter::default(), PageStart::Beginning, vec![]);
    loop {
        let page = Page {
            limit: 2,
            start,
            order: Order::Ascending,
        };
        let part = store.events(app, &filter, &page).await.unwrap();
        found.extend(part.iter().map(|event| event.id));
        let Some(last) = part.last().filter(|_| part.len() == 2) else {
            break;
        };
        start = PageStart::After(HistoryKey {
            at: last.accepted_at,
            id: *last.id.as_bytes(),
        });
    }
    assert_eq!(found, [1, 5, 6, 7].map(|n: usize| all[n].id));
    let ids: Vec<_> = all.iter().map(|event| event.id).collect();
    assert_eq!(store.events_by_id(app, &ids).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_the_server_does_not_do_says_so_and_costs_no_connection() {
    let database = Database::new().await;
    let store = database.open().await;
    let by = ApplicationRef::Id(AppId::new());
    store.application(&by).await.unwrap();
    let mut beside = database.connect().await;
    // Statements that say what is at fault, and connections of before, which are to be there afterwards.
    for statement in [
        "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'no such thing here' USING ERRCODE = 'feature_not_supported'; END $$",
        "CREATE TRIGGER refuses BEFORE INSERT ON applications EXECUTE FUNCTION refuses()",
        "CREATE TABLE backends AS SELECT pid FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    ] {
        run(&mut beside, statement).await;
    }
    let refused = store.insert_application(&application("a")).await;
    let Err(StoreError::Unavailable(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("no such thing here"), "{why}");
    for _ in 0..10 {
        store.application(&by).await.unwrap();
    }
    let lost = "SELECT count(*) FROM backends WHERE pid NOT IN (SELECT pid FROM pg_stat_activity)";
    assert_eq!(database.number(lost).await, 0);
    assert!(database.number("SELECT count(*) FROM backends").await > 0);
}
