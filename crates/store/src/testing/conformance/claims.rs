//! Claims by key.

use std::sync::Arc;

use bytes::Bytes;

use super::Harness;
use super::samples::at;
use crate::{Claim, Store};

const OURS: [u8; 32] = [1; 32];
const THEIRS: [u8; 32] = [2; 32];

/// What each of many gets that ask at once, at `seconds`.
async fn ask_at_once(store: &Arc<dyn Store>, seconds: i64) -> (usize, usize) {
    let claim = |n: usize| {
        let store = store.clone();
        let holder = format!("{seconds}-{n}");
        let until = at(seconds + 10);
        tokio::spawn(async move { store.claim("k", &holder, &OURS, at(seconds), until).await })
    };
    let (mut ours, mut held) = (0, 0);
    for done in (0..20).map(claim).collect::<Vec<_>>() {
        match done.await.unwrap().unwrap() {
            Claim::Ours { .. } => ours += 1,
            Claim::Held { .. } => held += 1,
            Claim::Done { .. } => panic!("nobody has confirmed it"),
        }
    }
    (ours, held)
}

pub async fn of_many_at_once_one_gets_the_claim(harness: &mut dyn Harness) {
    let store = harness.open().await;
    assert_eq!(ask_at_once(&store, 0).await, (1, 19));
    let other = store.claim("l", "x", &OURS, at(0), at(10)).await;
    assert_eq!(other.unwrap(), Claim::Ours { since: at(0) });
}

pub async fn a_claim_is_held_until_its_lease_ends_and_then_taken_over_once(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let claim = store.claim("k", "a", &OURS, at(0), at(10)).await;
    assert_eq!(claim.unwrap(), Claim::Ours { since: at(0) });
    let store = harness.reopen(store).await;
    let claim = store.claim("k", "b", &THEIRS, at(9), at(19)).await;
    let held = Claim::Held {
        fingerprint: OURS,
        until: at(10),
    };
    assert_eq!(claim.unwrap(), held);
    assert_eq!(ask_at_once(&store, 10).await, (1, 19));
}

pub async fn who_takes_a_claim_over_is_told_since_when_there_is_one(harness: &mut dyn Harness) {
    let store = harness.open().await;
    for (holder, fingerprint, seconds) in [("a", OURS, 0), ("a", OURS, 5), ("b", THEIRS, 20)] {
        let until = at(seconds + 10);
        let claim = store.claim("k", holder, &fingerprint, at(seconds), until);
        assert_eq!(claim.await.unwrap(), Claim::Ours { since: at(0) });
    }
    let store = harness.reopen(store).await;
    let claim = store.claim("k", "c", &OURS, at(30), at(40)).await;
    assert_eq!(claim.unwrap(), Claim::Ours { since: at(0) });
    store.confirm("k", "c", b"done", at(31)).await.unwrap();
    assert_eq!(store.delete_claims(at(32), 9).await.unwrap(), 1);
    let claim = store.claim("k", "d", &OURS, at(33), at(43)).await;
    assert_eq!(claim.unwrap(), Claim::Ours { since: at(33) });
}

pub async fn what_is_done_stays_done(harness: &mut dyn Harness) {
    let store = harness.open().await;
    store.claim("k", "a", &OURS, at(0), at(10)).await.unwrap();
    store.confirm("k", "a", b"msg\0\xff", at(1)).await.unwrap();
    store.confirm("k", "a", b"another", at(2)).await.unwrap();
    store.release("k", "a").await.unwrap();
    let store = harness.reopen(store).await;
    let done = Claim::Done {
        fingerprint: OURS,
        answer: Bytes::from_static(b"msg\0\xff"),
    };
    for (holder, seconds) in [("a", 3), ("b", 3), ("b", 100)] {
        let until = at(seconds + 10);
        let claim = store.claim("k", holder, &THEIRS, at(seconds), until).await;
        assert_eq!(claim.unwrap(), done);
    }
}

pub async fn a_holder_that_lost_its_claim_changes_nothing(harness: &mut dyn Harness) {
    let store = harness.open().await;
    store.claim("k", "a", &OURS, at(0), at(10)).await.unwrap();
    store
        .claim("k", "b", &THEIRS, at(10), at(20))
        .await
        .unwrap();
    store.confirm("k", "a", b"late", at(11)).await.unwrap();
    store.release("k", "a").await.unwrap();
    let claim = store.claim("k", "c", &OURS, at(12), at(22)).await;
    let held = Claim::Held {
        fingerprint: THEIRS,
        until: at(20),
    };
    assert_eq!(claim.unwrap(), held);
    store.confirm("unknown", "a", b"", at(11)).await.unwrap();
}

pub async fn a_released_claim_is_free(harness: &mut dyn Harness) {
    let store = harness.open().await;
    store.claim("k", "a", &OURS, at(0), at(10)).await.unwrap();
    store.release("k", "a").await.unwrap();
    let claim = store.claim("k", "b", &THEIRS, at(1), at(11)).await;
    assert_eq!(claim.unwrap(), Claim::Ours { since: at(1) });
}

pub async fn old_claims_go_in_small_batches_the_oldest_first(harness: &mut dyn Harness) {
    let store = harness.open().await;
    for n in (0..6).rev() {
        let key = n.to_string();
        let claim = store.claim(&key, "a", &OURS, at(n), at(5));
        claim.await.unwrap();
    }
    assert_eq!(store.delete_claims(at(5), 3).await.unwrap(), 3);
    let oldest_left = store.claim("3", "b", &OURS, at(9), at(19)).await.unwrap();
    assert_eq!(oldest_left, Claim::Ours { since: at(3) });
    // What was taken over is as old as before, but held.
    assert_eq!(store.delete_claims(at(5), 3).await.unwrap(), 1);
    assert_eq!(store.delete_claims(at(5), 3).await.unwrap(), 0);
    let newest = store.claim("5", "b", &OURS, at(9), at(19)).await.unwrap();
    assert_eq!(newest, Claim::Ours { since: at(5) });
    store.confirm("3", "b", b"done", at(9)).await.unwrap();
    assert_eq!(store.delete_claims(at(10), 3).await.unwrap(), 1);
    let deleted = store.claim("0", "b", &OURS, at(9), at(19)).await.unwrap();
    assert_eq!(deleted, Claim::Ours { since: at(9) });
}
