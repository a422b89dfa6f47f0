//! Dead letters.

use postrider_model::{AppId, DeadLetter, EndpointId};

use super::Harness;
use super::samples::{all, at, dead_letter, endpoint, event, known_application, replay};
use crate::{DeadLetterFilter, Deleted, HistoryKey, ReplayStep, Store, StoreError};

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

/// An endpoint of a new application, which are there.
async fn known_endpoint(store: &dyn Store) -> (AppId, EndpointId) {
    let app = known_application(store).await;
    let endpoint = store.insert_endpoint(&endpoint(app)).await.unwrap();
    (app, endpoint.id)
}

pub async fn each_filter_of_dead_letters_selects_and_counts(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let (app, hook) = (AppId::new(), EndpointId::new());
    let mut letters = several(5);
    let (_, there) = known_endpoint(&*store).await;
    for known in [0, 4] {
        letters[known].delivery.endpoint_id = there;
    }
    letters[1].delivery.app_id = app;
    letters[2].delivery.endpoint_id = hook;
    letters[3].delivery.event_type = "order.paid".parse().unwrap();
    store.keep_dead_letters(&letters).await.unwrap();
    mark(&*store, &letters[0]).await;
    let none = DeadLetterFilter::default;
    let event_type = Some("order.paid".parse().unwrap());
    for (filter, expected) in [
        (none(), vec![0, 1, 2, 3, 4]),
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
            vec![2, 3, 4],
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
                only_replayable: true,
                ..none()
            },
            vec![4],
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

pub async fn a_dead_letter_without_its_payload_is_listed_and_no_replay_selects_it(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let mut letters = several(3);
    for letter in &mut letters {
        let (app, endpoint) = known_endpoint(&*store).await;
        (letter.delivery.app_id, letter.delivery.endpoint_id) = (app, endpoint);
    }
    letters[1] = letters[1].clone().without_payload();
    store.keep_dead_letters(&letters).await.unwrap();
    let replayable = DeadLetterFilter {
        only_replayable: true,
        ..DeadLetterFilter::default()
    };
    for (filter, expected) in [
        (&DeadLetterFilter::default(), vec![0, 1, 2]),
        (&replayable, vec![0, 2]),
    ] {
        let listed = store.dead_letters(filter, &all()).await.unwrap();
        let listed: Vec<_> = listed.into_iter().map(|stored| stored.letter).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|at: &usize| letters[*at].clone())
            .collect();
        assert_eq!(listed, expected);
        let count = store.count_dead_letters(filter).await.unwrap();
        assert_eq!(count, expected.len() as u64);
    }
}

pub async fn a_dead_letter_says_what_was_deleted_and_is_not_replayable_then(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let mut letters = several(3);
    let mut known = Vec::new();
    for letter in &mut letters {
        let (app, endpoint) = known_endpoint(&*store).await;
        (letter.delivery.app_id, letter.delivery.endpoint_id) = (app, endpoint);
        known.push((app, endpoint));
    }
    store.keep_dead_letters(&letters).await.unwrap();
    let replayable = DeadLetterFilter {
        only_replayable: true,
        ..DeadLetterFilter::default()
    };
    assert_eq!(store.count_dead_letters(&replayable).await.unwrap(), 3);
    let (app, endpoint) = known[1];
    store.delete_endpoint(app, endpoint).await.unwrap();
    let (app, endpoint) = known[2];
    store.delete_endpoint(app, endpoint).await.unwrap();
    store.delete_application(app).await.unwrap();
    // One that dies only now is no different.
    let mut late = several(4).remove(3);
    late.delivery.app_id = known[0].0;
    store.keep_dead_letters(&[late.clone()]).await.unwrap();
    letters.push(late);

    let (endpoint, application) = (Some(Deleted::Endpoint), Some(Deleted::Application));
    let expected = [None, endpoint, application, endpoint];
    let everything = DeadLetterFilter::default();
    let listed = store.dead_letters(&everything, &all()).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|stored| stored.deleted).collect();
    assert_eq!(listed, expected);
    for (letter, expected) in letters.iter().zip(expected) {
        let found = store.dead_letter(letter.id).await.unwrap().unwrap();
        assert_eq!(found.deleted, expected);
    }
    assert_eq!(store.count_dead_letters(&replayable).await.unwrap(), 1);
    let left = store.dead_letters(&replayable, &all()).await.unwrap();
    assert_eq!((left.len(), left[0].letter.id), (1, letters[0].id));
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
