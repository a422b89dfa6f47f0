//! What happened is in the store a moment later, whatever else fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_log::{LogError, Purpose};
use postrider_model::topics::{ATTEMPTS, EVENTS, FANOUTS};
use postrider_model::{Event, EventOrigin, Fanout, NewRecord, Outcome};
use postrider_recorder::{Reason, RowKind};
use postrider_store::History;

use crate::support::start;

#[tokio::test(start_paused = true)]
async fn a_lone_event_is_in_the_store_within_fifty_milliseconds() {
    let recorder = start().await;
    let event = recorder.event();
    recorder.put(vec![event.to_record()]).await;
    let soon = Duration::from_millis(50);
    assert!(recorder.finished_within(EVENTS, soon).await);
    assert!(recorder.is_archived(&event).await);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_producers_wrote_to_the_topic_is_archived_as_fan_out_judged_it() {
    let recorder = start().await;
    let mut foreign = NewRecord::new(EVENTS, "shop", "{}");
    foreign.headers.push("ce_id", "17");
    foreign.headers.push("ce_source", "/shop");
    let event = Event {
        id: Event::derived_id(recorder.app_id, "/shop", "17"),
        ..recorder.event()
    };
    recorder.put(vec![foreign]).await;
    recorder.finished(EVENTS).await;
    assert!(!recorder.is_archived(&event).await);
    let judged = NewRecord {
        topic: FANOUTS,
        ..event.to_record()
    };
    // Twice, as a crash of fan-out would.
    recorder.put(vec![judged.clone(), judged]).await;
    recorder.finished(FANOUTS).await;
    assert!(recorder.is_archived(&event).await);
    assert_eq!(recorder.metrics.set_aside.of(Reason::Malformed).get(), 0);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_is_synced_before_the_store_is_told() {
    let recorder = start().await;
    let unsynced = Arc::new(AtomicUsize::new(0));
    let (log, seen) = (recorder.log.clone(), Arc::clone(&unsynced));
    // Asked of each row that is about to be written.
    recorder.store.refuse(move |_| {
        if !log.is_synced() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        false
    });
    for _ in 0..3 {
        let event = recorder.event();
        recorder.put(vec![event.to_record()]).await;
        assert!(!recorder.log.is_synced());
        recorder.finished(EVENTS).await;
        assert!(recorder.is_archived(&event).await);
    }
    assert_eq!(unsynced.load(Ordering::SeqCst), 0);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn under_a_steady_stream_a_batch_is_written_every_hundred_milliseconds() {
    let recorder = start().await;
    for _ in 0..100 {
        recorder.put(vec![recorder.event().to_record()]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    recorder.finished(EVENTS).await;
    let batches = recorder.metrics.batch_records.count();
    assert!((9..=11).contains(&batches), "{batches} batches in a second");
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_lies_there_already_is_written_in_few_large_batches() {
    let recorder = start().await;
    let (event, endpoint) = (recorder.event(), recorder.endpoint().await);
    recorder.store.set_available(false);
    recorder.put(vec![event.to_record()]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let attempts = (0..4000).map(|_| recorder.attempt(&endpoint, Outcome::Succeeded));
    let attempts = attempts.map(|attempt| attempt.to_record());
    recorder.put(attempts.collect()).await;
    recorder.store.set_available(true);
    recorder.finished(ATTEMPTS).await;
    let batches = recorder.metrics.batch_records.count();
    assert_eq!(batches, 2, "the one that waited, and the rest");
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_fanouts_and_attempts_are_recorded_together() {
    let recorder = start().await;
    let (event, endpoint) = (recorder.event(), recorder.endpoint().await);
    let fanout = Fanout {
        event_id: event.id,
        app_id: event.app_id,
        endpoints: vec![endpoint.id],
        registry_version: 1,
        stale: false,
        accepted_at: event.accepted_at,
        complete: true,
    };
    let attempt = recorder.attempt(&endpoint, Outcome::Succeeded);
    let records = vec![attempt.to_record(), fanout.to_record(), event.to_record()];
    recorder.put(records).await;
    for topic in [EVENTS, FANOUTS, ATTEMPTS] {
        recorder.finished(topic).await;
    }
    assert_eq!(recorder.metrics.batch_records.count(), 1);
    assert_eq!(recorder.attempts(endpoint.id).await, [attempt]);
    let store = &recorder.store;
    let fanned_out = store.fanned_out(event.app_id, event.id).await.unwrap();
    assert_eq!(fanned_out.unwrap().endpoints, [endpoint.id]);
    assert!(recorder.is_archived(&event).await);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_continuation_of_an_event_is_finished_but_not_archived_again() {
    let recorder = start().await;
    let after = recorder.endpoint().await.id;
    let continued = Event {
        origin: EventOrigin::Continuation { after },
        ..recorder.event()
    };
    recorder.put(vec![continued.to_record()]).await;
    recorder.finished(EVENTS).await;
    assert!(!recorder.is_archived(&continued).await);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_for_ten_minutes_everything_waits_and_is_recorded_after() {
    let recorder = start().await;
    recorder.store.set_available(false);
    let endpoint_events: Vec<Event> = (0..2500).map(|_| recorder.event()).collect();
    for part in endpoint_events.chunks(100) {
        recorder
            .put(part.iter().map(Event::to_record).collect())
            .await;
        tokio::time::sleep(Duration::from_secs(24)).await;
    }
    let none = recorder
        .finished_within(EVENTS, Duration::from_secs(1))
        .await;
    assert!(!none && recorder.metrics.store_failures.get() > 10);
    recorder.store.set_available(true);
    recorder.finished(EVENTS).await;
    for event in &endpoint_events {
        assert!(recorder.is_archived(event).await);
    }
    assert_eq!(recorder.metrics.recorded.of(RowKind::Event).get(), 2500);
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_loses_no_row() {
    let mut recorder = start().await;
    let mut events = Vec::new();
    for n in 0..100u64 {
        let event = recorder.event();
        recorder.put(vec![event.to_record()]).await;
        events.push(event);
        tokio::time::sleep(Duration::from_millis(n % 50)).await;
        for _ in 0..n % 7 {
            tokio::task::yield_now().await;
        }
        recorder = recorder.kill_and_start();
    }
    recorder.finished(EVENTS).await;
    for event in &events {
        assert!(recorder.is_archived(event).await);
    }
    recorder.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_shutdown_the_batch_in_hand_is_recorded_first() {
    let recorder = start().await;
    let event = recorder.event();
    recorder.put(vec![event.to_record()]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (log, store, app_id) = (recorder.log.clone(), recorder.store.clone(), event.app_id);
    recorder.stop().await.unwrap();
    assert_eq!(
        log.committed(postrider_model::topics::RECORDER, EVENTS)
            .next,
        1
    );
    let by = postrider_store::EventRef::Id(event.id);
    assert!(store.event(app_id, &by).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_not_held_up_by_a_store_that_is_down() {
    let recorder = start().await;
    recorder.store.set_available(false);
    recorder.put(vec![recorder.event().to_record()]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stopped = tokio::time::timeout(Duration::from_secs(1), recorder.stop()).await;
    stopped.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_new_still_takes_the_recorders_progress() {
    let recorder = start().await;
    recorder.put(vec![recorder.event().to_record()]).await;
    let full = LogError::Full("testing".to_owned());
    recorder.log.fail_appends(Purpose::Intake, full);
    recorder.finished(EVENTS).await;
    recorder.stop().await.unwrap();
}
