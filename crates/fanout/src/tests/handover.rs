//! Partitions that go from one fan-out to another.

use std::time::Duration;

use postrider_log::{LogError, Purpose};
use postrider_model::topics::{DELIVERIES_NORMAL, EVENTS, FANOUT, FANOUTS};

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
async fn a_revoked_fan_out_finishes_what_it_has_begun_before_it_leaves() {
    let (first, second) = two().await;
    // As from another process: they can be read while nothing that follows from them can be written.
    let publish = async || {
        first.log.recover();
        first.publish(|_| {}).await;
        let busy = LogError::Busy("full".to_owned());
        first.log.fail_appends(Purpose::Intake, busy);
    };
    for _ in 0..20 {
        publish().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = first.log.committed(FANOUT, EVENTS).next;
    first.log.revoke(FANOUT, &first.log.partitions(EVENTS));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first.log.committed(FANOUT, EVENTS).next, before);
    first.log.recover();
    // What comes later is the next owner's.
    first.publish(|_| {}).await;
    first.settle().await;
    assert_eq!(
        (first.metrics.events.get(), second.metrics.events.get()),
        (21, 1)
    );
    assert_eq!(first.log.records(DELIVERIES_NORMAL).len(), 22);
    assert_eq!(first.log.records(FANOUTS).len(), 22);
    second.stop().await;
    first.stop().await;
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
