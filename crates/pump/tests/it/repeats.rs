//! Logs on which a crash can lie between what was written and the position that it finished.

use std::time::Duration;

use postrider_model::topics::{DEAD_LETTERS, DELIVERIES_BULK, DELIVERIES_NORMAL, RETRY};
use postrider_model::{Delivery, EndpointId};
use postrider_pump::{Kind, Route};

use crate::support::{Running, delivery, ids, start_in_two_steps as start};

const S: Duration = Duration::from_secs(1);

fn passed_over(pump: &Running) -> u64 {
    pump.metrics.moved.of((Kind::Retry, Route::Repeat)).get()
}

/// A delivery whose first attempt failed now, to be tried again after `wait`.
fn failed(pump: &Running, wait: Duration) -> Delivery {
    let now = pump.now();
    delivery(EndpointId::new(), now).retry_at(now, now.plus(wait))
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_two_workers_wrote_goes_out_once_in_whatever_tiers_its_forms_waited() {
    let pump = start();
    let first = failed(&pump, 20 * S);
    pump.wait_in(&RETRY, &first).await;
    tokio::time::sleep(7 * S).await;
    // The worker was killed before it committed. The next one made the attempt again, and drew another wait.
    let now = pump.now();
    let second = Delivery {
        not_before: now.plus(31 * S),
        waiting_since: now,
        ..first.clone()
    };
    pump.wait_in(&RETRY, &second).await;
    pump.wait_in(&RETRY, &first).await;
    let came = pump.out(DELIVERIES_NORMAL, 1).await;
    tokio::time::sleep(100 * S).await;
    assert_eq!(ids(&came), [first.id.to_string()]);
    assert_eq!(pump.log.records(DELIVERIES_NORMAL).len(), 1);
    assert_eq!(passed_over(&pump), 2);
    // What follows from it is none, nor is a replay.
    let now = pump.now();
    let later = first.clone().retry_at(now, now.plus(9 * S));
    let replay = first.again(7, 1, now, now.plus(999 * S));
    let replay = replay.retry_at(now, now.plus(9 * S));
    for next in [later, replay] {
        pump.wait_in(&RETRY, &next).await;
    }
    pump.out(DELIVERIES_NORMAL, 2).await;
    pump.out(DELIVERIES_BULK, 1).await;
    assert_eq!(passed_over(&pump), 2);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hop_is_no_repeat() {
    let pump = start();
    let all = [1, 6, 47, 400, 5_000].map(|wait| failed(&pump, wait * S));
    for retry in &all {
        pump.wait_in(&RETRY, retry).await;
    }
    let came = pump
        .out_within(DELIVERIES_NORMAL, all.len(), 6_000 * S)
        .await;
    assert_eq!((came.len(), passed_over(&pump)), (all.len(), 0));
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_was_written_twice_dies_once() {
    let pump = start();
    let retry = Delivery {
        deadline: pump.now().plus(3 * S),
        ..failed(&pump, 60 * S)
    };
    for _ in 0..2 {
        pump.wait_in(&RETRY, &retry).await;
    }
    tokio::time::sleep(100 * S).await;
    assert_eq!(pump.log.records(DEAD_LETTERS).len(), 1);
    assert_eq!(passed_over(&pump), 1);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_pump_had_not_finished_when_it_was_killed_goes_out_again_and_nothing_is_lost() {
    let pump = start();
    let retry = failed(&pump, S);
    pump.wait_in(&RETRY, &retry).await;
    pump.log.crash_before_positions();
    pump.out(DELIVERIES_NORMAL, 1).await;
    let pump = pump.kill_and_start();
    let came = pump.out(DELIVERIES_NORMAL, 2).await;
    assert_eq!(came[0].value, came[1].value, "for the worker to tell");
    pump.stop().await.unwrap();
}
