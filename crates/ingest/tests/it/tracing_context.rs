//! Under which trace context an event is accepted, where nothing is traced here.

use axum::http::StatusCode;
use serde_json::json;

use crate::house::House;

const REQUEST: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const EXTENSION: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// `traceparent` and `tracestate` of the one event that was accepted.
fn accepted(house: &House) -> Option<(String, Option<String>)> {
    let trace = house.events().remove(0).trace?;
    let state = trace.tracestate().map(str::to_owned);
    Some((trace.traceparent().to_owned(), state))
}

async fn cloud_event(headers: &[(&str, &str)]) -> House {
    let house = House::new().await;
    let mut all = vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "42"),
        ("ce-source", "/shop"),
        ("ce-type", "order.created"),
        ("content-type", "text/plain"),
        ("ce-traceparent", EXTENSION),
        ("ce-tracestate", "extension=1"),
    ];
    all.extend_from_slice(headers);
    let answer = house.post("/api/v1/app/acme/event", &all, "x").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    house
}

#[tokio::test]
async fn the_extension_of_a_cloudevent_counts_where_the_request_has_no_context() {
    let house = cloud_event(&[]).await;
    let expected = (EXTENSION.to_owned(), Some("extension=1".to_owned()));
    assert_eq!(accepted(&house), Some(expected));
    let house = cloud_event(&[("traceparent", REQUEST)]).await;
    assert_eq!(accepted(&house), Some((REQUEST.to_owned(), None)));
}

#[tokio::test]
async fn the_extension_of_structured_mode_counts_as_well() {
    let house = House::new().await;
    let event = json!({
        "specversion": "1.0", "id": "42", "source": "/shop", "type": "order.created",
        "traceparent": EXTENSION, "tracestate": "extension=1", "data": {},
    });
    let structured = [("content-type", "application/cloudevents+json")];
    let path = "/api/v1/app/acme/event";
    let answer = house.post(path, &structured, event.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let expected = (EXTENSION.to_owned(), Some("extension=1".to_owned()));
    assert_eq!(accepted(&house), Some(expected));
}

#[tokio::test]
async fn a_state_in_parts_is_put_together_and_what_is_no_context_is_left_out() {
    let event = r#"{"eventType":"order.created","payload":{}}"#;
    let house = House::new().await;
    let headers = [
        ("traceparent", REQUEST),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    house.publish(&headers, event).await;
    let expected = (REQUEST.to_owned(), Some("a=1,b=2".to_owned()));
    assert_eq!(accepted(&house), Some(expected));
    let house = House::new().await;
    let headers = [("traceparent", "00-nothing"), ("tracestate", "a=1")];
    let answer = house.publish(&headers, event).await;
    assert_eq!(
        (answer.status, accepted(&house)),
        (StatusCode::ACCEPTED, None)
    );
}
