//! Opening: who makes the schema, and what is refused with which words.

use postrider_store::{Claims, Closing, StoreError};
use postrider_store_sql::{OpenError, PostgresOptions, PostgresStore, open};

use super::databases::{Database, run};
use super::samples::now;
use crate::metrics;

async fn refusal(url: &str) -> OpenError {
    let options = PostgresOptions {
        acquire_timeout: std::time::Duration::from_secs(2),
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
