//! Partitions that go from one recorder to another.

use std::time::Duration;

use postrider_log::TopicPartition;
use postrider_model::Outcome;
use postrider_model::topics::{ATTEMPTS, EVENTS, FANOUTS, RECORDER};
use postrider_recorder::RowKind;

use crate::support::{Running, start};

fn partitions(recorder: &Running) -> Vec<TopicPartition> {
    let topics = [EVENTS, FANOUTS, ATTEMPTS].into_iter();
    topics
        .flat_map(|topic| recorder.log.partitions(topic))
        .collect()
}

fn recorded(recorder: &Running) -> u64 {
    recorder.metrics.recorded.of(RowKind::Event).get()
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_waits_for_the_store_gives_up_what_is_wanted_back_and_records_what_it_keeps()
 {
    let first = start().await;
    let endpoint = first.endpoint().await;
    first.log.share(RECORDER);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = first.second();
    first.store.set_available(false);
    let events: Vec<_> = (0..20).map(|_| first.event()).collect();
    let mut records: Vec<_> = events.iter().map(|event| event.to_record()).collect();
    let attempt = first.attempt(&endpoint, Outcome::Succeeded);
    records.push(attempt.to_record());
    first.put(records).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.log.revoke(RECORDER, &first.log.partitions(EVENTS));
    // What comes later is the next owner's, too.
    let later = first.event();
    first.put(vec![later.to_record()]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.store.set_available(true);
    first.finished(EVENTS).await;
    first.finished(ATTEMPTS).await;
    assert_eq!((recorded(&first), recorded(&second)), (0, 21));
    let attempts = |recorder: &Running| recorder.metrics.recorded.of(RowKind::Attempt).get();
    assert_eq!((attempts(&first), attempts(&second)), (1, 0));
    for event in events.iter().chain([&later]) {
        assert!(first.is_archived(event).await);
    }
    second.stop().await.unwrap();
    first.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_and_fro_between_two_recorders_is_recorded_and_finished_whoever_had_it() {
    let first = start().await;
    first.log.share(RECORDER);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = first.second();
    let mut events = Vec::new();
    for n in 0..300 {
        let event = first.event();
        first.put(vec![event.to_record()]).await;
        events.push(event);
        tokio::time::sleep(Duration::from_millis(n % 13)).await;
        match n % 3 {
            0 => first.log.lose(RECORDER, &partitions(&first)),
            1 => first.log.revoke(RECORDER, &partitions(&first)),
            _ => {}
        }
    }
    first.finished(EVENTS).await;
    for event in &events {
        assert!(first.is_archived(event).await);
    }
    second.stop().await.unwrap();
    first.stop().await.unwrap();
}
