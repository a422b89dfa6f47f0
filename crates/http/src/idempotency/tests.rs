use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_model::TestClock;
use postrider_store::testing::MemoryStore;
use tokio::sync::Notify;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn key() -> Vec<KeyClaim> {
    vec![KeyClaim {
        key: "test/k".to_owned(),
        fingerprint: [1; 32],
        taken: "taken",
    }]
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn house() -> (Idempotency, MemoryStore, TestClock) {
    let (store, clock) = (MemoryStore::new(), TestClock::at(at(1_000)));
    let once = Idempotency::new(Arc::new(store.clone()), Arc::new(clock.clone()));
    (once, store, clock)
}

/// The time that `run` is told, as its answer.
async fn told(since: Timestamp) -> Result<Bytes, HttpError> {
    Ok(since.as_millis().to_be_bytes().to_vec().into())
}

async fn uncertain(_since: Timestamp) -> Result<Bytes, HttpError> {
    Err(HttpError::Uncertain("test".to_owned()))
}

#[tokio::test]
async fn what_was_begun_is_carried_out_and_kept_though_the_request_is_dropped() {
    let (once, ..) = house();
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let runs = Arc::new(AtomicUsize::new(0));
    let first = tokio::spawn({
        let (once, began, go) = (once.clone(), Arc::clone(&began), Arc::clone(&go));
        let runs = Arc::clone(&runs);
        let run = |_since| async move {
            began.notify_one();
            go.notified().await;
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(Bytes::from_static(b"first"))
        };
        async move { once.once(key(), run).await }
    });
    tokio::time::timeout(PATIENCE, began.notified())
        .await
        .unwrap();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    go.notify_one();
    let again = tokio::time::timeout(PATIENCE, once.once(key(), told)).await;
    assert_eq!(again.unwrap().unwrap(), "first");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_comes_out_and_the_key_stays_held() {
    let (once, store, clock) = house();
    let panicking = tokio::spawn({
        let once = once.clone();
        let run = |_since| async { panic!("test") };
        async move { once.once(key(), run).await }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    let now = clock.now();
    let claim = store.claim("test/k", "another", &[1; 32], now, now.plus(LEASE));
    assert!(matches!(claim.await.unwrap(), Claim::Held { .. }));
}

#[tokio::test]
async fn who_takes_over_is_told_since_when_and_a_forgotten_key_starts_anew() {
    let (once, store, clock) = house();
    let first = once.once(key(), uncertain).await;
    assert!(matches!(first, Err(HttpError::Uncertain(_))));
    clock.advance(LEASE);
    let again = once.once(key(), told).await;
    assert_eq!(again.unwrap(), told(at(1_000)).await.unwrap());
    clock.advance(LEASE);
    store.delete_claims(clock.now(), 9).await.unwrap();
    let anew = once.once(key(), told).await;
    assert_eq!(anew.unwrap(), told(clock.now()).await.unwrap());
}
