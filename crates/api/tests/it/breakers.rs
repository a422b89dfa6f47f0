//! How an endpoint's breaker stands, and having it tried at once.

use std::time::Duration;

use postrider_log::{Durability, Log, NewRecord, Purpose};
use postrider_model::{BreakerState, Endpoint, EndpointState};
use postrider_store::{EndpointRef, Endpoints};
use serde_json::{Value, json};

use crate::house::{House, at};

/// What a worker tells of an endpoint whose last five attempts failed.
fn open(endpoint: &Endpoint) -> EndpointState {
    EndpointState {
        endpoint_id: endpoint.id,
        breaker: BreakerState::Open,
        probe_at: Some(at(14)),
        openings: 2,
        consecutive_failures: 5,
        next_slot: None,
        parked: 7,
        parked_bytes: 700,
        epoch: 1,
        updated_at: at(10),
        failing_since: Some(at(1)),
        partition: 0,
        nonce: 0,
        opened_at: Some(at(6)),
        endpoint_version: endpoint.version,
        newer: Box::default(),
    }
}

async fn tell(house: &House, record: NewRecord) {
    let told = house
        .log
        .append(vec![record], Durability::Ordered, Purpose::Pipeline);
    told.await.unwrap();
}

/// Asks until the answer's `state` is this.
async fn breaker(house: &House, state: &str) -> Value {
    let ask = async {
        loop {
            let answer = house.get("/app/acme/endpoint/hook/breaker").await;
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            if answer.status == 200 && body["state"] == state {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(60), ask);
    asked.await.expect("the breaker is never told so")
}

#[tokio::test]
async fn a_breaker_is_shown_as_its_worker_tells_it() {
    let house = House::new().await;
    let endpoint = house.endpoint("hook").await;
    let told = breaker(&house, "closed").await;
    assert_eq!(told["updatedAt"], Value::Null);

    tell(&house, open(&endpoint).to_record()).await;
    let told = breaker(&house, "open").await;
    let expected = json!({
        "endpointId": endpoint.id.to_string(), "state": "open", "why": "the last 5 attempts failed",
        "openedAt": at(6).to_string(), "failingSince": at(1).to_string(), "consecutiveFailures": 5,
        "nextProbeAt": at(14).to_string(), "waiting": 7, "waitingBytes": 700, "updatedAt": at(10).to_string(),
    });
    assert_eq!(told, expected);

    let half_open = EndpointState {
        breaker: BreakerState::HalfOpen,
        probe_at: None,
        ..open(&endpoint)
    };
    tell(&house, half_open.to_record()).await;
    let told = breaker(&house, "half_open").await;
    assert_eq!(
        told["why"],
        "the last 5 attempts failed; another is being made"
    );
    tell(&house, EndpointState::forget(endpoint.id)).await;
    assert_eq!(breaker(&house, "closed").await["waiting"], 0);
}

#[tokio::test]
async fn a_probe_that_is_asked_for_is_a_change_of_the_endpoint_that_its_worker_sees() {
    let house = House::new().await;
    let endpoint = house.endpoint("hook").await;
    tell(&house, open(&endpoint).to_record()).await;
    breaker(&house, "open").await;
    let path = "/app/acme/endpoint/hook/breaker/probe";
    let answer = house.post(path, "").await.with(202);
    assert_eq!(answer["waiting"], 7);
    let by = EndpointRef::Id(endpoint.id);
    let changed = house.store.endpoint(house.app.id, &by).await.unwrap();
    let changed = changed.unwrap();
    assert!(changed.version > endpoint.version);
    assert_eq!(changed.url, endpoint.url);

    let body = r#"{"disabled": true}"#;
    house.patch("/app/acme/endpoint/hook", body).await.with(200);
    house.post(path, "").await.with(409);
    let nobody = "/app/acme/endpoint/nobody/breaker";
    house.get(nobody).await.with(404);
}
