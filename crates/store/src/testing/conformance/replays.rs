//! Replays and their leases.

use std::sync::Arc;

use postrider_model::{AppId, DeadLetterId, EndpointId, EventType, ReplayId};

use super::Harness;
use super::samples::{all, at, dead_letter, event, replay};
use crate::{
    DeadLetterFilter, HistoryKey, Replay, ReplayStatus, ReplayStep, Selection, Store, StoreError,
};

fn step(seconds: i64, published: usize, failed: u64) -> ReplayStep {
    let published = (0..published).map(|n| DeadLetterId::derive(&[&n.to_be_bytes()]));
    ReplayStep {
        cursor: HistoryKey {
            at: at(seconds),
            id: [7; 16],
        },
        published: published.collect(),
        failed,
        finished: false,
    }
}

async fn claimed(store: &dyn Store) -> Replay {
    let made = replay(None);
    store.insert_replay(&made).await.unwrap();
    let claim = store.claim_replay("a", at(0), at(10)).await.unwrap();
    assert_eq!(claim, Some(made.clone()));
    made
}

fn is_conflict(result: Result<Replay, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Conflict(_))),
        "{result:?} is no conflict"
    );
}

pub async fn a_replay_comes_back_as_it_was(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let event_type: EventType = "order.paid".parse().unwrap();
    let by_filter = Replay {
        selection: Selection::Filter(DeadLetterFilter {
            app_id: Some(AppId::new()),
            endpoint_id: Some(EndpointId::new()),
            event_type: Some(event_type),
            after: Some(at(1)),
            before: Some(at(2)),
            only_replayable: true,
        }),
        status: ReplayStatus::Paused,
        cursor: Some(step(1, 0, 0).cursor),
        ..replay(Some(AppId::new()))
    };
    let by_ids = Replay {
        selection: Selection::Ids(step(1, 3, 0).published),
        ..replay(None)
    };
    let of_none = Replay {
        selection: Selection::Ids(Vec::new()),
        ..replay(None)
    };
    for made in [&by_filter, &by_ids, &of_none] {
        store.insert_replay(made).await.unwrap();
    }
    let store = harness.reopen(store).await;
    for made in [by_filter, by_ids, of_none] {
        let found = store.replay(made.id).await.unwrap();
        assert_eq!(found, Some(made));
    }
    assert_eq!(store.replay(ReplayId::new()).await.unwrap(), None);
}

pub async fn one_of_many_gets_a_replay(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let paused = Replay {
        status: ReplayStatus::Paused,
        ..replay(None)
    };
    store.insert_replay(&paused).await.unwrap();
    let made = replay(None);
    store.insert_replay(&made).await.unwrap();
    let claim = |n: usize| {
        let store: Arc<dyn Store> = store.clone();
        tokio::spawn(async move { store.claim_replay(&n.to_string(), at(0), at(10)).await })
    };
    let mut won = Vec::new();
    for done in (0..20).map(claim).collect::<Vec<_>>() {
        won.extend(done.await.unwrap().unwrap());
    }
    assert_eq!(won, [made]);
}

pub async fn a_lease_that_ended_is_taken_over(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    assert_eq!(store.claim_replay("b", at(9), at(19)).await.unwrap(), None);
    let advanced = store
        .advance_replay(made.id, "a", &step(1, 1, 0), at(9), at(19))
        .await;
    advanced.unwrap();
    assert_eq!(store.claim_replay("b", at(18), at(28)).await.unwrap(), None);
    let store = harness.reopen(store).await;
    let taken = store.claim_replay("b", at(19), at(29)).await.unwrap();
    let taken = taken.expect("the lease has ended");
    assert_eq!((taken.id, taken.done), (made.id, 1));
}

pub async fn an_owner_that_lost_its_lease_cannot_advance(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    store.claim_replay("b", at(10), at(20)).await.unwrap();
    let stale = store
        .advance_replay(made.id, "a", &step(1, 1, 0), at(11), at(21))
        .await;
    is_conflict(stale);
    let found = store.replay(made.id).await.unwrap().unwrap();
    assert_eq!((found.done, found.cursor), (0, None));
    let unknown = store
        .advance_replay(ReplayId::new(), "a", &step(1, 1, 0), at(1), at(2))
        .await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

pub async fn progress_is_counted_once_and_marks_what_was_published(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    let advance = async |step: &ReplayStep, seconds| {
        let until = at(seconds + 10);
        let advanced = store
            .advance_replay(made.id, "a", step, at(seconds), until)
            .await;
        advanced.unwrap()
    };
    let first = advance(&step(1, 1200, 2), 1).await;
    assert_eq!((first.done, first.failed), (1200, 2));
    assert_eq!(first.cursor, Some(step(1, 0, 0).cursor));
    assert_eq!(first.updated_at, at(1));
    // Its answer was lost, and it is reported again.
    let again = advance(&step(1, 1200, 2), 2).await;
    assert_eq!((again.done, again.failed), (1200, 2));
    let mut last = step(2, 3, 1);
    last.finished = true;
    let last = advance(&last, 3).await;
    assert_eq!((last.done, last.failed), (1203, 3));
    assert_eq!(last.status, ReplayStatus::Done);
    assert_eq!(store.replay(made.id).await.unwrap(), Some(last));
    assert_eq!(
        store.claim_replay("b", at(100), at(110)).await.unwrap(),
        None
    );
}

pub async fn a_pause_is_seen_by_the_owner_and_ends_its_lease(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    let (running, paused) = (ReplayStatus::Running, ReplayStatus::Paused);
    let set = async |from, to| {
        let set = store
            .set_replay_status(made.id, &[from], to, None, at(5))
            .await;
        set.unwrap().status
    };
    assert_eq!(set(running, paused).await, paused);
    let seen = store
        .advance_replay(made.id, "a", &step(1, 4, 0), at(6), at(16))
        .await;
    let seen = seen.unwrap();
    assert_eq!((seen.status, seen.done), (paused, 4));
    assert_eq!(store.claim_replay("b", at(50), at(60)).await.unwrap(), None);
    assert_eq!(set(paused, running).await, running);
    let claim = store.claim_replay("b", at(7), at(17)).await.unwrap();
    assert_eq!(claim.map(|claim| claim.done), Some(4));
}

pub async fn why_a_replay_was_paused_is_kept_until_it_is_resumed(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    let (running, paused) = (ReplayStatus::Running, ReplayStatus::Paused);
    let set = async |store: &dyn Store, to, because| {
        let from = [running, paused];
        let set = store.set_replay_status(made.id, &from, to, because, at(5));
        set.await.unwrap().paused_because
    };
    let why = Some("the store \u{1f600} refuses".to_owned());
    assert_eq!(set(&*store, paused, why.as_deref()).await, why);
    // Whoever pauses it once more changes nothing.
    assert_eq!(set(&*store, paused, None).await, why);
    let store = harness.reopen(store).await;
    assert_eq!(
        store.replay(made.id).await.unwrap().unwrap().paused_because,
        why
    );
    let listed = store.replays(None, &all()).await.unwrap();
    assert_eq!(listed[0].paused_because, why);
    assert_eq!(set(&*store, running, None).await, None);
    let claim = store.claim_replay("b", at(20), at(30)).await.unwrap();
    assert_eq!(claim.unwrap().paused_because, None);
    assert_eq!(set(&*store, paused, None).await, None);
    assert_eq!(set(&*store, running, None).await, None);
    // One that has ended is not paused any more.
    assert_eq!(set(&*store, paused, why.as_deref()).await, why);
    let cancelled = store
        .set_replay_status(made.id, &[paused], ReplayStatus::Cancelled, None, at(6))
        .await;
    assert_eq!(cancelled.unwrap().paused_because, None);
    assert_eq!(store.delete_replays(at(7), 10).await.unwrap(), 1);
}

pub async fn the_end_of_a_replay_is_final(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    let (running, cancelled) = (ReplayStatus::Running, ReplayStatus::Cancelled);
    let set = store
        .set_replay_status(made.id, &[running], cancelled, None, at(5))
        .await;
    assert_eq!(set.unwrap().status, cancelled);
    let again = store
        .set_replay_status(made.id, &[running], cancelled, None, at(6))
        .await;
    is_conflict(again);
    let mut last = step(1, 1, 0);
    last.finished = true;
    let seen = store
        .advance_replay(made.id, "a", &last, at(6), at(16))
        .await;
    assert_eq!(seen.unwrap().status, cancelled);
    let unknown = store
        .set_replay_status(ReplayId::new(), &[running], cancelled, None, at(5))
        .await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

pub async fn a_lease_that_is_given_up_is_free_at_once(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let made = claimed(&*store).await;
    store.release_replay(made.id, "b").await.unwrap();
    assert_eq!(store.claim_replay("b", at(1), at(11)).await.unwrap(), None);
    store.release_replay(made.id, "a").await.unwrap();
    let taken = store.claim_replay("b", at(1), at(11)).await.unwrap();
    assert_eq!(taken, Some(made.clone()));
    is_conflict(
        store
            .advance_replay(made.id, "a", &step(1, 1, 0), at(2), at(12))
            .await,
    );
}

pub async fn no_generation_is_given_twice(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let give = |_| {
        let store: Arc<dyn Store> = store.clone();
        tokio::spawn(async move { store.new_generation(at(1)).await })
    };
    let mut given = Vec::new();
    for done in (0..20).map(give).collect::<Vec<_>>() {
        given.push(done.await.unwrap().unwrap());
    }
    given.sort_unstable();
    given.dedup();
    let least = at(1).as_millis().unsigned_abs();
    assert_eq!((given.len(), given.first()), (20, Some(&least)));
    let store = harness.reopen(store).await;
    // A clock that was set back gives none again.
    let next = store.new_generation(at(0)).await.unwrap();
    assert!(Some(&next) > given.last(), "{next}");
    let later = at(1000).as_millis().unsigned_abs();
    assert_eq!(store.new_generation(at(1000)).await.unwrap(), later);
}

pub async fn what_one_replay_has_in_hand_no_other_gets_until_it_ends(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let ids = keep(&*store, 3).await;
    let take = async |replay: &Replay, ids: &[DeadLetterId]| take(&*store, replay, ids, 5).await;
    let (one, other) = (claimed(&*store).await, replay(None));
    store.insert_replay(&other).await.unwrap();
    assert_eq!(take(&one, &ids[..2]).await, sorted(&ids[..2]));
    assert_eq!(take(&one, &ids[..2]).await, sorted(&ids[..2]), "once more");
    assert_eq!(take(&other, &ids).await, ids[2..]);
    let running = [ReplayStatus::Running];
    let paused = ReplayStatus::Paused;
    store
        .set_replay_status(one.id, &running, paused, None, at(5))
        .await
        .unwrap();
    assert_eq!(take(&other, &ids).await, ids[2..]);
    let ended = ReplayStatus::Cancelled;
    store
        .set_replay_status(one.id, &[paused], ended, None, at(6))
        .await
        .unwrap();
    // Its owner may be publishing still.
    assert_eq!(take(&other, &ids).await, ids[2..]);
    store.release_replay(one.id, "a").await.unwrap();
    assert_eq!(take(&other, &ids).await, sorted(&ids));
    let unknown = DeadLetterId::derive(&[b"nobody's"]);
    assert_eq!(take(&other, &[unknown]).await, []);
    // What was taken and not published is not marked as replayed.
    let found = store.dead_letter(ids[0]).await.unwrap().unwrap();
    assert_eq!(found.replayed, None);
}

pub async fn the_last_step_of_a_cancelled_replay_is_its_own_until_its_lease_ends(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let ids = keep(&*store, 1).await;
    let (one, other) = (claimed(&*store).await, replay(None));
    store.insert_replay(&other).await.unwrap();
    assert_eq!(take(&*store, &one, &ids, 5).await, ids);
    let running = [ReplayStatus::Running];
    let ended = ReplayStatus::Cancelled;
    let set = store.set_replay_status(one.id, &running, ended, None, at(6));
    set.await.unwrap();
    assert_eq!(take(&*store, &other, &ids, 9).await, []);
    assert_eq!(take(&*store, &other, &ids, 10).await, ids);
}

pub async fn what_another_replay_published_first_is_not_taken(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let ids = keep(&*store, 2).await;
    let by_filter = |only_replayable| {
        Selection::Filter(DeadLetterFilter {
            before: Some(at(50)),
            only_replayable,
            ..DeadLetterFilter::default()
        })
    };
    let made = |selection: &Selection, seconds| Replay {
        selection: selection.clone(),
        created_at: at(seconds),
        ..replay(None)
    };
    let one = claimed(&*store).await;
    let (by_id, all) = (Selection::Ids(ids.clone()), by_filter(false));
    let new = by_filter(true);
    let early = [made(&by_id, 4), made(&all, 5), made(&new, 4)];
    let (late, late_new) = ([made(&by_id, 6), made(&all, 6)], made(&new, 6));
    for replay in early.iter().chain(&late).chain([&late_new]) {
        store.insert_replay(replay).await.unwrap();
    }
    // They read both dead letters; then the one that has them publishes the first, and ends.
    assert_eq!(take(&*store, &one, &ids, 5).await, sorted(&ids));
    let mut last = step(1, 0, 0);
    (last.published, last.finished) = (ids[..1].to_vec(), true);
    let advanced = store.advance_replay(one.id, "a", &last, at(5), at(15));
    assert_eq!(advanced.await.unwrap().status, ReplayStatus::Done);
    for replay in early.iter().chain([&late_new]) {
        assert_eq!(take(&*store, replay, &ids[..1], 7).await, [], "{replay:?}");
    }
    let end = async |replay: &Replay| {
        let (from, to) = ([ReplayStatus::Running], ReplayStatus::Cancelled);
        let set = store.set_replay_status(replay.id, &from, to, None, at(8));
        set.await.unwrap();
    };
    // What is asked for after it was published is published again, and what was not is free.
    for replay in &late {
        assert_eq!(take(&*store, replay, &ids, 7).await, sorted(&ids));
        end(replay).await;
    }
    assert_eq!(take(&*store, &late_new, &ids, 7).await, ids[1..]);
}

/// The ids of that many new dead letters.
async fn keep(store: &dyn Store, count: i64) -> Vec<DeadLetterId> {
    let kept: Vec<_> = (1..=count)
        .map(|n| dead_letter(&event(AppId::new(), at(n)), EndpointId::new(), at(n)))
        .collect();
    store.keep_dead_letters(&kept).await.unwrap();
    kept.iter().map(|letter| letter.id).collect()
}

async fn take(
    store: &dyn Store,
    replay: &Replay,
    ids: &[DeadLetterId],
    seconds: i64,
) -> Vec<DeadLetterId> {
    let taken = store.take_dead_letters(replay.id, ids, at(seconds)).await;
    sorted(&taken.unwrap())
}

fn sorted(ids: &[DeadLetterId]) -> Vec<DeadLetterId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

pub async fn replays_that_ended_go_in_small_batches_the_oldest_first(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let mut made = Vec::new();
    for (status, seconds) in [
        (ReplayStatus::Done, 3),
        (ReplayStatus::Cancelled, 1),
        (ReplayStatus::Done, 2),
        (ReplayStatus::Running, 0),
        (ReplayStatus::Paused, 0),
        (ReplayStatus::Done, 9),
    ] {
        let replay = Replay {
            status,
            updated_at: at(seconds),
            ..replay(None)
        };
        store.insert_replay(&replay).await.unwrap();
        made.push(replay.id);
    }
    assert_eq!(store.delete_replays(at(9), 2).await.unwrap(), 2);
    let left = store.replays(None, &all()).await.unwrap();
    let left: Vec<_> = left.iter().map(|replay| replay.id).collect();
    assert_eq!(left, [made[0], made[3], made[4], made[5]]);
    assert_eq!(store.delete_replays(at(9), 2).await.unwrap(), 1);
    assert_eq!(store.delete_replays(at(9), 2).await.unwrap(), 0);
}
