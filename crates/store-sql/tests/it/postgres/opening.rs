//! Opening: who makes the schema, and what is refused with which words.

use std::time::Duration;

use postrider_model::AppId;
use postrider_store::{Claims, Closing, ConfigFeed, EventRef, History, StoreError};
use postrider_store_sql::{OpenError, PostgresOptions, PostgresStore, open};
use postrider_testkit::eventually;

use super::databases::{Database, run};
use super::samples::{event, events, now};
use crate::metrics;

async fn refusal(url: &str) -> OpenError {
    let options = PostgresOptions {
        acquire_timeout: Duration::from_secs(2),
        ..PostgresOptions::default()
    };
    let opened = PostgresStore::open(url, options, metrics()).await;
    opened.err().expect("it opened")
}

#[tokio::test]
async fn of_many_processes_that_start_at_once_each_finds_the_schema() {
    let database = Database::made("").await;
    let open = |_| {
        let url = database.url();
        tokio::spawn(async move {
            PostgresStore::open(&url, PostgresOptions::default(), metrics()).await
        })
    };
    for opened in (0..5).map(open).collect::<Vec<_>>() {
        let store = opened.await.unwrap().unwrap();
        store.release("k", "nobody").await.unwrap();
        store.close().await;
    }
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'attempts'::regclass";
    assert_eq!(
        database.number(partitions).await,
        6,
        "five days and the rest"
    );
}

#[tokio::test]
async fn a_store_that_is_opened_later_answers_nothing_before_and_everything_after() {
    let database = Database::made("").await;
    let options = PostgresOptions::default();
    let store = PostgresStore::unopened(&database.url(), options, metrics()).unwrap();
    for _ in 0..2 {
        let asked = store.changes(0).await.unwrap_err();
        assert!(
            matches!(&asked, StoreError::Unavailable(why) if why.contains("away at the start")),
            "{asked}"
        );
        let released = store.release("k", "nobody").await;
        assert!(matches!(released, Err(StoreError::Unavailable(_))));
    }
    store.prepare().await.unwrap();
    store.release("k", "nobody").await.unwrap();
    assert!(store.changes(0).await.unwrap().whole);
    store.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let database = Database::new().await;
    let mut beside = database.connect().await;
    run(
        &mut beside,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'of the future', true, '', 0)",
    )
    .await;
    let error = refusal(&database.url()).await;
    assert!(
        matches!(error, OpenError::NewerDatabase { found: 99, known, .. } if known < 99),
        "{error}"
    );
    assert!(error.to_string().contains("use the newer program"));
}

/// A roll-out: the newer program's step is applied while processes of this one work, and some are started beside it.
#[tokio::test]
async fn processes_work_on_and_may_be_started_beside_a_schema_that_a_newer_program_has_expanded() {
    let database = Database::new().await;
    let store = database.open().await;
    work(&store).await.unwrap();

    let mut beside = database.connect().await;
    let step = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (98, 'expand everything', true, '', 0)";
    run(&mut beside, step).await;
    for table in TABLES {
        let wider = format!("ALTER TABLE {table} ADD COLUMN note text");
        run(&mut beside, &wider).await;
    }
    // What was prepared for fewer columns fails once for each connection that had it in hand, and is then prepared anew.
    let works = async || work(&store).await.ok();
    let works = eventually("it works on", Duration::from_secs(30), works);
    works.await.unwrap();
    for _ in 0..20 {
        work(&store).await.unwrap();
    }
    let another = database.open().await;
    work(&another).await.unwrap();
    let url = database.url();
    let seen = postrider_store_sql::inspect(&url, PostgresOptions::default(), Duration::ZERO);
    assert_eq!(seen.await.unwrap().forbids, None);
}

const TABLES: [&str; 11] = [
    "applications",
    "endpoints",
    "event_types",
    "tokens",
    "removed",
    "claims",
    "events",
    "fanouts",
    "attempts",
    "dead_letters",
    "replays",
];

/// What a process asks for all columns of.
async fn work(store: &PostgresStore) -> Result<(), StoreError> {
    let one = event(AppId::new(), now());
    let id = one.id;
    let app = one.app_id;
    store.record(&events(&[one])).await?;
    let found = store.event(app, &EventRef::Id(id)).await?;
    assert!(found.is_some());
    store.claim("k", "a", &[0; 32], now(), now()).await?;
    store.changes(0).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_who_is_refused_and_a_database_that_is_not_there_are_not_waited_for() {
    let database = Database::made("").await;
    let mut beside = database.connect().await;
    let role = format!("barred_{}", std::process::id());
    run(&mut beside, &format!("DROP ROLE IF EXISTS {role}")).await;
    run(&mut beside, &format!("CREATE ROLE {role} NOLOGIN")).await;
    let (_, place) = database.url().rsplit_once('@').map_or_else(
        || panic!("a URL with a user was due"),
        |(user, place)| (user.to_owned(), place.to_owned()),
    );
    let barred = refusal(&format!("postgres://{role}:hunter2@{place}")).await;
    let unknown = refusal(&format!("postgres://nobody_at_all:hunter2@{place}")).await;
    let elsewhere = refusal(&format!("{}_else", database.url())).await;
    for error in [barred, unknown, elsewhere] {
        assert!(matches!(error, OpenError::Server { .. }), "{error:?}");
        let words = error.to_string();
        assert!(words.contains("cannot be used") && words.contains("those of its URL"));
        assert!(!words.contains("hunter2"), "{words}");
    }
    run(&mut beside, &format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let error = refusal("postgres://anna:hunter2@127.0.0.1:1/events").await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("postgres://127.0.0.1:1/events"), "{words}");
    assert!(
        !words.contains("hunter2") && !words.contains("anna"),
        "{words}"
    );
    for url in [
        "postgres://anna:hunter2@127.0.0.1:x/events",
        "postgresql://anna:hunter2@127.0.0.1/events?sslmode=perhaps",
    ] {
        let error = open(url, metrics()).await.err().unwrap();
        assert!(matches!(error, OpenError::PostgresUrl(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_was_closed_is_not_available() {
    let database = Database::new().await;
    let store = database.open().await;
    store.close().await;
    let asked = store.claim("k", "a", &[0; 32], now(), now()).await;
    assert!(
        matches!(asked, Err(StoreError::Unavailable(_))),
        "{asked:?}"
    );
}
