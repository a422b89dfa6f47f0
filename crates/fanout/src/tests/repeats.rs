//! Logs on which a crash can lie between deliveries and the position that they finish.

use postrider_model::topics::{DELIVERIES_NORMAL, EVENTS_WAITING, FANOUTS};

use super::house::{House, event};
use crate::Options;

#[tokio::test(start_paused = true)]
async fn an_event_that_its_writer_repeats_is_fanned_out_once() {
    let house = House::new(Options::default()).await;
    house.log.complete_in_two_steps();
    let house = house.begin_anew().await;
    house.endpoint(|_| {}).await;
    let record = event(house.app_id).to_record();
    // In one batch, and in a later one.
    for _ in 0..3 {
        house.append(record.clone()).await;
        house.append(record.clone()).await;
        house.settle().await;
    }
    assert_eq!(house.log.records(DELIVERIES_NORMAL).len(), 1);
    assert_eq!(house.metrics.repeats.get(), 5);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_large_event_is_fanned_out_once() {
    let house = House::new(Options {
        part_endpoints: 2,
        ..Options::default()
    })
    .await;
    house.log.complete_in_two_steps();
    let house = house.begin_anew().await;
    for _ in 0..5 {
        house.endpoint(|_| {}).await;
    }
    house.publish(|_| {}).await;
    let fanouts = house.fanouts(3).await;
    house.settle().await;
    let parts: Vec<_> = fanouts.iter().map(|f| f.endpoints.len()).collect();
    assert_eq!((parts, house.metrics.repeats.get()), (vec![2, 2, 1], 0));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_before_the_position_repeats_has_the_same_ids() {
    let house = House::new(Options::default()).await;
    house.endpoint(|_| {}).await;
    house.publish(|_| {}).await;
    house.settle().await;
    house.log.crash_before_positions();
    house.append(event(house.app_id).to_record()).await;
    house.log.wait_for_records(DELIVERIES_NORMAL, 2).await;
    let house = house.begin_anew().await;
    house.settle().await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 3).await;
    assert_eq!(deliveries.len(), 3, "only the one that was not finished");
    assert_eq!(deliveries[1].id, deliveries[2].id);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_matched_again_is_no_repeat_of_what_was_matched_before() {
    let house = House::new(Options::default()).await;
    house.log.complete_in_two_steps();
    let house = house.begin_anew().await;
    house.endpoint(|_| {}).await;
    house.publish(|_| {}).await;
    house.settle().await;
    let unseen = house.endpoint(|_| {}).await;
    house.store.set_available(false);
    house.publish(|_| {}).await;
    house.log.wait_for_records(EVENTS_WAITING, 1).await;
    house.store.set_available(true);
    house.log.wait_for_records(FANOUTS, 3).await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 3).await;
    assert_eq!(deliveries[2].endpoint_id, unseen);
    house.stop().await;
}
