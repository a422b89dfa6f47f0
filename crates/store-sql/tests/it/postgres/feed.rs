//! The feed misses nothing, in whatever order transactions begin and commit.

use std::sync::Arc;
use std::time::Duration;

use postrider_store::{Applications, Change, ConfigFeed, StoreError};
use postrider_store_sql::{PostgresOptions, PostgresStore};
use postrider_testkit::eventually;

use super::databases::{Database, run};
use super::samples::application;

/// A change as this program makes it, by hand: it takes the next version.
const CHANGE: &str = "WITH next AS (UPDATE meta SET version = version + 1 RETURNING version) \
    INSERT INTO applications (id, name, metadata, version, created_at, updated_at) \
    SELECT gen_random_uuid(), 'by hand', '{}', version, 0, 0 FROM next";

const DEADLINE: Duration = Duration::from_secs(30);

/// The names of the applications that the feed shows since `since`, and how far it has come.
async fn shown(store: &PostgresStore, since: u64) -> (Vec<String>, u64) {
    let changes = store.changes(since).await.unwrap();
    let name = |change: &Change| match change {
        Change::Application(application) => application.name.clone(),
        other => panic!("{other:?} was not made"),
    };
    (changes.items.iter().map(name).collect(), changes.next)
}

#[tokio::test]
async fn a_change_whose_transaction_began_before_another_and_commits_after_it_is_seen() {
    let database = Database::new().await;
    let store = database.open().await;
    store
        .insert_application(&application("first"))
        .await
        .unwrap();
    let (_, since) = shown(&store, 0).await;
    let mut earlier = database.connect().await;
    run(&mut earlier, "BEGIN").await;
    // It has a snapshot and an id of its own, and has not yet come to its change.
    run(
        &mut earlier,
        "INSERT INTO claims VALUES ('k', 'h', '', 0, 0)",
    )
    .await;
    store
        .insert_application(&application("later"))
        .await
        .unwrap();
    let (names, next) = shown(&store, since).await;
    assert_eq!(
        names,
        ["later"],
        "the one that committed first is not hidden"
    );
    run(&mut earlier, CHANGE).await;
    assert_eq!(shown(&store, next).await, (vec![], next));
    run(&mut earlier, "COMMIT").await;
    let (names, _) = shown(&store, next).await;
    assert_eq!(names, ["by hand"]);
}

#[tokio::test]
async fn a_change_that_is_made_while_an_earlier_one_is_held_open_waits_and_both_are_seen() {
    for end in ["COMMIT", "ROLLBACK"] {
        let database = Database::new().await;
        let store = database.open().await;
        store
            .insert_application(&application("first"))
            .await
            .unwrap();
        let (_, since) = shown(&store, 0).await;
        let mut earlier = database.connect().await;
        run(&mut earlier, "BEGIN").await;
        run(&mut earlier, CHANGE).await;
        let later = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.insert_application(&application("later")).await }
        });
        let waits = "SELECT count(*) FROM pg_stat_activity \
            WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let waiting = async || (database.number(waits).await == 1).then_some(());
        eventually("the later change waits", DEADLINE, waiting)
            .await
            .unwrap();
        // Readers wait for nobody.
        assert_eq!(shown(&store, since).await, (vec![], since));
        run(&mut earlier, end).await;
        later.await.unwrap().unwrap();
        let (names, next) = shown(&store, since).await;
        let expected: &[&str] = match end {
            "COMMIT" => &["by hand", "later"],
            _ => &["later"],
        };
        assert_eq!(names, expected);
        assert_eq!(shown(&store, next).await, (vec![], next));
    }
}

#[tokio::test]
async fn a_change_does_not_wait_for_ever_behind_one_that_is_held_open() {
    let database = Database::new().await;
    let options = PostgresOptions {
        lock_timeout: Duration::from_millis(100),
        ..PostgresOptions::default()
    };
    let store = database.open_with(options).await;
    let mut earlier = database.connect().await;
    run(&mut earlier, "BEGIN").await;
    run(&mut earlier, CHANGE).await;
    let later = application("later");
    let refused = store.insert_application(&later).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    run(&mut earlier, "ROLLBACK").await;
    store.insert_application(&later).await.unwrap();
}

#[tokio::test]
async fn a_database_that_has_gone_back_is_read_from_the_beginning() {
    let database = Database::new().await;
    let store = database.open().await;
    let made = store.insert_application(&application("A")).await.unwrap();
    let changes = store.changes(made.version + 100).await.unwrap();
    assert!(changes.whole);
    assert_eq!(changes.items, [Change::Application(Arc::new(made))]);
}
