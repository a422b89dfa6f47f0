//! What is killed, stopped or refused loses and repeats nothing.

use std::time::Duration;

use postrider_log::LogError;
use postrider_model::topics::{DELIVERIES_NORMAL, PARK, PUMP, RETRY, Tier};
use postrider_model::{Delivery, EndpointId};
use postrider_pump::Options;

use crate::support::{Running, delivery, ids, start, start_with};

const COUNT: usize = 500;

/// Puts deliveries due after 1 to 8 s into the retry tiers.
async fn put_retries(pump: &Running) -> Vec<String> {
    put(pump, &RETRY).await
}

/// The same in other tiers.
async fn put(pump: &Running, tiers: &'static [Tier]) -> Vec<String> {
    let now = pump.now();
    let endpoint = EndpointId::new();
    let retries: Vec<Delivery> = (0..COUNT as u64)
        .map(|n| {
            delivery(endpoint, now).retry_at(now, now.plus(Duration::from_millis(1000 + n * 14)))
        })
        .collect();
    for retry in &retries {
        pump.wait_in(tiers, retry).await;
    }
    let mut ids: Vec<String> = retries.iter().map(|retry| retry.id.to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_repeats_nothing_and_loses_nothing() {
    let batch_records = 7;
    let mut pump = start_with(Options {
        batch_records,
        ..Options::default()
    });
    let expected = put_retries(&pump).await;
    for n in 0..200 {
        tokio::time::sleep(Duration::from_micros(n * 457)).await;
        for _ in 0..n % 13 {
            tokio::task::yield_now().await;
        }
        pump = pump.kill_and_start();
    }
    let came = pump.out(DELIVERIES_NORMAL, COUNT).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ids(&came), expected);
    assert_eq!(pump.log.records(DELIVERIES_NORMAL).len(), COUNT);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_busy_or_full_log_is_asked_again_until_it_takes_what_is_due() {
    let pump = start();
    let expected = put_retries(&pump).await;
    for error in [
        LogError::Busy("testing".to_owned()),
        LogError::Full("testing".to_owned()),
    ] {
        pump.refuse(&error);
        tokio::time::sleep(Duration::from_secs(3)).await;
        pump.log.recover();
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let came = pump.out(DELIVERIES_NORMAL, COUNT).await;
    assert_eq!(ids(&came), expected);
    assert!(pump.metrics.log_refusals.get() > 0);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_no_room_for_a_batch_is_asked_for_less_until_all_is_moved_once_and_in_order()
{
    for tiers in [&RETRY[..], &PARK[..]] {
        let pump = start();
        let expected = put(&pump, tiers).await;
        let largest = |topic| {
            pump.log
                .records(topic)
                .iter()
                .map(|one| one.key.len() + one.value.len())
                .max()
        };
        let one = tiers.iter().filter_map(|tier| largest(tier.topic)).max();
        // With the headers of one, and not of two.
        pump.log.refuse_beyond(one.unwrap() * 3 / 2);
        let came = pump
            .out_within(DELIVERIES_NORMAL, COUNT, Duration::from_secs(86_400))
            .await;
        assert_eq!(ids(&came), expected);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pump.log.records(DELIVERIES_NORMAL).len(), COUNT);
        pump.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn on_shutdown_what_is_not_due_stays_and_what_was_moved_is_finished() {
    let pump = start();
    let now = pump.now();
    put_retries(&pump).await;
    let later = now.plus(Duration::from_secs(5));
    let log = pump.log.clone();
    tokio::time::sleep(later.since(pump.now())).await;
    tokio::time::timeout(Duration::from_secs(1), pump.stop())
        .await
        .unwrap()
        .unwrap();
    let finished: u64 = RETRY
        .iter()
        .map(|tier| log.committed(PUMP, tier.topic).next)
        .sum();
    let left: usize = RETRY.iter().map(|tier| log.records(tier.topic).len()).sum();
    let came = log.records(DELIVERIES_NORMAL).len();
    assert!(came > 0 && left > 0 && finished >= came as u64);
    assert_eq!(came + left, COUNT);
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_not_held_up_by_a_log_that_takes_nothing() {
    for tiers in [&RETRY[..], &PARK[..]] {
        let pump = start();
        put(&pump, tiers).await;
        let full = LogError::Full("testing".to_owned());
        pump.refuse(&full);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(pump.metrics.log_refusals.get() > 0);
        let stopped = tokio::time::timeout(Duration::from_secs(2), pump.stop()).await;
        stopped.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn parked_deliveries_do_not_rest_for_the_time_that_the_log_took_nothing() {
    let pump = start_with(Options {
        batch_records: 50,
        ..Options::default()
    });
    let expected = put(&pump, &PARK).await;
    let full = LogError::Full("testing".to_owned());
    pump.refuse(&full);
    tokio::time::sleep(Duration::from_secs(600)).await;
    pump.log.recover();
    let soon = Duration::from_secs(15);
    let came = pump.out_within(DELIVERIES_NORMAL, COUNT, soon).await;
    assert_eq!(ids(&came), expected);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_stopped_stops_the_pump() {
    let pump = start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    postrider_log::Log::close(&pump.log).await.unwrap();
    assert!(pump.ended().await.is_err());
}
