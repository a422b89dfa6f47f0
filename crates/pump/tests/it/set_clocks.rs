//! Our own clock is set while deliveries wait.

use std::time::Duration;

use postrider_model::topics::{DELIVERIES_NORMAL, ENDPOINT_STATE, PARK, RETRY};
use postrider_model::{Delivery, EndpointId};
use tokio::time::Instant;

use crate::support::{Running, delivery, open, start};

const S: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A retry, and a parked delivery, that wait for so long.
async fn put_two(pump: &Running, wait: Duration) {
    let now = pump.now();
    let made = || delivery(EndpointId::new(), now);
    let at = now.plus(wait);
    pump.wait_in(&RETRY, &made().retry_at(now, at)).await;
    pump.wait_in(&PARK, &made().parked_until(now, at)).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_while_the_clock_is_set_back_waits_no_longer_than_it_was_to() {
    // In one tier, and in many.
    for wait in [5 * S, 11 * HOUR + 77 * S] {
        let pump = start();
        put_two(&pump, wait).await;
        let began = Instant::now();
        pump.set_clock_back(30 * HOUR);
        pump.out_within(DELIVERIES_NORMAL, 2, 40 * HOUR).await;
        let waited = began.elapsed();
        let late = S.max(wait / 50);
        assert!(
            waited + S >= wait && waited <= wait + late,
            "{wait:?}: {waited:?}"
        );
        for came in pump.log.records(DELIVERIES_NORMAL) {
            let left = Delivery::decode(&came.value).unwrap().wait(pump.now());
            assert!(left < S, "the worker would park it for {left:?} more");
        }
        pump.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_far_off_does_not_come_early_when_the_clock_goes_forward_and_back() {
    let pump = start();
    let wait = 11 * HOUR;
    put_two(&pump, wait).await;
    let began = Instant::now();
    pump.set_clock_forward(10 * HOUR);
    // It hops, by that clock.
    tokio::time::sleep(60 * S).await;
    put_two(&pump, wait).await;
    tokio::time::sleep(60 * S).await;
    pump.set_clock_back(10 * HOUR);
    pump.out_within(DELIVERIES_NORMAL, 1, 2 * wait).await;
    let waited = began.elapsed();
    assert!(
        waited + S >= wait && waited <= wait + wait / 50,
        "{waited:?}"
    );
    pump.out_within(DELIVERIES_NORMAL, 4, wait).await;
    let waited = began.elapsed() - 60 * S;
    assert!(
        waited + S >= wait && waited <= wait + wait / 50,
        "{waited:?}"
    );
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_open_endpoint_whose_clock_is_set_back_is_tried_no_later_than_it_was_to_be() {
    let pump = start();
    let (now, endpoint) = (pump.now(), EndpointId::new());
    let probe_at = now.plus(60 * S);
    let state = open(endpoint, now, probe_at).to_record();
    assert_eq!(state.topic, ENDPOINT_STATE);
    pump.put(vec![state]).await;
    let parked = delivery(endpoint, now).parked_until(now, probe_at);
    pump.wait_in(&PARK, &parked).await;
    let began = Instant::now();
    pump.set_clock_back(HOUR);
    pump.out(DELIVERIES_NORMAL, 1).await;
    let waited = began.elapsed();
    assert!(waited < 150 * S, "{waited:?}");
    pump.stop().await.unwrap();
}
