//! One bad row stops nobody, and is kept.

use std::time::Duration;

use postrider_model::topics::{ATTEMPTS, EVENTS_REJECTED, FANOUTS};
use postrider_model::{Attempt, Disabled, NewRecord, Outcome};
use postrider_recorder::Reason;
use postrider_store::testing::Row;

use crate::support::start;

#[tokio::test(start_paused = true)]
async fn rows_that_the_store_refuses_are_set_aside_and_all_others_recorded() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    let attempts: Vec<Attempt> = (0..200)
        .map(|_| recorder.attempt(&endpoint, Outcome::Succeeded))
        .collect();
    let bad = [attempts[0].id, attempts[77].id, attempts[199].id];
    recorder
        .store
        .refuse(move |row| matches!(row, Row::Attempt(attempt) if bad.contains(&attempt.id)));
    recorder
        .put(attempts.iter().map(Attempt::to_record).collect())
        .await;
    recorder.finished(ATTEMPTS).await;
    assert_eq!(recorder.attempts(endpoint.id).await.len(), 197);
    assert_eq!(recorder.metrics.set_aside.of(Reason::Refused).get(), 3);
    let aside = recorder.log.records(EVENTS_REJECTED);
    let ids = aside
        .iter()
        .map(|record| Attempt::decode(&record.value).unwrap().id);
    assert_eq!(ids.collect::<Vec<_>>(), bad);
    assert!(aside[0].headers.get("postrider-reason").is_some());
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_row_cannot_be_read_is_not_judged_and_holds_nothing_up() {
    let recorder = start().await;
    let (bad, gone) = (recorder.endpoint().await, recorder.endpoint().await);
    recorder.store.spoil(*bad.id.as_bytes());
    let attempts = [&bad, &gone].map(|endpoint| recorder.attempt(endpoint, Outcome::Gone));
    recorder
        .put(attempts.iter().map(Attempt::to_record).collect())
        .await;
    recorder.finished(ATTEMPTS).await;
    let stored = recorder.stored(&gone).await;
    assert_eq!(stored.disabled, Some(Disabled::Gone));
    assert_eq!(recorder.metrics.unjudged.get(), 1);
    assert_eq!(recorder.metrics.store_failures.get(), 0);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn history_that_cannot_be_read_disables_nobody_and_holds_nothing_up() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    let first = recorder.attempt(&endpoint, Outcome::TimedOut);
    recorder.put(vec![first.to_record()]).await;
    recorder.finished(ATTEMPTS).await;
    recorder.store.spoil(*first.id.as_bytes());
    tokio::time::sleep(Duration::from_secs(6 * 24 * 3600)).await;
    let last = recorder.attempt(&endpoint, Outcome::TimedOut);
    recorder.put(vec![last.to_record()]).await;
    recorder.finished(ATTEMPTS).await;
    assert_eq!(recorder.stored(&endpoint).await.disabled, None);
    assert_eq!(recorder.metrics.unjudged.get(), 1);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_set_aside_and_the_rest_recorded() {
    let recorder = start().await;
    let endpoint = recorder.endpoint().await;
    let good = recorder.attempt(&endpoint, Outcome::Succeeded);
    recorder
        .put(vec![
            NewRecord::new(ATTEMPTS, "key", "\u{0}no attempt"),
            good.to_record(),
            NewRecord::new(FANOUTS, "key", "\u{0}no fanout"),
        ])
        .await;
    recorder.finished(ATTEMPTS).await;
    recorder.finished(FANOUTS).await;
    assert_eq!(recorder.attempts(endpoint.id).await, [good]);
    assert_eq!(recorder.metrics.set_aside.of(Reason::Malformed).get(), 2);
    assert_eq!(recorder.log.records(EVENTS_REJECTED).len(), 2);
    recorder.stop().await.unwrap();
}
