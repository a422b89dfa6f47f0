//! Things to write.

use std::collections::BTreeMap;

use postrider_model::{
    AppId, Attempt, Class, Clock, Delivery, EndpointId, Event, EventId, EventOrigin, Outcome,
    SystemClock, Timestamp,
};
use postrider_store::{Application, HistoryBatch, Order, Page, PageStart};

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

pub(super) fn application(name: &str) -> Application {
    Application {
        id: AppId::new(),
        uid: None,
        name: name.into(),
        metadata: BTreeMap::new(),
        rate_limit: None,
        version: 0,
        created_at: now(),
        updated_at: now(),
    }
}

pub(super) fn event(app_id: AppId, accepted_at: Timestamp) -> Event {
    Event {
        id: EventId::new_at(accepted_at),
        app_id,
        event_type: "order.created".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: Event::JSON.into(),
        payload: "{}".into(),
        accepted_at,
        trace: None,
        origin: EventOrigin::Accepted,
    }
}

pub(super) fn events(events: &[Event]) -> HistoryBatch {
    HistoryBatch {
        events: events.to_vec(),
        ..HistoryBatch::default()
    }
}

pub(super) fn attempt(event: &Event, started_at: Timestamp) -> Attempt {
    let endpoint = EndpointId::new();
    let delivery = Delivery::of_event(event, (0, 1), endpoint, 1, Class::Normal, started_at);
    Attempt {
        id: delivery.attempt_id(1),
        delivery_id: delivery.id,
        generation: 0,
        number: 1,
        event_id: event.id,
        app_id: event.app_id,
        endpoint_id: endpoint,
        event_type: event.event_type.clone(),
        endpoint_version: 1,
        url: "https://example.com/".into(),
        started_at,
        duration: std::time::Duration::from_millis(5),
        outcome: Outcome::Succeeded,
        status_code: Some(200),
        response_body: "ok".into(),
        error: String::new(),
        next_attempt_at: None,
        trigger: delivery.trigger,
        accepted_at: event.accepted_at,
        exhausted: false,
    }
}

pub(super) fn all<K>() -> Page<K> {
    Page {
        limit: 1000,
        start: PageStart::Beginning,
        order: Order::Ascending,
    }
}
