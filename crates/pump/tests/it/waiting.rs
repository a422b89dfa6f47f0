//! Everything comes when it is due, and nothing makes a retry late.

use std::time::Duration;

use postrider_log::{Log, LogError, Purpose};
use postrider_model::topics::{
    DEAD_LETTERS, DELIVERIES_BULK, DELIVERIES_NORMAL, EVENTS_REJECTED, PARK, RETRY,
};
use postrider_model::{
    Class, DeadLetter, DeathReason, Delivery, EndpointId, NewRecord, Schedule, Topic,
};
use postrider_pump::{Kind, Route};

use crate::support::{delivery, start, start_with_log_ahead, start_with_log_behind};

#[tokio::test(start_paused = true)]
async fn a_retry_after_five_seconds_goes_to_the_worker_on_time_as_the_bytes_that_it_was() {
    let pump = start();
    let now = pump.now();
    let at = now.plus(Duration::from_secs(5));
    let retry = delivery(EndpointId::new(), now).retry_at(now, at);
    pump.wait_in(&RETRY, &retry).await;
    let came = pump.out(DELIVERIES_NORMAL, 1).await;
    assert_eq!(came[0].value, retry.to_record().value);
    assert_eq!(came[0].key, retry.to_record().key);
    let late = pump.now().since(at);
    assert!(
        pump.now() >= at && late < Duration::from_millis(50),
        "{late:?}"
    );
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_time_is_an_hour_ahead_delays_neither_retries_nor_parked_deliveries() {
    let pump = start_with_log_ahead(Duration::from_secs(3600));
    let now = pump.now();
    let at = now.plus(Duration::from_secs(5));
    let retry = delivery(EndpointId::new(), now).retry_at(now, at);
    pump.wait_in(&RETRY, &retry).await;
    let parked = delivery(EndpointId::new(), now).parked_until(now, at);
    pump.wait_in(&PARK, &parked).await;
    pump.out(DELIVERIES_NORMAL, 2).await;
    let late = pump.now().since(at);
    assert!(
        pump.now() >= at && late < Duration::from_millis(50),
        "{late:?}"
    );
    pump.stop().await.unwrap();
}

/// Everything is due as soon as the log has it. Without a time of the pump's own it would hop without a rest.
#[tokio::test(start_paused = true)]
async fn a_log_whose_time_is_an_hour_behind_costs_a_waiting_delivery_one_hop() {
    for (kind, tiers) in [(Kind::Retry, &RETRY[..]), (Kind::Park, &PARK[..])] {
        let hops = async |behind: Duration| {
            let pump = start_with_log_behind(behind);
            let now = pump.now();
            let at = now.plus(Duration::from_secs(1_000));
            let made = delivery(EndpointId::new(), now);
            let waiting = match kind {
                Kind::Retry => made.retry_at(now, at),
                Kind::Park => made.parked_until(now, at),
            };
            pump.wait_in(tiers, &waiting).await;
            let came = pump.out(DELIVERIES_NORMAL, 1).await;
            assert!(came[0].headers.is_empty(), "{:?}", came[0].headers);
            let now = pump.now();
            let early = at.since(now) >= Duration::from_secs(1);
            assert!(!early && now.since(at) < Duration::from_secs(1), "{now}");
            let hops = pump.metrics.moved.of((kind, Route::Hop)).get();
            pump.stop().await.unwrap();
            hops
        };
        let right = hops(Duration::ZERO).await;
        assert_eq!(hops(Duration::from_secs(3600)).await, right + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_wait_of_the_default_schedule_ends_on_time_with_jitter_and_in_few_hops() {
    for (draw, wait) in Schedule::default().waits().iter().skip(1).enumerate() {
        let pump = start();
        let now = pump.now();
        let wait = Schedule::with_jitter(*wait, draw as f64 / 10.0 + 0.05);
        let at = now.plus(wait);
        let retry = delivery(EndpointId::new(), now).retry_at(now, at);
        pump.wait_in(&RETRY, &retry).await;
        let within = wait + Duration::from_secs(3600);
        pump.out_within(DELIVERIES_NORMAL, 1, within).await;
        let came = pump.now();
        // Less than the shortest tier is left to the lane.
        let early = Duration::from_secs(1);
        let late = Duration::from_secs(1).max(wait / 50);
        assert!(
            came.plus(early) > at && came <= at.plus(late),
            "{wait:?}: {at} came at {came}"
        );
        let hops = pump.metrics.moved.of((Kind::Retry, Route::Hop)).get() + 1;
        assert!(hops <= 12, "{wait:?} took {hops} hops");
        pump.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_parked_do_not_delay_a_retry() {
    let pump = start();
    let now = pump.now();
    let endpoint = EndpointId::new();
    let parked = delivery(endpoint, now).parked_until(now, now.plus(Duration::from_secs(5)));
    for _ in 0..50 {
        let record = parked.to_record_in(PARK[1].topic);
        pump.put(vec![record; 1000]).await;
    }
    let at = now.plus(Duration::from_secs(5));
    let mut retry = delivery(EndpointId::new(), now).retry_at(now, at);
    retry.class = Class::High;
    pump.wait_in(&RETRY, &retry).await;
    pump.out(retry.class.topic(), 1).await;
    let late = pump.now().since(at);
    assert!(late < Duration::from_millis(50), "{late:?}");
    pump.out(DELIVERIES_NORMAL, 50_000).await;
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_a_bounded_part_of_a_tier_is_read_before_its_head_is_due() {
    let pump = start();
    let now = pump.now();
    let parked =
        delivery(EndpointId::new(), now).parked_until(now, now.plus(Duration::from_secs(60)));
    for _ in 0..20 {
        pump.put(vec![parked.to_record_in(PARK[3].topic); 1000])
            .await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(pump.metrics.held.of(Kind::Park).get(), 1000);
    pump.out(DELIVERIES_NORMAL, 20_000).await;
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiting_delivery_past_its_deadline_becomes_a_dead_letter_when_the_deadline_comes() {
    for (tiers, deadline) in [(&RETRY, 90), (&PARK, 90), (&RETRY, 3), (&PARK, 2)] {
        let pump = start();
        let now = pump.now();
        let mut waiting = delivery(EndpointId::new(), now)
            .parked_until(now, now.plus(Duration::from_secs(3 * 3600)));
        waiting.deadline = now.plus(Duration::from_secs(deadline));
        pump.put(vec![waiting.to_record_in(tiers[0].topic)]).await;
        let came = pump.out(DEAD_LETTERS, 1).await;
        let letter = DeadLetter::decode(&came[0].value).unwrap();
        assert_eq!(
            (letter.reason, letter.id),
            (DeathReason::Expired, waiting.dead_letter_id())
        );
        let (died, late) = (letter.died_at, letter.died_at.since(waiting.deadline));
        assert!(
            died >= waiting.deadline && late <= Duration::from_secs(1),
            "{late:?}"
        );
        assert!(pump.log.records(DELIVERIES_NORMAL).is_empty());
        pump.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_goes_back_to_the_topic_of_its_class() {
    let pump = start();
    let now = pump.now();
    let deadline = now.plus(Duration::from_secs(600));
    let again = delivery(EndpointId::new(), now).again(7, 1, now, deadline);
    let retry = again.retry_at(now, now.plus(Duration::from_secs(5)));
    pump.wait_in(&RETRY, &retry).await;
    let came = pump.out(DELIVERIES_BULK, 1).await;
    assert_eq!(Delivery::decode(&came[0].value).unwrap(), retry);
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_kept_with_the_reason_and_stops_nobody() {
    let pump = start();
    let now = pump.now();
    let at = now.plus(Duration::from_secs(5));
    let retry = delivery(EndpointId::new(), now).retry_at(now, at);
    let tier: Topic = RETRY[1].topic;
    pump.put(vec![NewRecord::new(tier, "key", "\u{0}not a delivery")])
        .await;
    pump.put(vec![retry.to_record_in(tier)]).await;
    pump.out(DELIVERIES_NORMAL, 1).await;
    let rejected = pump.log.records(EVENTS_REJECTED);
    assert_eq!(rejected[0].value, "\u{0}not a delivery");
    assert!(rejected[0].headers.get("postrider-reason").is_some());
    pump.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_larger_than_the_log_takes_is_kept_without_its_payload_and_holds_nobody_up() {
    let pump = start();
    let now = pump.now();
    let in_tier = |delivery: &Delivery| delivery.to_record_in(RETRY[0].topic);
    let mut large = delivery(EndpointId::new(), now).retry_at(now, now);
    large.deadline = now;
    // Its record just fits, and that of its dead letter does not.
    let most = pump.log.limits().record_bytes;
    large.payload = vec![b'x'; most - in_tier(&large).size() - 10].into();
    let small = delivery(EndpointId::new(), now).retry_at(now, now);
    pump.put(vec![in_tier(&large), in_tier(&small)]).await;
    let dead = pump.out(DEAD_LETTERS, 1).await;
    let letter = DeadLetter::decode(&dead[0].value).unwrap();
    assert_eq!(
        (letter.id, letter.reason),
        (large.dead_letter_id(), DeathReason::Expired)
    );
    assert!(letter.payload_left_out && letter.delivery.event_id == large.event_id);
    pump.out(DELIVERIES_NORMAL, 1).await;
    assert_eq!(pump.metrics.too_large.get(), 1);
    pump.stop().await.unwrap();
}

/// They are written beside what they stand for: the worker has the space first, but not for ever.
#[tokio::test(start_paused = true)]
async fn where_space_is_short_parked_deliveries_are_put_back_later_and_retries_on_time() {
    let pump = start();
    let full = LogError::Full("testing".to_owned());
    pump.log.fail_appends(Purpose::Spreading, full);
    for kind in [Kind::Retry, Kind::Park] {
        let now = pump.now();
        let at = now.plus(Duration::from_secs(5));
        let waiting = delivery(EndpointId::new(), now);
        let (tiers, waiting, late) = match kind {
            Kind::Retry => (&RETRY[..], waiting.retry_at(now, at), 0..50),
            Kind::Park => (&PARK[..], waiting.parked_until(now, at), 500..2_000),
        };
        pump.wait_in(tiers, &waiting).await;
        let before = pump.log.records(DELIVERIES_NORMAL).len();
        pump.out(DELIVERIES_NORMAL, before + 1).await;
        let waited = pump.now().since(at).as_millis();
        assert!(late.contains(&waited), "{kind:?}: {waited} ms");
    }
    assert!(pump.metrics.log_refusals.get() > 0);
    pump.stop().await.unwrap();
}
