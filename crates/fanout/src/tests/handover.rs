//! Partitions that go from one fan-out to another.

use std::time::Duration;

use postrider_log::{LogError, Purpose};
use postrider_model::topics::{DELIVERIES_NORMAL, EVENTS, EVENTS_WAITING, FANOUT, FANOUTS};

use super::house::House;
use crate::Options;

/// Two fan-outs of one group; the first has everything.
async fn two() -> (House, House) {
    let first = House::new(Options::default()).await;
    first.endpoint(|_| {}).await;
    first.log.share(FANOUT);
    first.publish(|_| {}).await;
    first.settle().await;
    let (log, store) = (first.log.clone(), first.store.clone());
    let second = House::on(log, store, first.app_id, Options::default()).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_waits_for_the_log_gives_up_what_is_wanted_back_to_another() {
    let (first, second) = two().await;
    // As from another process: they can be read while nothing that follows from them can be written.
    let publish = async || {
        first.log.recover();
        first.publish(|_| {}).await;
        let busy = LogError::Busy("full".to_owned());
        first.log.fail_appends(Purpose::Spreading, busy);
    };
    for _ in 0..20 {
        publish().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = first.log.committed(FANOUT, EVENTS).next;
    first.log.revoke(FANOUT, &first.log.partitions(EVENTS));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first.log.committed(FANOUT, EVENTS).next, before);
    // Nothing is left to it: its end is no loss.
    first.service.abort();
    first.log.recover();
    first.publish(|_| {}).await;
    first.settle().await;
    assert!(second.metrics.batch.count() > 0);
    assert_eq!(first.log.records(DELIVERIES_NORMAL).len(), 22);
    assert_eq!(first.log.records(FANOUTS).len(), 22);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_waits_for_the_store_gives_up_what_is_wanted_back_to_another() {
    let (first, second) = two().await;
    first.store.set_available(false);
    first.publish(|_| {}).await;
    first.log.wait_for_records(EVENTS_WAITING, 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = first.log.partitions(EVENTS_WAITING);
    first.log.revoke(FANOUT, &waiting);
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.service.abort();
    first.store.set_available(true);
    second.settle_waiting().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_go_to_and_fro_between_two_fan_outs_are_neither_lost_nor_repeated() {
    const COUNT: usize = 300;
    let (first, second) = two().await;
    let events = first.log.partitions(EVENTS);
    for n in 1..COUNT {
        first.publish(|_| {}).await;
        for _ in 0..n % 11 {
            tokio::task::yield_now().await;
        }
        match n % 3 {
            0 => first.log.lose(FANOUT, &events),
            1 => first.log.revoke(FANOUT, &events),
            _ => {}
        }
    }
    first.settle().await;
    assert_eq!(first.log.records(DELIVERIES_NORMAL).len(), COUNT);
    assert!(first.metrics.events.get() > 1 && second.metrics.events.get() > 1);
    second.stop().await;
    first.stop().await;
}
