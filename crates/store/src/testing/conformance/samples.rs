//! Things to write.

use std::time::Duration;

use postrider_model::{
    AppId, Attempt, Class, DeadLetter, DeathReason, Delivery, Disabled, Endpoint, EndpointId,
    EndpointPolicy, EndpointSecret, Event, EventId, EventOrigin, Outcome, ReplayId, SecretText,
    Timestamp, TokenId,
};

use crate::{
    Application, DeadLetterFilter, Order, Page, PageStart, Replay, ReplayStatus, Selection, Store,
    TokenRecord, TokenScope,
};

/// The time that lies `seconds` after the suite's beginning.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

pub(super) fn all<K>() -> Page<K> {
    Page {
        limit: 1_000_000,
        start: PageStart::Beginning,
        order: Order::Ascending,
    }
}

pub(super) fn application(name: &str) -> Application {
    Application {
        id: AppId::new(),
        uid: None,
        name: name.into(),
        metadata: [("plan".to_owned(), "gold\u{1f600}".to_owned())].into(),
        rate_limit: Some(7),
        version: 0,
        created_at: at(0),
        updated_at: at(1),
    }
}

/// An application that is in the store.
pub(super) async fn known_application(store: &dyn Store) -> AppId {
    let made = store.insert_application(&application("A")).await;
    made.unwrap().id
}

/// An endpoint with every field set.
pub(super) fn endpoint(app_id: AppId) -> Endpoint {
    Endpoint {
        id: EndpointId::new(),
        app_id,
        uid: None,
        url: "https://example.com/hook?a=b".parse().unwrap(),
        description: "for ‹people›".into(),
        metadata: [("k".to_owned(), "v".to_owned())].into(),
        event_types: Some(vec!["order.created".parse().unwrap()]),
        channels: Some(vec!["north".parse().unwrap()]),
        disabled: Some(Disabled::Failing),
        policy: EndpointPolicy {
            rate_limit: Some(10),
            max_in_flight: Some(3),
            schedule: Some("0s,5s,90m".parse().unwrap()),
            timeout: Some(Duration::from_millis(1500)),
            final_statuses: vec![404, 422],
            headers: [("x-key".to_owned(), "secret".to_owned())].into(),
        }
        .shared(),
        secrets: vec![
            EndpointSecret {
                secret: SecretText::new("whsec_bmV3"),
                expires_at: None,
            },
            EndpointSecret {
                secret: SecretText::new("whsec_b2xk"),
                expires_at: Some(at(60)),
            },
        ],
        version: 0,
        created_at: at(0),
        updated_at: at(1),
    }
}

pub(super) fn token(hash: u8, scope: TokenScope) -> TokenRecord {
    TokenRecord {
        id: TokenId::new(),
        hash: [hash; 32],
        scope,
        name: "ci".into(),
        expires_at: Some(at(100)),
        revoked_at: None,
        version: 0,
        created_at: at(0),
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
        payload: "{\"n\": 1}".into(),
        accepted_at,
        trace: None,
        origin: EventOrigin::Accepted,
    }
}

pub(super) fn delivery(event: &Event, endpoint: EndpointId) -> Delivery {
    let deadline = event.accepted_at.plus(Duration::from_secs(3600));
    Delivery::of_event(event, (0, 1), endpoint, 5, Class::Normal, deadline)
}

/// The first attempt of an event to an endpoint: 200.
pub(super) fn attempt(event: &Event, endpoint: EndpointId, started_at: Timestamp) -> Attempt {
    let delivery = delivery(event, endpoint);
    Attempt {
        id: delivery.attempt_id(1),
        delivery_id: delivery.id,
        generation: 0,
        number: 1,
        event_id: event.id,
        app_id: event.app_id,
        endpoint_id: endpoint,
        event_type: event.event_type.clone(),
        endpoint_version: 5,
        url: "https://example.com/hook".into(),
        started_at,
        duration: Duration::from_millis(12),
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

/// The same try again, as number `number`.
pub(super) fn numbered(attempt: &Attempt, number: u32, started_at: Timestamp) -> Attempt {
    let parts = [
        attempt.delivery_id.as_bytes().as_slice(),
        &attempt.generation.to_be_bytes(),
        &number.to_be_bytes(),
    ];
    Attempt {
        id: postrider_model::AttemptId::derive(&parts),
        number,
        started_at,
        ..attempt.clone()
    }
}

pub(super) fn dead_letter(event: &Event, endpoint: EndpointId, died_at: Timestamp) -> DeadLetter {
    let letter = DeadLetter::of(delivery(event, endpoint), DeathReason::Exhausted, died_at);
    letter.after(Outcome::Refused, Some(500), "it said no")
}

pub(super) fn replay(app_id: Option<AppId>) -> Replay {
    Replay {
        id: ReplayId::new(),
        app_id,
        selection: Selection::Filter(DeadLetterFilter {
            before: Some(at(1000)),
            ..DeadLetterFilter::default()
        }),
        rate: 100,
        status: ReplayStatus::Running,
        total: 10,
        done: 0,
        failed: 0,
        cursor: None,
        paused_because: None,
        requested_by: "tok_someone".into(),
        generation: 9,
        created_at: at(500),
        updated_at: at(500),
    }
}
