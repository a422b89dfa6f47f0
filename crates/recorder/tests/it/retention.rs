//! Old history goes, young history stays.

use std::time::Duration;

use postrider_model::topics::{ATTEMPTS, EVENTS};
use postrider_model::{Attempt, Clock, Event, Outcome, SystemClock};
use postrider_recorder::{Deleted, Options, Retention};
use postrider_store::{ConfigFeed, Endpoints, History, HistoryBatch};

use crate::support::start_with;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_deleted_in_batches_and_what_is_young_stays() {
    let recorder = start_with(Options {
        disable_failing_after: None,
        retention: Retention {
            events: Some(HOUR * 10),
            attempts: Some(HOUR * 5),
            batch: 10,
            ..Retention::default()
        },
        ..Options::default()
    })
    .await;
    let endpoint = recorder.endpoint().await;
    let events: Vec<Event> = (0..55).map(|_| recorder.event()).collect();
    let attempts: Vec<Attempt> = (0..55)
        .map(|_| recorder.attempt(&endpoint, Outcome::Succeeded))
        .collect();
    recorder
        .put(events.iter().map(Event::to_record).collect())
        .await;
    recorder
        .put(attempts.iter().map(Attempt::to_record).collect())
        .await;
    recorder.finished(EVENTS).await;
    recorder.finished(ATTEMPTS).await;

    tokio::time::sleep(HOUR * 6).await;
    let young = recorder.event();
    recorder.put(vec![young.to_record()]).await;
    assert_eq!(recorder.attempts(endpoint.id).await.len(), 0);
    assert!(recorder.is_archived(&events[0]).await);

    tokio::time::sleep(HOUR * 5).await;
    assert_eq!(recorder.metrics.deleted.of(Deleted::Event).get(), 55);
    assert!(recorder.is_archived(&young).await);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn old_events_go_while_old_attempts_come_faster_than_they_can_be_deleted() {
    let recorder = start_with(Options {
        disable_failing_after: None,
        retention: Retention {
            events: Some(HOUR),
            attempts: Some(HOUR),
            batch: 10,
            ..Retention::default()
        },
        ..Options::default()
    })
    .await;
    let endpoint = recorder.endpoint().await;
    let old = recorder.now().minus(HOUR * 2);
    let events = (0..55).map(|_| Event {
        accepted_at: old,
        ..recorder.event()
    });
    let events = HistoryBatch {
        events: events.collect(),
        ..HistoryBatch::default()
    };
    recorder.store.record(&events).await.unwrap();
    let (attempts_gone, events_gone) = (
        recorder.metrics.deleted.of(Deleted::Attempt),
        recorder.metrics.deleted.of(Deleted::Event),
    );
    let mut written = 0;
    let until = tokio::time::Instant::now() + HOUR;
    while events_gone.get() < 55 {
        assert!(tokio::time::Instant::now() < until, "events are left");
        // Never fewer than two batches.
        while written < attempts_gone.get() + 20 {
            let attempts = (0..20).map(|_| Attempt {
                started_at: old,
                ..recorder.attempt(&endpoint, Outcome::Succeeded)
            });
            let attempts = HistoryBatch {
                attempts: attempts.map(Into::into).collect(),
                ..HistoryBatch::default()
            };
            recorder.store.record(&attempts).await.unwrap();
            written += 20;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deleting_goes_on_after_the_store_was_down() {
    let recorder = start_with(Options {
        retention: Retention {
            events: Some(HOUR),
            ..Retention::default()
        },
        ..Options::default()
    })
    .await;
    let event = recorder.event();
    recorder.put(vec![event.to_record()]).await;
    recorder.finished(EVENTS).await;
    recorder.store.set_available(false);
    tokio::time::sleep(HOUR * 2).await;
    recorder.store.set_available(true);
    tokio::time::sleep(HOUR).await;
    assert!(!recorder.is_archived(&event).await);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn word_of_what_was_removed_goes_after_a_week() {
    let day = HOUR * 24;
    let recorder = start_with(Options {
        retention: Retention {
            every: day * 2,
            ..Retention::default()
        },
        ..Options::default()
    })
    .await;
    let endpoint = recorder.endpoint().await;
    let known = recorder.store.changes(0).await.unwrap().next;
    let (app_id, store) = (recorder.app_id, &recorder.store);
    store.delete_endpoint(app_id, endpoint.id).await.unwrap();
    // The store goes by its own clock.
    let behind = SystemClock.now().since(recorder.now());
    tokio::time::sleep(behind + day * 4).await;
    assert!(!store.changes(known).await.unwrap().whole);
    tokio::time::sleep(day * 6).await;
    assert!(store.changes(known).await.unwrap().whole);
    assert_eq!(recorder.metrics.deleted.of(Deleted::Removal).get(), 1);
    recorder.stop().await.unwrap();
}
