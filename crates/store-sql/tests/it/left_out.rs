//! Dead letters of before there was a column that says whether their payload was left out.

use postrider_model::{
    AppId, Class, DeadLetter, DeathReason, Delivery, EndpointId, Event, EventId, EventOrigin,
    Timestamp,
};
use postrider_store::{Closing, DeadLetters};
use postrider_store_sql::SqliteStore;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::metrics;

/// One with a payload, one whose payload was left out, and likewise with words on the last attempt.
pub(crate) fn letters() -> Vec<DeadLetter> {
    let at = Timestamp::from_millis(1);
    let letter = |error: &str| {
        let event = Event {
            id: EventId::new(),
            app_id: AppId::new(),
            event_type: "order.created".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: Event::JSON.into(),
            payload: "{}".into(),
            accepted_at: at,
            trace: None,
            origin: EventOrigin::Accepted,
        };
        let to = EndpointId::new();
        let delivery = Delivery::of_event(&event, (0, 1), to, 1, Class::Normal, at);
        DeadLetter {
            last_error: error.to_owned(),
            ..DeadLetter::of(delivery, DeathReason::TooLarge, at)
        }
    };
    let with = ["", "refused"].map(letter);
    let without = with.clone().map(DeadLetter::without_payload);
    // Each is a dead letter of its own.
    let other = |mut letter: DeadLetter| {
        letter.delivery.generation += 1;
        letter.id = letter.delivery.dead_letter_id();
        letter
    };
    with.into_iter()
        .chain(without.into_iter().map(other))
        .collect()
}

/// The statement of a step that looks through what is there.
fn statement(step: &str) -> AssertSqlSafe<String> {
    let from = step.find("UPDATE").unwrap();
    AssertSqlSafe(step[from..].to_owned())
}

#[tokio::test]
async fn letters_of_before_whose_payload_was_left_out_are_known_in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.keep_dead_letters(&letters()).await.unwrap();
    store.close().await;
    let url = format!("sqlite:{}", path.display());
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let count = "SELECT count(*) FROM dead_letters WHERE payload_left_out";
    let counted: i64 = sqlx::query_scalar(count).fetch_one(&mut raw).await.unwrap();
    assert_eq!(counted, 2, "written with it");
    let before = "UPDATE dead_letters SET payload_left_out = 0";
    sqlx::query(before).execute(&mut raw).await.unwrap();
    let step = include_str!("../../migrations/sqlite/0004_expand_left_out.sql");
    let done = sqlx::query(statement(step))
        .execute(&mut raw)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 2);
    let counted: i64 = sqlx::query_scalar(count).fetch_one(&mut raw).await.unwrap();
    assert_eq!(counted, 2, "found by the step");
}
