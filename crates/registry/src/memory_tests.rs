//! What the configuration costs in memory, counted in bytes asked of the allocator.

use std::sync::Arc;

use postrider_model::{
    AppId, Endpoint, EndpointId, EndpointPolicy, EndpointSecret, SecretText, Timestamp,
};
use postrider_store::{Application, Change, EventTypeInfo};

use crate::Snapshot;

/// Bytes of memory for an endpoint that does nothing, at most.
const PROMISED: u64 = 1_000;
/// Likewise for an application without endpoints.
const PROMISED_FOR_AN_APPLICATION: u64 = 600;
/// What the allocator needs beside what it is asked for: its size classes lie up to an eighth apart, and pages are
/// seldom full.
const OF_THE_ALLOCATOR: u64 = 200;
const ENDPOINTS: u64 = 20_000;
const TYPES: [&str; 3] = ["order.created", "order.changed", "order.cancelled"];

fn application(n: u64) -> Application {
    Application {
        id: AppId::new(),
        uid: Some(format!("customer-{n}").parse().unwrap()),
        name: format!("The customer with number {n}"),
        metadata: Default::default(),
        rate_limit: None,
        version: n,
        created_at: Timestamp::from_millis(1),
        updated_at: Timestamp::from_millis(1),
    }
}

fn bare_endpoint(app_id: AppId, n: u64) -> Endpoint {
    Endpoint {
        id: EndpointId::new(),
        app_id,
        uid: None,
        url: format!("https://hooks.customer-{n}.example.com/webhooks/{n}")
            .parse()
            .unwrap(),
        description: String::new(),
        metadata: Default::default(),
        event_types: None,
        channels: None,
        disabled: None,
        policy: EndpointPolicy::default().shared(),
        secrets: vec![EndpointSecret {
            secret: SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            expires_at: None,
        }],
        version: n,
        created_at: Timestamp::from_millis(1),
        updated_at: Timestamp::from_millis(1),
    }
}

/// As users make them: named, described, and choosing among the types.
fn described_endpoint(app_id: AppId, n: u64) -> Endpoint {
    Endpoint {
        uid: Some(format!("shop-{n}").parse().unwrap()),
        description: "Orders for the warehouse".to_owned(),
        event_types: Some(TYPES.map(|name| name.parse().unwrap()).into()),
        ..bare_endpoint(app_id, n)
    }
}

/// Bytes for each of `count` applications with `endpoints` endpoints.
fn bytes_each(count: u64, endpoints: u64, endpoint: impl Fn(AppId, u64) -> Endpoint) -> u64 {
    let mut snapshot = registered_types();
    let counted = allocation_counter::measure(|| {
        for app in 0..count {
            let application = application(app);
            let app_id = application.id;
            snapshot.apply(Change::Application(Arc::new(application)));
            for n in 0..endpoints {
                let made = endpoint(app_id, app * endpoints + n);
                snapshot.apply(Change::Endpoint(Arc::new(made)));
            }
        }
    });
    assert_eq!(snapshot.endpoint_count() as u64, count * endpoints);
    counted.bytes_current.unsigned_abs() / count
}

fn registered_types() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for name in TYPES {
        let event_type = EventTypeInfo {
            name: name.parse().unwrap(),
            description: String::new(),
            archived: false,
            deprecated: false,
            schemas: None,
            feature_flag: None,
            version: 1,
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(1),
        };
        snapshot.apply(Change::EventType(Arc::new(event_type)));
    }
    snapshot
}

#[test]
fn an_idle_endpoint_costs_less_than_a_kilobyte_however_many_its_application_has() {
    for of_an_app in [1, 3, 33, 1_000, ENDPOINTS] {
        let count = ENDPOINTS / of_an_app;
        let alone = bytes_each(count, 0, bare_endpoint);
        for (kind, all) in [
            ("bare", bytes_each(count, of_an_app, bare_endpoint)),
            (
                "described",
                bytes_each(count, of_an_app, described_endpoint),
            ),
        ] {
            let each = (all - alone) / of_an_app;
            assert!(
                each + OF_THE_ALLOCATOR <= PROMISED,
                "{each} bytes for a {kind} endpoint of an application with {of_an_app}"
            );
        }
    }
}

#[test]
fn an_application_without_endpoints_costs_little_more_than_its_name() {
    let each = bytes_each(ENDPOINTS, 0, bare_endpoint);
    assert!(
        each + OF_THE_ALLOCATOR <= PROMISED_FOR_AN_APPLICATION,
        "{each} bytes for an application"
    );
}
