//! Dead letters.

use postrider_model::{AppId, DeadLetter, EndpointId};

use super::Harness;
use super::samples::{all, at, dead_letter, event, replay};
use crate::{DeadLetterFilter, HistoryKey, ReplayStep, Store, StoreError};

async fn kept(store: &dyn Store) -> Vec<DeadLetter> {
    let everything = DeadLetterFilter::default();
    let found = store.dead_letters(&everything, &all()).await.unwrap();
    found.into_iter().map(|stored| stored.letter).collect()
}

fn several(count: i64) -> Vec<DeadLetter> {
    let app = AppId::new();
    (0..count)
        .map(|seconds| dead_letter(&event(app, at(0)), EndpointId::new(), at(seconds)))
        .collect()
}

pub async fn a_dead_letter_kept_twice_is_there_once(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let letters = several(2);
    store.keep_dead_letters(&letters).await.unwrap();
    let mut later = letters.clone();
    later[0].died_at = at(900);
    store.keep_dead_letters(&later).await.unwrap();
    let store = harness.reopen(store).await;
    assert_eq!(kept(&*store).await, letters);
    let found = store.dead_letter(letters[1].id).await.unwrap().unwrap();
    assert_eq!((found.letter, found.replayed), (letters[1].clone(), None));
    let mut poison = several(2);
    poison[1].delivery.generation = u64::MAX;
    let refused = store.keep_dead_letters(&poison).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    assert_eq!(store.dead_letter(poison[0].id).await.unwrap(), None);
}

pub async fn each_filter_of_dead_letters_selects_and_counts(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let (app, hook) = (AppId::new(), EndpointId::new());
    let mut letters = several(4);
    letters[1].delivery.app_id = app;
    letters[2].delivery.endpoint_id = hook;
    letters[3].delivery.event_type = "order.paid".parse().unwrap();
    store.keep_dead_letters(&letters).await.unwrap();
    mark(&*store, &letters[0]).await;
    let none = DeadLetterFilter::default;
    let event_type = Some("order.paid".parse().unwrap());
    for (filter, expected) in [
        (none(), vec![0, 1, 2, 3]),
        (
            DeadLetterFilter {
                app_id: Some(app),
                ..none()
            },
            vec![1],
        ),
        (
            DeadLetterFilter {
                endpoint_id: Some(hook),
                ..none()
            },
            vec![2],
        ),
        (
            DeadLetterFilter {
                endpoint_id: Some(hook),
                app_id: Some(app),
                ..none()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                event_type,
                ..none()
            },
            vec![3],
        ),
        (
            DeadLetterFilter {
                after: Some(at(1)),
                ..none()
            },
            vec![2, 3],
        ),
        (
            DeadLetterFilter {
                before: Some(at(1)),
                ..none()
            },
            vec![0],
        ),
        (
            DeadLetterFilter {
                only_unreplayed: true,
                ..none()
            },
            vec![1, 2, 3],
        ),
    ] {
        let found = store.dead_letters(&filter, &all()).await.unwrap();
        let number = |id| letters.iter().position(|one| one.id == id).unwrap();
        let found: Vec<_> = found.iter().map(|one| number(one.letter.id)).collect();
        assert_eq!(found, expected, "{filter:?}");
        let count = store.count_dead_letters(&filter).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{filter:?}");
    }
}

/// Has a replay publish it.
async fn mark(store: &dyn Store, letter: &DeadLetter) {
    let one = replay(None);
    store.insert_replay(&one).await.unwrap();
    store.claim_replay("owner", at(0), at(10)).await.unwrap();
    let step = ReplayStep {
        cursor: HistoryKey {
            at: letter.died_at,
            id: *letter.id.as_bytes(),
        },
        published: vec![letter.id],
        failed: 0,
        finished: true,
    };
    let advanced = store
        .advance_replay(one.id, "owner", &step, at(7), at(10))
        .await;
    advanced.unwrap();
    let found = store.dead_letter(letter.id).await.unwrap().unwrap();
    assert_eq!(found.replayed, Some((one.id, at(7))));
}

pub async fn what_was_given_up_is_known_until_a_replay_publishes_it(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let letters = several(3);
    store.keep_dead_letters(&letters[..2]).await.unwrap();
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    let given_up = async || {
        let mut found = store.given_up(&ids).await.unwrap();
        found.sort_unstable();
        found
    };
    let mut both = ids[..2].to_vec();
    both.sort_unstable();
    assert_eq!(given_up().await, both);
    mark(&*store, &letters[0]).await;
    assert_eq!(given_up().await, ids[1..2]);
    assert_eq!(store.given_up(&[]).await.unwrap(), []);
}

pub async fn a_dead_letter_is_deleted_once(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let letters = several(2);
    store.keep_dead_letters(&letters).await.unwrap();
    store.delete_dead_letter(letters[0].id).await.unwrap();
    let again = store.delete_dead_letter(letters[0].id).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))));
    assert_eq!(kept(&*store).await, letters[1..]);
}

pub async fn old_dead_letters_go_in_small_batches_the_oldest_first(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let letters = several(6);
    let reversed: Vec<_> = letters.iter().rev().cloned().collect();
    store.keep_dead_letters(&reversed).await.unwrap();
    assert_eq!(store.delete_dead_letters(at(5), 3).await.unwrap(), 3);
    assert_eq!(kept(&*store).await, letters[3..]);
    assert_eq!(store.delete_dead_letters(at(5), 3).await.unwrap(), 2);
    assert_eq!(store.delete_dead_letters(at(5), 3).await.unwrap(), 0);
    assert_eq!(kept(&*store).await, letters[5..]);
}
