//! Every dead letter is kept once, whatever stands beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_deadletter::{Options, Reason};
use postrider_model::topics::{DEAD_LETTERS, EVENTS_REJECTED};
use postrider_model::{DeadLetter, EndpointId, NewRecord};
use postrider_store::testing::Row;
use postrider_store::{DeadLetterFilter, DeadLetters, ReplayStatus, Replays, Selection};

use crate::support::{Running, letter, start, start_with};

async fn count(running: &Running) -> u64 {
    let filter = DeadLetterFilter::default();
    running.store.count_dead_letters(&filter).await.unwrap()
}

fn letters(running: &Running, count: usize) -> Vec<DeadLetter> {
    let now = running.now();
    (0..count)
        .map(|_| letter(EndpointId::new(), 0, now))
        .collect()
}

fn records(letters: &[DeadLetter]) -> Vec<NewRecord> {
    letters.iter().map(DeadLetter::to_record).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_kept_once_however_often_it_is_written() {
    let running = start();
    let letters = letters(&running, 10);
    running.put(records(&letters)).await;
    running.put(records(&letters)).await;
    running.kept().await;
    assert_eq!(count(&running).await, 10);
    let stored = running.store.dead_letter(letters[3].id).await.unwrap();
    assert_eq!(stored.unwrap().letter, letters[3]);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_is_synced_before_the_store_is_told() {
    let running = start();
    let unsynced = Arc::new(AtomicUsize::new(0));
    let (log, seen) = (running.log.clone(), Arc::clone(&unsynced));
    // Asked of each row that is about to be written.
    running.store.memory.refuse(move |_| {
        if !log.is_synced() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        false
    });
    for _ in 0..3 {
        running.put(records(&letters(&running, 10))).await;
        assert!(!running.log.is_synced());
        running.kept().await;
    }
    assert_eq!(count(&running).await, 30);
    assert_eq!(unsynced.load(Ordering::SeqCst), 0);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replayed_dead_letter_that_fails_again_is_a_new_dead_letter() {
    let running = start();
    let first = letters(&running, 1).remove(0);
    let mut again = first.clone();
    again.delivery.generation = 1_700_000_000_123;
    again.id = again.delivery.dead_letter_id();
    running.put(records(&[first, again])).await;
    running.kept().await;
    assert_eq!(count(&running).await, 2);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_row_that_the_store_refuses_and_a_record_that_cannot_be_read_stop_nobody() {
    let running = start();
    let letters = letters(&running, 300);
    let bad = letters[123].id;
    running
        .store
        .memory
        .refuse(move |row| matches!(row, Row::DeadLetter(letter) if letter.id == bad));
    running
        .put(vec![NewRecord::new(DEAD_LETTERS, "key", "\u{0}no letter")])
        .await;
    running.put(records(&letters)).await;
    running.kept().await;
    assert_eq!(count(&running).await, 299);
    let aside = running.log.records(EVENTS_REJECTED);
    assert_eq!(aside[0].value, "\u{0}no letter");
    assert_eq!(DeadLetter::decode(&aside[1].value).unwrap().id, bad);
    let set_aside = |reason| running.metrics.set_aside.of(reason).get();
    assert_eq!(set_aside(Reason::Refused), 1);
    assert_eq!(set_aside(Reason::Malformed), 1);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_dead_letters_wait_in_the_log() {
    let running = start();
    running.store.memory.set_available(false);
    running.put(records(&letters(&running, 1000))).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(running.log.records(DEAD_LETTERS).len(), 1000);
    running.store.memory.set_available(true);
    running.kept().await;
    assert_eq!(count(&running).await, 1000);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_not_held_up_by_a_store_that_is_down_and_the_next_start_keeps_all() {
    let running = start();
    running.store.memory.set_available(false);
    running.put(records(&letters(&running, 10))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let running = running.kill_and_start();
    tokio::time::sleep(Duration::from_secs(30)).await;
    running.store.memory.set_available(true);
    running.kept().await;
    assert_eq!(count(&running).await, 10);
    running.store.memory.set_available(false);
    running.put(records(&letters(&running, 10))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stopped = tokio::time::timeout(Duration::from_secs(1), running.stop()).await;
    stopped.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn old_dead_letters_and_replays_that_ended_are_deleted_and_others_stay() {
    let hour = Duration::from_secs(3600);
    let running = start_with(Options {
        keep: Some(hour * 10),
        delete_batch: 7,
        ..Options::default()
    });
    running.letters(EndpointId::new(), 50).await;
    tokio::time::sleep(hour * 5).await;
    running.letters(EndpointId::new(), 3).await;
    assert_eq!(count(&running).await, 53);
    let none = Selection::Ids(Vec::new());
    let (ended, paused) = (
        running.replay(none.clone(), 1).await,
        running.replay(none, 1).await,
    );
    running.set_status(&paused, ReplayStatus::Paused).await;
    tokio::time::sleep(hour * 6).await;
    assert_eq!(count(&running).await, 3);
    assert_eq!(running.state(&ended).await.status, ReplayStatus::Done);
    tokio::time::sleep(hour * 6).await;
    assert_eq!(running.store.replay(ended.id).await.unwrap(), None);
    assert_eq!(running.state(&paused).await.status, ReplayStatus::Paused);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn old_replays_are_deleted_while_there_is_no_end_of_old_dead_letters() {
    let hour = Duration::from_secs(3600);
    let running = start_with(Options {
        keep: Some(hour),
        delete_every: hour * 2,
        ..Options::default()
    });
    running.store.have_no_end_of_letters();
    let ended = running.replay(Selection::Ids(Vec::new()), 1).await;
    tokio::time::sleep(hour * 2 + Duration::from_secs(10)).await;
    assert_eq!(running.store.replay(ended.id).await.unwrap(), None);
    running.stop().await.unwrap();
}
