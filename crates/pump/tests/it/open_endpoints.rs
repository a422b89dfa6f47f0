//! Deliveries of an open endpoint stay in the park, but for the one that may probe.

use std::time::Duration;

use postrider_model::topics::{DELIVERIES_NORMAL, PARK};
use postrider_model::{BreakerState, EndpointId, EndpointState, Timestamp};
use postrider_pump::{Kind, Route};

use crate::support::{Running, closed, delivery, open, start};

/// Parks `count` deliveries of `endpoint` for a second.
async fn park(pump: &Running, endpoint: EndpointId, count: usize) {
    let now = pump.now();
    let until = now.plus(Duration::from_secs(1));
    let records = (0..count).map(|_| {
        let parked = delivery(endpoint, now).parked_until(now, until);
        parked.to_record_in(PARK[0].topic)
    });
    pump.put(records.collect()).await;
}

/// How many have come to the worker after `seconds` since `began`.
async fn after(pump: &Running, began: Timestamp, seconds: u64) -> usize {
    tokio::time::sleep(began.plus(Duration::from_secs(seconds)).since(pump.now())).await;
    pump.log.records(DELIVERIES_NORMAL).len()
}

#[tokio::test(start_paused = true)]
async fn after_the_probes_time_one_comes_through_in_each_interval_whatever_the_state_says() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let began = pump.now();
    let probe_at = began.plus(Duration::from_secs(30));
    pump.put(vec![open(endpoint, began, probe_at).to_record()])
        .await;
    park(&pump, endpoint, 200).await;
    assert_eq!(after(&pump, began, 29).await, 0);
    assert_eq!(after(&pump, began, 35).await, 1);
    // The owner is dead and never says another word: about one each five seconds, never more.
    let later = after(&pump, began, 335).await;
    assert!((40..=62).contains(&later), "{later} in 300 s");
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_healthy_endpoint_beside_an_open_one_gets_its_parked_deliveries_on_time() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let began = pump.now();
    let probe_at = began.plus(Duration::from_secs(300));
    pump.put(vec![open(endpoint, began, probe_at).to_record()])
        .await;
    park(&pump, endpoint, 5000).await;
    park(&pump, EndpointId::new(), 10).await;
    assert_eq!(after(&pump, began, 2).await, 10);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_breaker_closes_every_parked_delivery_comes_back() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let began = pump.now();
    let probe_at = began.plus(Duration::from_secs(600));
    pump.put(vec![open(endpoint, began, probe_at).to_record()])
        .await;
    park(&pump, endpoint, 3000).await;
    assert_eq!(after(&pump, began, 20).await, 0);
    pump.put(vec![closed(endpoint, pump.now()).to_record()])
        .await;
    pump.out(DELIVERIES_NORMAL, 3000).await;
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_was_open_before_the_pump_started_is_known_before_the_first_is_judged() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let began = pump.now();
    let probe_at = began.plus(Duration::from_secs(60));
    pump.put(vec![open(endpoint, began, probe_at).to_record()])
        .await;
    park(&pump, endpoint, 50).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let pump = pump.kill_and_start();
    assert_eq!(after(&pump, began, 59).await, 0);
    assert_eq!(after(&pump, began, 62).await, 1);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_of_an_endpoint_parks_nobody() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let began = pump.now();
    let probe_at = began.plus(Duration::from_secs(600));
    pump.put(vec![open(endpoint, began, probe_at).to_record()])
        .await;
    park(&pump, endpoint, 1).await;
    assert_eq!(after(&pump, began, 30).await, 0);
    pump.put(vec![EndpointState::forget(endpoint)]).await;
    pump.out(DELIVERIES_NORMAL, 1).await;
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_parked_delivery_of_an_open_endpoint_still_dies_at_its_deadline() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let now = pump.now();
    let probe_at = now.plus(Duration::from_secs(86_400));
    pump.put(vec![open(endpoint, now, probe_at).to_record()])
        .await;
    let mut parked = delivery(endpoint, now).parked_until(now, now.plus(Duration::from_secs(1)));
    parked.deadline = now.plus(Duration::from_secs(100));
    pump.put(vec![parked.to_record_in(PARK[0].topic); 10]).await;
    pump.out(postrider_model::topics::DEAD_LETTERS, 10).await;
    let late = pump.now().since(parked.deadline);
    assert!(late < Duration::from_secs(2), "{late:?}");
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_many_parked_for_a_dead_endpoint_are_not_rewritten_all_the_time() {
    let (pump, endpoint) = (start(), EndpointId::new());
    let began = pump.now();
    let half_open = EndpointState {
        breaker: BreakerState::HalfOpen,
        ..open(endpoint, began, began.plus(Duration::from_secs(86_400)))
    };
    pump.put(vec![half_open.to_record()]).await;
    park(&pump, endpoint, 20_000).await;
    after(&pump, began, 600).await;
    let hops = pump.metrics.moved.of((Kind::Park, Route::Hop)).get();
    assert!(hops < 20_000 * 4, "{hops} hops in ten minutes");
    pump.stop().await.unwrap();
}
