//! A server that is away, and connections that are cut: calls end in time with "later", and work again when it is back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_model::AppId;
use postrider_store::{Claims, ConfigFeed, History, StoreError};
use postrider_store_sql::{PostgresOptions, PostgresStore};
use postrider_testkit::{Postgres, eventually, pause, proceed};
use sqlx::{Connection, PgConnection};

use super::samples::{event, events, now};
use crate::metrics;

/// Five times what it should take.
const BACK: Duration = Duration::from_secs(30);

fn impatient() -> PostgresOptions {
    PostgresOptions {
        max_connections: 4,
        acquire_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_secs(5),
        lock_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(3),
    }
}

async fn open(server: &Postgres) -> Arc<PostgresStore> {
    let store = PostgresStore::open(server.url(), impatient(), metrics()).await;
    Arc::new(store.unwrap())
}

/// One call of each kind.
async fn ask(store: &PostgresStore) -> Result<(), StoreError> {
    let one = event(AppId::new(), now());
    store.record(&events(&[one])).await?;
    store.claim("k", "a", &[0; 32], now(), now()).await?;
    store.changes(1).await?;
    Ok(())
}

/// Each kind of call says "later", in time.
async fn is_away(store: &PostgresStore) {
    let began = Instant::now();
    let one = event(AppId::new(), now());
    let batch = events(&[one]);
    let record = async { store.record(&batch).await };
    let claim = async {
        store
            .claim("k", "a", &[0; 32], now(), now())
            .await
            .map(drop)
    };
    let feed = async { store.changes(1).await.map(drop) };
    let (record, claim, feed) = tokio::join!(record, claim, feed);
    for result in [record, claim, feed] {
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "{result:?}"
        );
    }
    let took = began.elapsed();
    assert!(took < impatient().call_timeout * 5, "{took:?}");
}

async fn comes_back(store: &PostgresStore) {
    let back = async || ask(store).await.ok();
    eventually("the store answers again", BACK, back)
        .await
        .unwrap();
}

#[tokio::test]
async fn with_the_server_stopped_or_killed_calls_say_later_and_work_when_it_is_back() {
    let server = Postgres::start(&[]).await.unwrap();
    let store = open(&server).await;
    ask(&store).await.unwrap();
    for kill in [false, true] {
        match kill {
            true => server.kill().await.unwrap(),
            false => server.stop().await.unwrap(),
        }
        is_away(&store).await;
        server.restart(&[]).await.unwrap();
        comes_back(&store).await;
    }
}

#[tokio::test]
async fn connections_that_are_cut_are_made_again() {
    let server = Postgres::start(&["fsync=off"]).await.unwrap();
    let store = open(&server).await;
    for _ in 0..5 {
        ask(&store).await.unwrap();
        server
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'postrider'",
            )
            .await
            .unwrap();
        // What was lying idle may be found broken by whoever takes it.
        comes_back(&store).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_even_refuse_holds_nobody_for_long() {
    let server = Postgres::start(&["fsync=off"]).await.unwrap();
    let store = open(&server).await;
    ask(&store).await.unwrap();
    let backends = server
        .sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'postrider'")
        .await
        .unwrap();
    let mut pids: Vec<u32> = backends.lines().map(|pid| pid.parse().unwrap()).collect();
    pids.push(server.pid().unwrap());
    pids.iter().for_each(|pid| pause(*pid).unwrap());
    for _ in 0..3 {
        is_away(&store).await;
    }
    // Connections that hung were given up meanwhile, and their processes may have gone.
    pids.iter().for_each(|pid| drop(proceed(*pid)));
    comes_back(&store).await;
}

#[tokio::test]
async fn a_server_that_has_no_connection_left_is_tried_again_later() {
    let server = Postgres::start(&["fsync=off", "max_connections=6"])
        .await
        .unwrap();
    let store = open(&server).await;
    let mut others = Vec::new();
    while let Ok(other) = PgConnection::connect(server.url()).await {
        others.push(other);
    }
    // What the store has at this moment is closed, and somebody else is quicker.
    let full = async || {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postrider'";
        sqlx::query(cut).execute(&mut others[0]).await.unwrap();
        while let Ok(other) = PgConnection::connect(server.url()).await {
            others.push(other);
        }
        matches!(ask(&store).await, Err(StoreError::Unavailable(_))).then_some(())
    };
    eventually("there is no connection left", BACK, full)
        .await
        .unwrap();
    drop(others);
    comes_back(&store).await;
}
