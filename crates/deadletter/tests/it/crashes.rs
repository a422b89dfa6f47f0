//! A replay survives its owner, and a crash repeats one step of it at most.

use std::collections::HashSet;
use std::time::Duration;

use postrider_model::{DeliveryId, EndpointId};
use postrider_store::{ReplayStatus, Replays};

use crate::support::{Running, start};

const RATE: u32 = 500;

fn repeats(running: &Running) -> usize {
    let published = running.published();
    let ids: HashSet<DeliveryId> = published.iter().map(|d| d.id).collect();
    published.len() - ids.len()
}

/// What a step publishes, at most.
fn step(running: &Running) -> usize {
    (f64::from(RATE) * running.options.step.as_secs_f64()) as usize
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_publishing_and_recording_repeats_one_step_with_the_same_ids() {
    let running = start();
    running.letters(EndpointId::new(), 3000).await;
    let replay = running.replay_all(RATE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.store.shut(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let recorded = running.state(&replay).await.done as usize;
    let published = running.published().len();
    assert!(published > recorded && published - recorded <= step(&running));
    let running = running.kill_and_start();
    running.store.shut(false);
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!(
        (state.done, running.published().len()),
        (3000, 3000 + published - recorded)
    );
    assert!(repeats(&running) <= step(&running));
    let generations: HashSet<u64> = running.published().iter().map(|d| d.generation).collect();
    assert_eq!(generations.len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replay_whose_progress_is_refused_is_paused_and_publishes_no_step_again() {
    let running = start();
    running.letters(EndpointId::new(), 3000).await;
    running.store.refuse_progress(true);
    let replay = running.replay_all(RATE).await;
    let halted = running.until(&replay, ReplayStatus::Paused).await;
    let why = halted.paused_because.unwrap();
    assert_eq!(
        why,
        "its progress cannot be recorded: the store refuses this: testing"
    );
    let published = running.published().len();
    assert!((1..=step(&running)).contains(&published));
    // Many leases later.
    tokio::time::sleep(running.options.lease * 10).await;
    assert_eq!(running.published().len(), published);
    assert_eq!(running.metrics.replays_halted.get(), 1);
    // Mended and resumed, it repeats that step and no other.
    running.store.refuse_progress(false);
    running.set_status(&replay, ReplayStatus::Running).await;
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!((state.done, state.paused_because), (3000, None));
    assert_eq!(repeats(&running), published);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn kills_at_any_moment_lose_nothing_of_a_replay() {
    let mut running = start();
    running.letters(EndpointId::new(), 3000).await;
    let replay = running.replay_all(RATE).await;
    for n in 0..10u64 {
        tokio::time::sleep(Duration::from_millis(300 + n * 37)).await;
        running.store.shut(n % 2 == 0);
        tokio::time::sleep(Duration::from_millis(500)).await;
        running = running.kill_and_start();
        running.store.shut(false);
        // The lease of the one that was killed ends first.
        tokio::time::sleep(running.options.lease).await;
    }
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!(state.done, 3000);
    assert!(
        repeats(&running) <= 10 * step(&running),
        "{}",
        repeats(&running)
    );
    assert_eq!(running.published().len() - repeats(&running), 3000);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_the_store_was_down() {
    let running = start();
    running.letters(EndpointId::new(), 2000).await;
    let replay = running.replay_all(RATE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.store.memory.set_available(false);
    tokio::time::sleep(Duration::from_secs(600)).await;
    running.store.memory.set_available(true);
    let state = running.until(&replay, ReplayStatus::Done).await;
    assert_eq!(state.done, 2000);
    assert!(repeats(&running) <= step(&running));
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_shutdown_a_replay_stops_between_two_steps_and_repeats_nothing_later() {
    let running = start();
    running.letters(EndpointId::new(), 1000).await;
    let replay = running.replay_all(RATE).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    let (log, state) = (running.log.clone(), running.state(&replay).await);
    let (store, now) = (running.store.clone(), running.now());
    tokio::time::timeout(Duration::from_secs(1), running.stop())
        .await
        .unwrap()
        .unwrap();
    let published = log.records(postrider_model::topics::DELIVERIES_BULK).len();
    assert!(published > 0 && published as u64 == state.done);
    // Another takes over at once.
    let until = now.plus(Duration::from_secs(10));
    let taken = store.claim_replay("another", now, until).await.unwrap();
    assert_eq!(taken.unwrap().id, replay.id);
}
