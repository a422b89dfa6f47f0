//! A replay publishes what it took, at its rate, until it is told otherwise.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_log::{LogError, Purpose};
use postrider_model::{DeliveryId, EndpointId, Trigger};
use postrider_store::{DeadLetterFilter, DeadLetters, Endpoints, ReplayStatus, Selection};

use crate::support::{Running, letter, start};

fn distinct(running: &Running) -> usize {
    let ids: HashSet<DeliveryId> = running.published().iter().map(|d| d.id).collect();
    ids.len()
}

#[tokio::test(start_paused = true)]
async fn a_replayed_delivery_has_the_same_id_a_new_generation_and_a_new_deadline() {
    let running = start();
    let letter = running.letters(EndpointId::new(), 1).await.remove(0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let replay = running.replay(Selection::Ids(vec![letter.id]), 10).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (1, 0));
    let published = running.published().remove(0);
    assert_eq!(published.id, letter.delivery.id);
    assert_eq!(published.event_id, letter.delivery.event_id);
    assert_eq!(published.generation, replay.generation);
    assert_eq!(published.registry_version, 42, "as it was judged");
    assert_eq!(
        (published.attempts_made, published.trigger),
        (0, Trigger::Manual)
    );
    assert!(published.deadline > running.now() && published.payload == letter.delivery.payload);
    let stored = running.store.dead_letter(letter.id).await.unwrap().unwrap();
    assert_eq!(stored.replayed.unwrap().0, replay.id);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn everything_that_the_filter_takes_is_published_once_at_the_rate() {
    let running = start();
    running.letters(EndpointId::new(), 2000).await;
    let (replay, began) = (running.replay_all(100).await, running.now());
    let mut times = Vec::new();
    while times.len() < 2000 {
        let count = running.published().len();
        times.resize(count.max(times.len()), running.now());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, distinct(&running)), (2000, 2000));
    let took = times[1999].since(began);
    assert!((19.0..=21.0).contains(&took.as_secs_f64()), "{took:?}");
    for (index, at) in times.iter().enumerate().step_by(100) {
        let second = at.plus(Duration::from_secs(1));
        let within = times[index..].iter().take_while(|t| **t < second).count();
        assert!(within <= 120, "{within} within a second");
    }
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_replay_publishes_is_synced_before_the_store_is_told() {
    let running = start();
    running.letters(EndpointId::new(), 100).await;
    let (steps, unsynced) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (log, told, seen) = (
        running.log.clone(),
        Arc::clone(&steps),
        Arc::clone(&unsynced),
    );
    running.store.look_before_progress(move || {
        told.fetch_add(1, Ordering::SeqCst);
        if !log.is_synced() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let replay = running.replay_all(100).await;
    running.until(&replay, ReplayStatus::Done).await;
    assert_eq!(running.published().len(), 100);
    assert!(steps.load(Ordering::SeqCst) > 1, "it was one step");
    assert_eq!(unsynced.load(Ordering::SeqCst), 0);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_cannot_be_read_counts_as_failed_and_the_replay_goes_on() {
    let running = start();
    let letters = running.letters(EndpointId::new(), 50).await;
    running.store.memory.spoil(*letters[20].id.as_bytes());
    let ids = letters.iter().map(|letter| letter.id).collect();
    let replay = running.replay(Selection::Ids(ids), 100).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed, distinct(&running)), (49, 1, 49));
    let replay = running.replay_all(100).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (49, 0));
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_dies_after_the_replay_began_is_not_taken() {
    let running = start();
    let endpoint = EndpointId::new();
    running.letters(endpoint, 100).await;
    let replay = running.replay_all(50).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.letters(endpoint, 100).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, running.published().len()), (100, 100));
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_take_nothing_count_as_failed_and_cost_nothing_of_the_rate() {
    let running = start();
    let (gone, healthy) = (EndpointId::new(), EndpointId::new());
    running.endpoints.remove(gone);
    running.letters(gone, 2000).await;
    running.letters(healthy, 10).await;
    let (replay, began) = (running.replay_all(10).await, running.now());
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (10, 2000));
    assert!(running.published().iter().all(|d| d.endpoint_id == healthy));
    assert!(running.now().since(began) < Duration::from_secs(5));
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_while_a_replay_runs_is_skipped_and_the_next_replay_leaves_it_out() {
    let running = start();
    let (one, other) = (
        running.known_endpoint().await,
        running.known_endpoint().await,
    );
    running.letters(one.id, 200).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.letters(other.id, 200).await;
    let filter = DeadLetterFilter {
        before: Some(running.now().plus(Duration::from_millis(1))),
        only_replayable: true,
        ..DeadLetterFilter::default()
    };
    let replay = running.replay(Selection::Filter(filter.clone()), 100).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory = &running.store.memory;
    memory
        .delete_endpoint(other.app_id, other.id)
        .await
        .unwrap();
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (200, 0));
    let left = running.store.memory.count_dead_letters(&filter);
    assert_eq!(left.await.unwrap(), 0);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_called_gone_while_the_endpoints_are_not_known_for_certain() {
    let running = start();
    let gone = EndpointId::new();
    running.endpoints.remove(gone);
    running.endpoints.set_stale(true);
    running.letters(gone, 10).await;
    let replay = running.replay_all(10).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.state(&replay).await.failed, 0);
    running.endpoints.set_stale(false);
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!(state.failed, 10);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_chosen_dead_letter_that_is_gone_or_anothers_counts_as_failed() {
    let running = start();
    let endpoint = EndpointId::new();
    let letters = running.letters(endpoint, 100).await;
    let mut ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    ids.push(letter(endpoint, 0, running.now()).id);
    let replay = running.replay(Selection::Ids(ids), 1000).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (100, 1));
    assert_eq!(distinct(&running), 100);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_payload_was_left_out_counts_as_failed() {
    let running = start();
    let bare = letter(EndpointId::new(), 0, running.now()).without_payload();
    let kept = running.store.keep_dead_letters(std::slice::from_ref(&bare));
    kept.await.unwrap();
    let replay = running.replay(Selection::Ids(vec![bare.id]), 10).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (0, 1));
    assert!(running.published().is_empty());
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_replays_have_still_to_do_is_told_while_they_run() {
    let running = start();
    let letters = running.letters(EndpointId::new(), 300).await;
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    let one = running
        .replay(Selection::Ids(ids[..100].to_vec()), 10)
        .await;
    let other = running
        .replay(Selection::Ids(ids[100..].to_vec()), 10)
        .await;
    let told = || running.metrics.replay_remaining.get();
    let mut most = 0;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done = running.state(&one).await.done + running.state(&other).await.done;
        let left = 300 - i64::try_from(done).unwrap();
        most = most.max(told());
        // Those that the second begins with are told once it is claimed, and a step a moment after it is recorded.
        assert!(told() <= left + 10, "{} of {left}", told());
    }
    assert!((280..=300).contains(&most), "{most}");
    running.until(&one, ReplayStatus::Done).await;
    running.until(&other, ReplayStatus::Done).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(), 0);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_nothing_is_done_at_once() {
    let running = start();
    let replay = running.replay_all(10).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.failed), (0, 0));
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_replay_stands_within_a_second_and_goes_on_where_it_stood() {
    let running = start();
    running.letters(EndpointId::new(), 1000).await;
    let replay = running.replay_all(100).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    running.set_status(&replay, ReplayStatus::Paused).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stood = running.published().len();
    assert!((300..=550).contains(&stood), "{stood}");
    assert_eq!(running.metrics.replay_remaining.get(), 0);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(running.published().len(), stood);
    assert_eq!(running.state(&replay).await.done, stood as u64);
    running.set_status(&replay, ReplayStatus::Running).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!(
        (state.done, running.published().len(), distinct(&running)),
        (1000, 1000, 1000)
    );
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_replay_publishes_no_more() {
    let running = start();
    running.letters(EndpointId::new(), 1000).await;
    let replay = running.replay_all(100).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    running.set_status(&replay, ReplayStatus::Cancelled).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stood = running.published().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = running.state(&replay).await;
    assert_eq!(
        (state.status, running.published().len()),
        (ReplayStatus::Cancelled, stood)
    );
    assert!(stood < 600 && running.metrics.replays_active.get() == 0);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slow_and_paused_replays_hold_no_other_up() {
    let running = start();
    running.letters(EndpointId::new(), 200).await;
    let slow = running.replay_all(1).await;
    let paused = running.replay_all(1).await;
    running.set_status(&paused, ReplayStatus::Paused).await;
    let (quick, began) = (running.replay_all(1000).await, running.now());
    running.until(&quick, ReplayStatus::Done).await;
    assert!(running.now().since(began) < Duration::from_secs(3));
    running.until(&slow, ReplayStatus::Done).await;
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_replays_that_overlap_one_publishes_each_dead_letter() {
    let running = start();
    running.letters(EndpointId::new(), 500).await;
    let (one, other) = (running.replay_all(100).await, running.replay_all(100).await);
    assert_ne!(one.generation, other.generation);
    let one = running.until(&one, ReplayStatus::Done).await;
    let other = running.until(&other, ReplayStatus::Done).await;
    assert_eq!((distinct(&running), running.published().len()), (500, 500));
    assert_eq!(one.done + other.done, 500);
    assert_eq!((one.failed, other.failed), (0, 0));
    // Once they have ended, it is asked for again on purpose.
    let again = running.replay_all(1000).await;
    assert_eq!(running.until(&again, ReplayStatus::Done).await.done, 500);
    running.stop().await.unwrap();
}

/// The newcomer's case: a few dead letters, and replays of which each ends while others have read a page of them.
#[tokio::test(start_paused = true)]
async fn of_five_replays_at_once_of_what_is_unreplayed_none_publishes_what_another_did() {
    for round in 0..20 {
        let running = start();
        let endpoint = running.known_endpoint().await;
        running.letters(endpoint.id, 18).await;
        let filter = DeadLetterFilter {
            before: Some(running.now().plus(Duration::from_millis(1))),
            only_replayable: true,
            ..DeadLetterFilter::default()
        };
        let mut replays = Vec::new();
        for number in 0..5 {
            let selection = Selection::Filter(filter.clone());
            replays.push(running.replay(selection, 40).await);
            tokio::time::sleep(Duration::from_millis(round * number)).await;
        }
        let mut done = 0;
        for replay in &replays {
            let state = running.until(replay, ReplayStatus::Done).await;
            assert_eq!(state.failed, 0);
            done += state.done;
        }
        assert_eq!(
            (distinct(&running), running.published().len(), done),
            (18, 18, 18)
        );
        running.stop().await.unwrap();
    }
}

/// Between reading a page and taking it, another replay publishes it and ends.
#[tokio::test(start_paused = true)]
async fn what_another_replay_published_since_the_page_was_read_is_left_out() {
    let running = start();
    running.letters(EndpointId::new(), 18).await;
    running.store.hold_next_take();
    let one = running.replay_all(40).await;
    while !running.store.holds_a_take() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = running.replay_all(1000).await;
    running.until(&other, ReplayStatus::Done).await;
    running.store.release_take();
    let one = running.until(&one, ReplayStatus::Done).await;
    assert_eq!(
        (one.done, one.failed, running.published().len()),
        (0, 0, 18)
    );
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_below_its_reserve_makes_a_replay_wait_and_loses_nothing_of_it() {
    let running = start();
    running.letters(EndpointId::new(), 100).await;
    let replay = running.replay_all(100).await;
    let full = LogError::Full("testing".to_owned());
    running.log.fail_appends(Purpose::Intake, full);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.published().len(), 0);
    running.log.recover();
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, running.published().len()), (100, 100));
    running.stop().await.unwrap();
}
