//! Fan-out on the in-memory log and store.

mod away;
mod handover;
mod house;
mod official_library;
mod producers;
mod repeats;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_log::{Log, LogError, NewRecord, Purpose};
use postrider_model::topics::{
    self, DEAD_LETTERS, DELIVERIES_BULK, DELIVERIES_NORMAL, EVENTS, EVENTS_REJECTED,
    EVENTS_WAITING, FANOUT, FANOUTS,
};
use postrider_model::{
    AppId, Clock, DeadLetter, DeathReason, Delivery, Disabled, Endpoint, EndpointId, EventId,
    SystemClock, Timestamp,
};
use postrider_store::{ApplicationRef, Applications, EndpointRef, Endpoints};

use crate::Options;

use house::{House, application, event};

#[tokio::test(start_paused = true)]
async fn an_event_goes_to_each_endpoint_that_wants_it_and_to_no_other() {
    let house = House::new(Options::default()).await;
    let every = house.endpoint(|_| {}).await;
    let typed = house
        .endpoint(|e| e.event_types = Some(vec!["order.created".parse().unwrap()]))
        .await;
    let on_channel = house
        .endpoint(|e| e.channels = Some(vec!["eu".parse().unwrap()]))
        .await;
    house
        .endpoint(|e| e.event_types = Some(vec!["order.deleted".parse().unwrap()]))
        .await;
    house
        .endpoint(|e| e.channels = Some(vec!["us".parse().unwrap()]))
        .await;
    house
        .endpoint(|e| e.disabled = Some(Disabled::ByOwner))
        .await;
    let id = house
        .publish(|e| e.channels = vec!["eu".parse().unwrap()])
        .await;

    let deliveries = house.deliveries(DELIVERIES_NORMAL, 3).await;
    let to: Vec<_> = deliveries.iter().map(|d| d.endpoint_id).collect();
    assert_eq!(to, [every, typed, on_channel]);
    assert!(
        deliveries
            .iter()
            .all(|d| d.id == Delivery::id_of(id, d.endpoint_id) && d.event_id == id)
    );
    let fanouts = house.fanouts(1).await;
    assert_eq!(
        (&fanouts[0].endpoints, fanouts[0].complete, fanouts[0].stale),
        (&to, true, false)
    );
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_says_when_its_own_endpoint_or_application_was_changed_and_nothing_of_others() {
    let house = House::new(Options::default()).await;
    let store = &house.store;
    let mut of = BTreeMap::new();
    for _ in 0..2 {
        let id = house.endpoint(|_| {}).await;
        let endpoint = store
            .endpoint(house.app_id, &EndpointRef::Id(id))
            .await
            .unwrap();
        of.insert(id, endpoint.unwrap().version);
    }
    let told = async |from: usize| {
        house.publish(|_| {}).await;
        let all = house.deliveries(DELIVERIES_NORMAL, from + 2).await;
        let told = all[from..].iter();
        told.map(|one| (one.endpoint_id, one.registry_version))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(told(0).await, of);
    let by = ApplicationRef::Id(house.app_id);
    let application = store.application(&by).await.unwrap().unwrap();
    let changed = store.replace_application(&application).await.unwrap();
    let both = of.into_keys().map(|id| (id, changed.version)).collect();
    assert_eq!(told(2).await, both);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_wants_leaves_its_record_too() {
    let house = House::new(Options::default()).await;
    let id = house.publish(|_| {}).await;
    let fanouts = house.fanouts(1).await;
    assert_eq!((fanouts[0].event_id, fanouts[0].endpoints.len()), (id, 0));
    house.settle().await;
    house.stop().await;
}

#[tokio::test]
async fn an_endpoint_made_before_an_event_was_accepted_gets_it() {
    let house = Arc::new(House::new(Options::default()).await);
    let makers = (0..8).map(|_| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            for _ in 0..50 {
                let endpoint = house.endpoint(|_| {}).await;
                let event = house.publish(|_| {}).await;
                let fanout = loop {
                    let all = house.fanouts(1).await;
                    match all.into_iter().find(|fanout| fanout.event_id == event) {
                        Some(fanout) => break fanout,
                        None => tokio::task::yield_now().await,
                    }
                };
                assert!(fanout.endpoints.contains(&endpoint));
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_event_goes_out_in_parts_in_class_bulk_and_each_endpoint_gets_it_once() {
    let options = Options {
        part_endpoints: 10,
        ..Options::default()
    };
    let house = House::new(options).await;
    let mut wanting = BTreeSet::new();
    for _ in 0..35 {
        wanting.insert(house.endpoint(|_| {}).await);
    }
    house.publish(|_| {}).await;
    let deliveries = house.deliveries(DELIVERIES_BULK, 35).await;
    house.settle().await;
    assert_eq!(deliveries.len(), 35);
    assert_eq!(
        deliveries
            .iter()
            .map(|d| d.endpoint_id)
            .collect::<BTreeSet<_>>(),
        wanting
    );
    let fanouts = house.fanouts(4).await;
    assert_eq!(
        fanouts.iter().map(|f| f.complete).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert!(house.log.records(DELIVERIES_NORMAL).is_empty());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn payload_times_matches_has_a_budget() {
    let options = Options {
        part_bytes: 3_000,
        ..Options::default()
    };
    let house = House::new(options).await;
    for _ in 0..7 {
        house.endpoint(|_| {}).await;
    }
    house
        .publish(|e| e.payload = Bytes::from(vec![b'x'; 1_000]))
        .await;
    house.deliveries(DELIVERIES_BULK, 7).await;
    let parts: Vec<_> = house
        .fanouts(3)
        .await
        .iter()
        .map(|f| f.endpoints.len())
        .collect();
    assert_eq!(parts, [3, 3, 1]);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_belongs_to_nobody_is_set_aside_with_its_reason_and_stops_nobody() {
    let house = House::new(Options::default()).await;
    house.endpoint(|_| {}).await;
    house.append(NewRecord::new(EVENTS, "no id", "x")).await;
    let stranger = event(AppId::new());
    house.append(stranger.to_record()).await;
    house.publish(|_| {}).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;
    let rejected = house.log.wait_for_records(EVENTS_REJECTED, 2).await;
    let reason = |n: usize| {
        String::from_utf8(
            rejected[n]
                .headers
                .get("postrider-reason")
                .unwrap()
                .to_vec(),
        )
        .unwrap()
    };
    assert!(reason(0).starts_with("headers: neither"), "{}", reason(0));
    assert_eq!(
        reason(1),
        format!("there is no application {}", stranger.app_id)
    );
    assert_eq!(rejected[1].value, stranger.payload);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_fan_out_goes_on_and_what_it_missed_is_added_when_the_store_is_back() {
    let house = House::new(Options::default()).await;
    let known = house.endpoint(|_| {}).await;
    house.publish(|_| {}).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;
    // Made, but fan-out has not seen it when the store goes away.
    let unseen = house.endpoint(|_| {}).await;
    house.store.set_available(false);
    let mut events = Vec::new();
    for so_far in 2..12 {
        events.push(house.publish(|_| {}).await);
        // One after the other: each is matched in a batch of its own, behind those that are to be matched again.
        let stale = house.deliveries(DELIVERIES_NORMAL, so_far).await;
        assert_eq!(stale[so_far - 1].endpoint_id, known);
    }
    assert!(
        house.fanouts(11).await[1..]
            .iter()
            .all(|fanout| fanout.stale)
    );

    let late = |e: &mut Endpoint| e.created_at = SystemClock.now().plus(Duration::from_secs(3600));
    house.store.set_available(true);
    house.endpoint(late).await;
    let all = house.deliveries(DELIVERIES_NORMAL, 21).await;
    house.settle().await;
    let added: Vec<_> = all[11..]
        .iter()
        .map(|delivery| (delivery.endpoint_id, delivery.event_id))
        .collect();
    let expected: Vec<_> = events.into_iter().map(|event| (unseen, event)).collect();
    assert_eq!(added, expected);
    let all = house.deliveries(DELIVERIES_NORMAL, 21).await;
    assert_eq!(
        all.len(),
        21,
        "nobody twice, and not the one that was made after the events"
    );
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_many_that_an_outage_missed_are_added_in_parts_in_class_bulk_and_nobody_twice() {
    let options = Options {
        part_endpoints: 10,
        ..Options::default()
    };
    let house = House::new(options).await;
    let ids: BTreeSet<_> = (0..40).map(|_| EndpointId::new()).collect();
    let of = |known: bool| {
        let chosen = ids.iter().enumerate();
        let chosen = chosen.filter(move |(n, _)| (n % 8 == 4) == known);
        chosen.map(|(_, id)| *id).collect::<BTreeSet<_>>()
    };
    let (known, missed) = (of(true), of(false));
    for id in known {
        house.endpoint(|e| e.id = id).await;
    }
    house.publish(|_| {}).await;
    house.deliveries(DELIVERIES_NORMAL, 5).await;
    for id in &missed {
        house.endpoint(|e| e.id = *id).await;
    }
    house.store.set_available(false);
    house.publish(|_| {}).await;
    house.deliveries(DELIVERIES_NORMAL, 10).await;
    house.store.set_available(true);
    let added = house.deliveries(DELIVERIES_BULK, 35).await;
    let fanouts = house.fanouts(6).await;
    house.settle_waiting().await;
    let added_to: BTreeSet<_> = added.iter().map(|d| d.endpoint_id).collect();
    assert_eq!(added_to, missed);
    let parts: Vec<_> = fanouts[2..].iter().map(|f| f.endpoints.len()).collect();
    assert_eq!(parts, [10, 10, 10, 5]);
    assert_eq!(house.log.records(DELIVERIES_BULK).len(), 35, "nobody twice");
    assert_eq!(house.log.records(DELIVERIES_NORMAL).len(), 10);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn payload_times_what_an_outage_missed_has_a_budget() {
    let options = Options {
        part_bytes: 3_000,
        ..Options::default()
    };
    let house = House::new(options).await;
    house.publish(|_| {}).await;
    house.settle().await;
    for _ in 0..7 {
        house.endpoint(|_| {}).await;
    }
    house.store.set_available(false);
    let payload = Bytes::from(vec![b'x'; 1_000]);
    house.publish(|e| e.payload = payload).await;
    house.log.wait_for_records(EVENTS_WAITING, 1).await;
    house.store.set_available(true);
    house.deliveries(DELIVERIES_BULK, 7).await;
    let fanouts = house.fanouts(5).await;
    let parts: Vec<_> = fanouts[2..].iter().map(|f| f.endpoints.len()).collect();
    assert_eq!(parts, [3, 3, 1]);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_unknown_application_waits_for_a_fresh_snapshot_before_it_is_rejected() {
    let house = House::new(Options::default()).await;
    let newcomer = AppId::new();
    house
        .store
        .insert_application(&application(newcomer))
        .await
        .unwrap();
    house.store.set_available(false);
    house.append(event(newcomer).to_record()).await;
    house.log.wait_for_records(EVENTS_WAITING, 1).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(house.log.records(FANOUTS).is_empty());
    house.store.set_available(true);
    house.fanouts(1).await;
    assert!(house.log.records(EVENTS_REJECTED).is_empty());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn fan_out_waits_while_the_log_is_full_and_then_goes_on() {
    let house = House::new(Options::default()).await;
    house.endpoint(|_| {}).await;
    let ends = {
        house.publish(|_| {}).await;
        house.log.ends(EVENTS).await.unwrap()
    };
    house
        .log
        .wait_finished(FANOUT, EVENTS, &ends, Duration::from_secs(60))
        .await
        .unwrap();
    let record = event(house.app_id).to_record();
    house.append(record).await;
    house
        .log
        .fail_appends(Purpose::Spreading, LogError::Full("no space".to_owned()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    house.log.recover();
    house.deliveries(DELIVERIES_NORMAL, 2).await;
    house.settle().await;
    assert_eq!(house.log.records(DELIVERIES_NORMAL).len(), 2);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_no_room_for_a_batch_is_asked_for_an_event_at_a_time() {
    let house = House::new(Options::default()).await;
    for _ in 0..3 {
        house.endpoint(|_| {}).await;
    }
    let payload = Bytes::from(vec![b'1'; 4_000]);
    house
        .log
        .fail_appends(Purpose::Spreading, LogError::Full("no space".to_owned()));
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(house.publish(|e| e.payload = payload.clone()).await);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    house.log.recover();
    // Three deliveries fit, and not six.
    house.log.refuse_beyond(5 * 4_000);
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 27).await;
    house.settle().await;
    let each: Vec<_> = deliveries.iter().map(|one| one.event_id).collect();
    let expected: Vec<_> = ids.iter().flat_map(|id| [*id; 3]).collect();
    assert_eq!(each, expected);
    assert_eq!(house.log.records(DELIVERIES_NORMAL).len(), 27);
    assert_eq!(house.log.records(FANOUTS).len(), 9);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_repeats_nothing_that_was_finished() {
    let house = House::new(Options::default()).await;
    house.endpoint(|_| {}).await;
    house.publish(|_| {}).await;
    house.settle().await;
    let (log, store, app_id) = (
        Arc::new(house.log.restarted()),
        house.store.clone(),
        house.app_id,
    );
    house.service.abort();
    let house = House::on(log, store, app_id, Options::default()).await;
    house.publish(|_| {}).await;
    house.settle().await;
    assert_eq!(house.log.records(FANOUTS).len(), 2);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_ends_with_its_schedule_and_slack() {
    let house = House::new(Options {
        slack: Duration::from_secs(100),
        ..Options::default()
    })
    .await;
    house
        .endpoint(|e| Arc::make_mut(&mut e.policy).schedule = Some("0s,100s".parse().unwrap()))
        .await;
    house
        .publish(|e| e.accepted_at = Timestamp::from_millis(1_700_000_000_000))
        .await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 1).await;
    assert_eq!(
        deliveries[0].deadline,
        Timestamp::from_millis(1_700_000_210_000)
    );
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_begins_with_a_wait_is_waited_for() {
    let house = House::new(Options::default()).await;
    house
        .endpoint(|e| Arc::make_mut(&mut e.policy).schedule = Some("5m,1h".parse().unwrap()))
        .await;
    house.publish(|_| {}).await;
    let tier = topics::RETRY
        .iter()
        .find(|tier| tier.delay == Duration::from_secs(300))
        .unwrap();
    let waiting = house.deliveries(tier.topic, 1).await;
    assert_eq!(
        waiting[0].not_before,
        waiting[0].accepted_at.plus(Duration::from_secs(300))
    );
    assert!(house.log.records(DELIVERIES_NORMAL).is_empty());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_accepted_in_the_future_is_delivered_now() {
    let house = House::new(Options::default()).await;
    house.endpoint(|_| {}).await;
    house
        .publish(|e| e.accepted_at = SystemClock.now().plus(Duration::from_secs(3600)))
        .await;
    let deliveries = house.deliveries(DELIVERIES_NORMAL, 1).await;
    assert!(deliveries[0].not_before <= SystemClock.now());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_the_log_could_not_carry_become_dead_letters() {
    let house = House::new(Options::default()).await;
    let endpoint = house.endpoint(|_| {}).await;
    // A bare record, which fits, and does not with what a delivery adds.
    let mut record = NewRecord::new(EVENTS, house.app_id.to_string(), "");
    let id = EventId::new().to_string();
    for (name, value) in [
        ("ce_id", &*id),
        ("ce_source", "postrider"),
        ("ce_type", "t"),
    ] {
        record.headers.push(name, value.to_owned());
    }
    let most = house.log.limits().record_bytes;
    record.value = Bytes::from(vec![b'x'; most - record.size()]);
    house.append(record).await;
    let dead = house.log.wait_for_records(DEAD_LETTERS, 1).await;
    let letter = DeadLetter::decode(&dead[0].value).unwrap();
    assert_eq!(letter.reason, DeathReason::TooLarge);
    assert_eq!(letter.delivery.endpoint_id, endpoint);
    assert!(letter.payload_left_out);
    // What comes behind it is delivered.
    house.publish(|_| {}).await;
    assert_eq!(house.deliveries(DELIVERIES_NORMAL, 1).await.len(), 1);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_full_log_refused_until_the_shutdown_is_done_by_the_next_start() {
    let options = Options {
        batch_records: 10,
        ..Options::default()
    };
    let house = House::new(options.clone()).await;
    house.endpoint(|_| {}).await;
    house
        .log
        .fail_appends(Purpose::Spreading, LogError::Full("no space".to_owned()));
    house.log.recover();
    for _ in 0..30 {
        house.publish(|_| {}).await;
    }
    house
        .log
        .fail_appends(Purpose::Spreading, LogError::Full("no space".to_owned()));
    let log = Arc::clone(&house.log);
    let (store, app_id) = (house.store.clone(), house.app_id);
    house.stop().await;
    log.recover();
    let house = House::on(Arc::new(log.restarted()), store, app_id, options).await;
    house.settle().await;
    assert_eq!(house.log.records(DELIVERIES_NORMAL).len(), 30);
    house.stop().await;
}
