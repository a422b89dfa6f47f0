//! Who answers 410 or fails for days is disabled, unless somebody has changed the endpoint since.

use std::time::Duration;

use postrider_model::topics::ATTEMPTS;
use postrider_model::{Attempt, Disabled, Endpoint, Outcome};
use postrider_recorder::DisabledFor;
use postrider_store::Endpoints;

use crate::support::{Running, start};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn attempted(recorder: &Running, endpoint: &Endpoint, outcome: Outcome) {
    let attempt = recorder.attempt(endpoint, outcome);
    recorder.put(vec![attempt.to_record()]).await;
    recorder.finished(ATTEMPTS).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_answers_410_is_disabled() {
    let recorder = start().await;
    let (gone, other) = (recorder.endpoint().await, recorder.endpoint().await);
    attempted(&recorder, &other, Outcome::Refused).await;
    attempted(&recorder, &gone, Outcome::Gone).await;
    let stored = recorder.stored(&gone).await;
    assert_eq!(stored.disabled, Some(Disabled::Gone));
    assert!(stored.version > gone.version);
    assert_eq!(recorder.stored(&other).await, other);
    assert_eq!(recorder.metrics.disabled.of(DisabledFor::Gone).get(), 1);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_attempt_does_not_disable_an_endpoint_that_was_repaired_since() {
    let recorder = start().await;
    let before = recorder.endpoint().await;
    let repaired = Endpoint {
        url: "https://example.com/new".parse().unwrap(),
        ..before.clone()
    };
    let repaired = recorder.store.replace_endpoint(&repaired).await.unwrap();
    attempted(&recorder, &before, Outcome::Gone).await;
    assert_eq!(recorder.stored(&before).await, repaired);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_deleted_meanwhile_is_left_alone() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    let deleted = recorder.store.delete_endpoint(recorder.app_id, endpoint.id);
    deleted.await.unwrap();
    attempted(&recorder, &endpoint, Outcome::Gone).await;
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_for_five_days_is_disabled_also_over_restarts() {
    let mut recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for _ in 0..5 {
        attempted(&recorder, &endpoint, Outcome::TimedOut).await;
        tokio::time::sleep(DAY).await;
        assert_eq!(recorder.stored(&endpoint).await.disabled, None);
        recorder = recorder.kill_and_start();
    }
    attempted(&recorder, &endpoint, Outcome::TimedOut).await;
    let stored = recorder.stored(&endpoint).await;
    assert_eq!(stored.disabled, Some(Disabled::Failing));
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_single_success_begins_the_five_days_again() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for day in 0..12 {
        attempted(&recorder, &endpoint, Outcome::TimedOut).await;
        tokio::time::sleep(DAY).await;
        if day % 4 == 3 {
            attempted(&recorder, &endpoint, Outcome::Succeeded).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(recorder.stored(&endpoint).await.disabled, None);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn our_own_faults_disable_nobody() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for _ in 0..8 {
        attempted(&recorder, &endpoint, Outcome::OwnFault).await;
        tokio::time::sleep(DAY).await;
    }
    attempted(&recorder, &endpoint, Outcome::Refused).await;
    assert_eq!(recorder.stored(&endpoint).await.disabled, None);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_in_between_the_endpoint_is_disabled_later() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    recorder.store.set_available(false);
    let gone: Vec<Attempt> = vec![recorder.attempt(&endpoint, Outcome::Gone)];
    recorder
        .put(gone.iter().map(Attempt::to_record).collect())
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    recorder.store.set_available(true);
    recorder.finished(ATTEMPTS).await;
    let stored = recorder.stored(&endpoint).await;
    assert_eq!(stored.disabled, Some(Disabled::Gone));
    recorder.stop().await.unwrap();
}
