//! Archived events, and whom they went to.

use bytes::Bytes;
use postrider_model::{AppId, EndpointId, Event, EventId, EventOrigin, Fanout, TraceContext};

use super::Harness;
use super::samples::{all, at, attempt, event, known_application};
use crate::{
    AttemptFilter, EncodedAttempt, EventFilter, EventRef, FannedOut, HistoryBatch, Store,
    StoreError,
};

fn events(events: &[Event]) -> HistoryBatch {
    HistoryBatch {
        events: events.to_vec(),
        ..HistoryBatch::default()
    }
}

fn fanout(event: &Event, endpoints: &[EndpointId], complete: bool) -> Fanout {
    Fanout {
        event_id: event.id,
        app_id: event.app_id,
        endpoints: endpoints.to_vec(),
        registry_version: 3,
        stale: false,
        accepted_at: event.accepted_at,
        complete,
    }
}

pub async fn history_written_twice_is_there_once(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let (one, hook) = (event(app, at(0)), EndpointId::new());
    let batch = HistoryBatch {
        events: vec![one.clone(), one.clone()],
        fanouts: vec![fanout(&one, &[hook], true), fanout(&one, &[hook], true)],
        attempts: vec![
            attempt(&one, hook, at(1)).into(),
            attempt(&one, hook, at(1)).into(),
        ],
    };
    store.record(&batch).await.unwrap();
    store.record(&batch).await.unwrap();
    store.record(&HistoryBatch::default()).await.unwrap();
    let found = store.events(app, &EventFilter::default(), &all()).await;
    assert_eq!(found.unwrap(), std::slice::from_ref(&one));
    let filter = AttemptFilter {
        event: Some(one.id),
        ..AttemptFilter::default()
    };
    let found = store.attempts(app, &filter, &all()).await.unwrap();
    assert_eq!(found, [attempt(&one, hook, at(1))]);
    let found = store.fanned_out(app, one.id).await.unwrap().unwrap();
    assert_eq!(found.endpoints, [hook]);
}

pub async fn an_event_is_found_by_id_and_by_uid_in_its_application_only(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let named = |seconds| Event {
        uid: Some("order-1".parse().unwrap()),
        origin: EventOrigin::Continuation {
            after: EndpointId::new(),
        },
        ..event(app, at(seconds))
    };
    let (older, newer) = (named(0), named(5));
    let batch = events(&[older.clone(), newer.clone()]);
    store.record(&batch).await.unwrap();
    let store = harness.reopen(store).await;
    let accepted = |event: Event| Event {
        origin: EventOrigin::Accepted,
        ..event
    };
    let by = EventRef::Id(older.id);
    let found = store.event(app, &by).await.unwrap();
    assert_eq!(found, Some(accepted(older)));
    let elsewhere = store.event(AppId::new(), &by).await.unwrap();
    assert_eq!(elsewhere, None);
    let by = EventRef::Uid("order-1".parse().unwrap());
    let found = store.event(app, &by).await.unwrap();
    assert_eq!(found, Some(accepted(newer)));
    assert_eq!(store.event(AppId::new(), &by).await.unwrap(), None);
    let by = EventRef::Id(EventId::new());
    assert_eq!(store.event(app, &by).await.unwrap(), None);
}

pub async fn events_are_found_by_many_ids_at_once_in_their_application_only(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let events: Vec<Event> = (0..600).map(|seconds| event(app, at(seconds))).collect();
    let batch = HistoryBatch {
        events: events.clone(),
        ..HistoryBatch::default()
    };
    store.record(&batch).await.unwrap();
    let mut ids: Vec<EventId> = events[1..].iter().map(|event| event.id).collect();
    ids.push(EventId::new());
    let mut found = store.events_by_id(app, &ids).await.unwrap();
    found.sort_by_key(|event| event.accepted_at);
    assert_eq!(found, events[1..]);
    assert_eq!(store.events_by_id(AppId::new(), &ids).await.unwrap(), []);
    assert_eq!(store.events_by_id(app, &[]).await.unwrap(), []);
}

pub async fn any_byte_comes_back_as_it_was(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let odd = Event {
        id: EventId::derive(&[b"x"]),
        channels: vec!["a".parse().unwrap(), "a.b".parse().unwrap()],
        content_type: "application/x; ü=\"\u{1}\"".into(),
        payload: every_byte.into(),
        trace: TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ..event(app, at(0))
    };
    let empty = Event {
        payload: Bytes::new(),
        ..event(app, at(1))
    };
    let large = Event {
        payload: vec![0xff; 3_000_000].into(),
        ..event(app, at(2))
    };
    let all_three = [odd, empty, large];
    store.record(&events(&all_three)).await.unwrap();
    let found = store.events(app, &EventFilter::default(), &all()).await;
    assert!(found.unwrap() == all_three);
}

pub async fn events_are_filtered_by_type_channel_and_time(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let mut made: Vec<Event> = (0..6).map(|seconds| event(app, at(seconds))).collect();
    made[1].event_type = "order.paid".parse().unwrap();
    made[2].event_type = "order.sent".parse().unwrap();
    made[3].channels = vec!["north".parse().unwrap(), "south".parse().unwrap()];
    made[4].channels = vec!["northwest".parse().unwrap()];
    store.record(&events(&made)).await.unwrap();
    let select = async |filter: EventFilter| {
        let found = store.events(app, &filter, &all()).await.unwrap();
        let number = |event: &Event| made.iter().position(|one| one == event).unwrap();
        found.iter().map(number).collect::<Vec<_>>()
    };
    let none = EventFilter::default;
    let types = vec![made[1].event_type.clone(), made[2].event_type.clone()];
    let by_type = EventFilter {
        event_types: types,
        ..none()
    };
    assert_eq!(select(by_type).await, [1, 2]);
    for (channel, expected) in [("north", vec![3]), ("south", vec![3]), ("nort", vec![])] {
        let channel = Some(channel.parse().unwrap());
        let by_channel = EventFilter { channel, ..none() };
        assert_eq!(select(by_channel).await, expected);
    }
    let after = EventFilter {
        after: Some(at(3)),
        ..none()
    };
    assert_eq!(select(after).await, [4, 5]);
    let before = EventFilter {
        before: Some(at(2)),
        ..none()
    };
    assert_eq!(select(before).await, [0, 1]);
    let between = EventFilter {
        after: Some(at(1)),
        before: Some(at(3)),
        ..none()
    };
    assert_eq!(select(between).await, [2]);
}

pub async fn parts_of_a_fan_out_add_up_and_may_come_before_the_event(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let one = event(app, at(0));
    assert_eq!(store.fanned_out(app, one.id).await.unwrap(), None);
    let mut hooks: Vec<_> = (0..5).map(|_| EndpointId::new()).collect();
    hooks.sort();
    let part = |hooks: &[EndpointId], complete| HistoryBatch {
        fanouts: vec![fanout(&one, hooks, complete)],
        ..HistoryBatch::default()
    };
    let first = part(&hooks[..3], false);
    store.record(&first).await.unwrap();
    store.record(&first).await.unwrap();
    let found = store.fanned_out(app, one.id).await.unwrap();
    let expected = FannedOut {
        endpoints: hooks[..3].to_vec(),
        complete: false,
    };
    assert_eq!(found, Some(expected));
    store
        .record(&events(std::slice::from_ref(&one)))
        .await
        .unwrap();
    store.record(&part(&hooks[2..], true)).await.unwrap();
    let store = harness.reopen(store).await;
    let found = store.fanned_out(app, one.id).await.unwrap();
    let expected = FannedOut {
        endpoints: hooks,
        complete: true,
    };
    assert_eq!(found, Some(expected));
    let elsewhere = store.fanned_out(AppId::new(), one.id).await.unwrap();
    assert_eq!(elsewhere, None);

    let unwanted = event(app, at(1));
    let nobody = HistoryBatch {
        fanouts: vec![fanout(&unwanted, &[], true)],
        ..HistoryBatch::default()
    };
    store.record(&nobody).await.unwrap();
    let found = store.fanned_out(app, unwanted.id).await.unwrap().unwrap();
    assert!(found.endpoints.is_empty() && found.complete);
}

pub async fn a_batch_with_a_row_that_is_refused_writes_nothing(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let one = event(app, at(0));
    let good = attempt(&one, EndpointId::new(), at(0));
    let mut bad = attempt(&one, EndpointId::new(), at(0));
    bad.generation = u64::MAX;
    let batch = HistoryBatch {
        events: vec![one.clone()],
        attempts: vec![good.into(), bad.into()],
        ..HistoryBatch::default()
    };
    let result = store.record(&batch).await;
    assert!(matches!(result, Err(StoreError::Refused(_))), "{result:?}");
    let by = EventRef::Id(one.id);
    assert_eq!(store.event(app, &by).await.unwrap(), None);
    assert_eq!(store.tried(app, one.id).await.unwrap(), []);
}

pub async fn a_large_batch_is_written_whole(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let hook = EndpointId::new();
    let made: Vec<Event> = (0..1337).map(|seconds| event(app, at(seconds))).collect();
    let batch = HistoryBatch {
        fanouts: made.iter().map(|one| fanout(one, &[hook], true)).collect(),
        attempts: made
            .iter()
            .map(|one| attempt(one, hook, one.accepted_at).into())
            .collect(),
        events: made.clone(),
    };
    store.record(&batch).await.unwrap();
    let found = store.events(app, &EventFilter::default(), &all()).await;
    assert!(found.unwrap() == made);
    let filter = AttemptFilter {
        endpoint: Some(hook),
        ..AttemptFilter::default()
    };
    let found = store.attempts(app, &filter, &all()).await.unwrap();
    let found: Vec<EncodedAttempt> = found.into_iter().map(Into::into).collect();
    assert!(found == batch.attempts);
    for one in &made {
        assert!(store.fanned_out(app, one.id).await.unwrap().is_some());
    }
}

pub async fn old_events_go_in_small_batches_the_oldest_first(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let mut made: Vec<Event> = (0..6).map(|seconds| event(app, at(seconds))).collect();
    made.reverse();
    let batch = HistoryBatch {
        fanouts: made.iter().map(|one| fanout(one, &[], true)).collect(),
        ..events(&made)
    };
    store.record(&batch).await.unwrap();
    made.reverse();
    assert_eq!(store.delete_events(at(5), 3).await.unwrap(), 3);
    assert_eq!(left(&*store, app).await, made[3..]);
    assert_eq!(store.fanned_out(app, made[0].id).await.unwrap(), None);
    assert_eq!(store.delete_events(at(5), 3).await.unwrap(), 2);
    assert_eq!(store.delete_events(at(5), 3).await.unwrap(), 0);
    assert_eq!(left(&*store, app).await, made[5..]);
    assert!(store.fanned_out(app, made[5].id).await.unwrap().is_some());
}

pub async fn whom_an_event_went_to_goes_with_its_age_also_where_the_event_was_refused(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let refused: Vec<Event> = (0..5).map(|seconds| event(app, at(seconds))).collect();
    let archived = event(app, at(2));
    let all = refused.iter().chain([&archived]);
    let fanouts = all.map(|one| fanout(one, &[EndpointId::new()], true));
    let batch = HistoryBatch {
        fanouts: fanouts.collect(),
        ..events(std::slice::from_ref(&archived))
    };
    store.record(&batch).await.unwrap();
    while store.delete_events(at(4), 2).await.unwrap() >= 2 {}
    for one in refused[..4].iter().chain([&archived]) {
        assert_eq!(store.fanned_out(app, one.id).await.unwrap(), None);
    }
    let young = store.fanned_out(app, refused[4].id).await.unwrap();
    assert!(young.is_some(), "it is of its own age");
}

async fn left(store: &dyn Store, app: AppId) -> Vec<Event> {
    let found = store.events(app, &EventFilter::default(), &all()).await;
    found.unwrap()
}
