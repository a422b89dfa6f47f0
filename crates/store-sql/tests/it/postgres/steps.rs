//! Steps of the schema on a database that has rows, and that others work with.

use std::time::Duration;

use postrider_store::{
    Closing, DeadLetterFilter, DeadLetters, Order, Page, PageStart, StoredDeadLetter,
};
use postrider_testkit::eventually;
use sqlx::{Connection, PgConnection};

use super::databases::{Database, run};
use crate::left_out::letters;

const DEADLINE: Duration = Duration::from_secs(60);

/// Makes the database one of before the step that adds the column.
async fn back_before_left_out(on: &mut PgConnection) {
    run(on, "DELETE FROM _sqlx_migrations WHERE version = 4").await;
    run(on, "ALTER TABLE dead_letters DROP COLUMN payload_left_out").await;
}

/// Gives each dead letter the endpoint that it was for.
async fn with_endpoints(on: &mut PgConnection) {
    run(
        on,
        "INSERT INTO applications (id, name, metadata, version, created_at, updated_at) \
         SELECT app_id, '', '{}', 1000 + row_number() OVER (), 0, 0 FROM \
         (SELECT DISTINCT app_id FROM dead_letters) AS known",
    )
    .await;
    run(
        on,
        "INSERT INTO endpoints (id, app_id, url, description, metadata, final_statuses, headers, secrets, version, \
         created_at, updated_at) SELECT endpoint_id, app_id, 'https://example.com/', '', '{}', '[]', '{}', '[]', \
         2000 + row_number() OVER (), 0, 0 FROM (SELECT DISTINCT endpoint_id, app_id FROM dead_letters) AS known",
    )
    .await;
}

/// Neither the step nor an older process beside it marks them.
#[tokio::test]
async fn letters_whose_payload_was_left_out_are_known_also_where_nobody_marked_them() {
    let database = Database::new().await;
    let store = database.open().await;
    let letters = letters();
    store.keep_dead_letters(&letters).await.unwrap();
    let marked = "SELECT count(*) FROM dead_letters WHERE payload_left_out";
    assert_eq!(database.number(marked).await, 2);
    let mut beside = database.connect().await;
    with_endpoints(&mut beside).await;
    store.close().await;
    back_before_left_out(&mut beside).await;

    let store = database.open().await;
    assert_eq!(database.number(marked).await, 0);
    let filter = DeadLetterFilter {
        only_replayable: true,
        ..DeadLetterFilter::default()
    };
    assert_eq!(store.count_dead_letters(&filter).await.unwrap(), 2);
    let page = Page {
        limit: 10,
        start: PageStart::Beginning,
        order: Order::Ascending,
    };
    let listed = store.dead_letters(&filter, &page).await.unwrap();
    let left_out = |stored: &StoredDeadLetter| stored.letter.payload_left_out;
    assert!(listed.len() == 2 && !listed.iter().any(left_out));
    let everything = DeadLetterFilter::default();
    let all = store.count_dead_letters(&everything).await.unwrap();
    assert_eq!(all, letters.len() as u64);
    store.close().await;
}

/// Somebody's long query holds the table. The step's lock has to wait for it, and whoever comes later for that lock.
#[tokio::test]
async fn a_step_that_waits_for_a_lock_lets_others_pass_and_is_done_at_last() {
    let database = Database::new().await;
    let mut reader = database.connect().await;
    back_before_left_out(&mut reader).await;
    let mut reading = reader.begin().await.unwrap();
    let look = "SELECT FROM dead_letters";
    run(&mut reading, look).await;
    let opening = async {
        let store = database.open().await;
        store.close().await;
    };
    let passing = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' \
             AND relation = 'dead_letters'::regclass AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database())";
        for _ in 0..2 {
            eventually("the step waits", DEADLINE, async || {
                (database.number(waits).await > 0).then_some(())
            })
            .await
            .unwrap();
            let mut other = database.connect().await;
            let passes = run(&mut other, look);
            tokio::time::timeout(DEADLINE, passes).await.unwrap();
        }
        reading.rollback().await.unwrap();
    };
    let both = Box::pin(async { tokio::join!(opening, passing) });
    tokio::time::timeout(DEADLINE * 3, both).await.unwrap();
    let there =
        "SELECT count(*) FROM information_schema.columns WHERE column_name = 'payload_left_out'";
    assert_eq!(database.number(there).await, 1);
}

/// A step of a build between releases, in whose place there is another now.
#[tokio::test]
async fn a_database_with_the_step_that_was_in_no_release_goes_on() {
    let database = Database::new().await;
    let mut beside = database.connect().await;
    run(
        &mut beside,
        "UPDATE _sqlx_migrations SET version = 3, checksum = '' WHERE version = 4",
    )
    .await;
    for _ in 0..2 {
        database.open().await.close().await;
    }
    let steps = "SELECT sum(version)::bigint FROM _sqlx_migrations";
    assert_eq!(database.number(steps).await, 1 + 2 + 3 + 4);
}
