//! Who answers 410 or fails for days is disabled, unless somebody has changed the endpoint since.

use std::time::Duration;

use postrider_model::topics::ATTEMPTS;
use postrider_model::{Attempt, Disabled, Endpoint, EndpointPolicy, Outcome};
use postrider_recorder::DisabledFor;
use postrider_store::Endpoints;

use crate::support::{Running, start};

const DAY: Duration = Duration::from_secs(24 * 3600);

const HOUR: Duration = Duration::from_secs(3600);

async fn attempted(recorder: &Running, endpoint: &Endpoint, outcome: Outcome) {
    put(recorder, &[recorder.attempt(endpoint, outcome)]).await;
}

/// The last attempt of a delivery.
async fn exhausted(recorder: &Running, endpoint: &Endpoint, outcome: Outcome) {
    let last = Attempt {
        next_attempt_at: None,
        exhausted: true,
        ..recorder.attempt(endpoint, outcome)
    };
    put(recorder, &[last]).await;
}

async fn put(recorder: &Running, attempts: &[Attempt]) {
    recorder
        .put(attempts.iter().map(Attempt::to_record).collect())
        .await;
    recorder.finished(ATTEMPTS).await;
}

/// As its owner changes it, now.
async fn changed(recorder: &Running, endpoint: &Endpoint) -> Endpoint {
    let changed = Endpoint {
        disabled: None,
        updated_at: recorder.now(),
        ..recorder.stored(endpoint).await
    };
    recorder.store.replace_endpoint(&changed).await.unwrap()
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
async fn a_busy_endpoint_that_is_dead_is_disabled_though_no_delivery_of_it_is_ever_exhausted() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    // Behind its open breaker: five failures, then probes, each of another delivery.
    let first = [Outcome::Refused; 5].map(|outcome| recorder.attempt(&endpoint, outcome));
    put(&recorder, &first).await;
    for _ in 0..5 * 24 * 2 {
        assert_eq!(recorder.stored(&endpoint).await.disabled, None);
        tokio::time::sleep(HOUR / 2).await;
        attempted(&recorder, &endpoint, Outcome::Unreachable).await;
    }
    let stored = recorder.stored(&endpoint).await;
    assert_eq!(stored.disabled, Some(Disabled::Failing));
    assert_eq!(recorder.metrics.disabled.of(DisabledFor::Failing).get(), 1);
    let asked = recorder.store.listings();
    assert!(asked <= 10, "history was asked {asked} times");
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn however_many_endpoints_fail_at_once_few_are_looked_into_and_the_others_later() {
    let recorder = start().await;
    let mut endpoints = Vec::new();
    for _ in 0..40 {
        endpoints.push(recorder.endpoint().await);
    }
    let fail = async || {
        let once = endpoints.iter();
        let attempts: Vec<_> = once
            .map(|endpoint| recorder.attempt(endpoint, Outcome::TimedOut))
            .collect();
        let before = recorder.store.listings();
        put(&recorder, &attempts).await;
        recorder.store.listings() - before
    };
    // Two questions each.
    assert_eq!(fail().await, 32);
    assert_eq!(fail().await, 32);
    assert_eq!(fail().await, 16);
    assert_eq!(fail().await, 0);
    for _ in 0..10 {
        tokio::time::sleep(DAY / 2).await;
        fail().await;
    }
    for _ in 0..3 {
        tokio::time::sleep(HOUR).await;
        fail().await;
    }
    for endpoint in &endpoints {
        let stored = recorder.stored(endpoint).await;
        assert_eq!(stored.disabled, Some(Disabled::Failing));
    }
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_enabled_again_is_given_the_whole_time() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for _ in 0..6 {
        attempted(&recorder, &endpoint, Outcome::TimedOut).await;
        tokio::time::sleep(DAY).await;
    }
    let stored = recorder.stored(&endpoint).await;
    assert_eq!(stored.disabled, Some(Disabled::Failing));

    let enabled = changed(&recorder, &endpoint).await;
    for _ in 0..5 {
        exhausted(&recorder, &enabled, Outcome::TimedOut).await;
        assert_eq!(recorder.stored(&enabled).await, enabled);
        tokio::time::sleep(DAY).await;
    }
    exhausted(&recorder, &enabled, Outcome::TimedOut).await;
    let stored = recorder.stored(&enabled).await;
    assert_eq!(stored.disabled, Some(Disabled::Failing));
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn answers_that_an_endpoints_owner_calls_final_disable_nobody() {
    let recorder = start().await;
    let policy = EndpointPolicy {
        final_statuses: vec![404, 422],
        ..EndpointPolicy::default()
    };
    let [only_final, now_and_then] = [policy.clone(), policy];
    let only_final = recorder.endpoint_with(only_final).await;
    let now_and_then = recorder.endpoint_with(now_and_then).await;
    for day in 0..14 {
        attempted(&recorder, &only_final, Outcome::Final).await;
        let outcome = match day % 4 {
            3 => Outcome::Final,
            _ => Outcome::Refused,
        };
        attempted(&recorder, &now_and_then, outcome).await;
        tokio::time::sleep(DAY).await;
    }
    assert_eq!(recorder.stored(&only_final).await, only_final);
    assert_eq!(recorder.stored(&now_and_then).await, now_and_then);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_address_may_not_be_called_for_five_days_is_disabled() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for _ in 0..6 {
        assert_eq!(recorder.stored(&endpoint).await.disabled, None);
        attempted(&recorder, &endpoint, Outcome::Forbidden).await;
        tokio::time::sleep(DAY).await;
    }
    let stored = recorder.stored(&endpoint).await;
    assert_eq!(stored.disabled, Some(Disabled::Failing));
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_failure_after_a_long_silence_disables_nobody_and_failing_on_does() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for _ in 0..24 {
        attempted(&recorder, &endpoint, Outcome::TimedOut).await;
        tokio::time::sleep(HOUR).await;
    }
    // Repaired, and there was nothing to send.
    tokio::time::sleep(DAY * 7).await;
    for _ in 0..3 {
        attempted(&recorder, &endpoint, Outcome::TimedOut).await;
        assert_eq!(recorder.stored(&endpoint).await.disabled, None);
        tokio::time::sleep(HOUR / 6).await;
    }
    tokio::time::sleep(HOUR * 2).await;
    attempted(&recorder, &endpoint, Outcome::TimedOut).await;
    let stored = recorder.stored(&endpoint).await;
    assert_eq!(stored.disabled, Some(Disabled::Failing));
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_gets_little_is_disabled_when_a_whole_schedule_has_failed_again() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    for disabled in [None, Some(Disabled::Failing)] {
        attempted(&recorder, &endpoint, Outcome::TimedOut).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(recorder.stored(&endpoint).await.disabled, None);
        exhausted(&recorder, &endpoint, Outcome::TimedOut).await;
        assert_eq!(recorder.stored(&endpoint).await.disabled, disabled);
        tokio::time::sleep(DAY * 6).await;
    }
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn history_that_is_not_read_in_time_is_given_up_and_asked_for_again_later() {
    let recorder = start().await;
    let (slow, other) = (recorder.endpoint().await, recorder.endpoint().await);
    recorder.store.hold_listings(true);
    attempted(&recorder, &slow, Outcome::TimedOut).await;
    assert_eq!(recorder.metrics.unjudged.get(), 1);
    // It took long, so there are others to be written first.
    attempted(&recorder, &other, Outcome::TimedOut).await;
    assert_eq!(recorder.store.listings(), 1);
    recorder.store.hold_listings(false);
    for _ in 0..7 {
        attempted(&recorder, &slow, Outcome::TimedOut).await;
        tokio::time::sleep(DAY).await;
    }
    let stored = recorder.stored(&slow).await;
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
