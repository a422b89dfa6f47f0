//! Where the trace of a CloudEvent begins, when spans of all requests are wanted here.

use postrider_testkit::Behaviour;
use serde_json::json;

use super::collector::Collector;
use super::{PARENT, TRACE, named, world};

/// Publishes one CloudEvent with these headers, and says under which trace and span its request is.
async fn published(headers: &[(&str, &str)], body: String) -> (String, String) {
    let collector = Collector::start();
    let world = world(&collector, "1", &[]).await;
    world.endpoint("/good", Behaviour::Ok).await;
    let server = world.server();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .post(format!("{}/api/v1/app/{}/event", server.url, world.app))
        .bearer_auth(&server.token)
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    let spans = collector.wait_for(5, |_| true).await;
    let requests = named(&spans, "POST /api/v1/app/{app_id}/event");
    assert_eq!(requests.len(), 1);
    assert!(spans.iter().all(|span| span.trace == requests[0].trace));
    (requests[0].trace.clone(), requests[0].parent.clone())
}

fn began() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extension_of_binary_mode_is_the_parent_of_the_request() {
    let began = began();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "42"),
        ("ce-source", "/shop"),
        ("ce-type", "order.paid"),
        ("content-type", "text/plain"),
        ("ce-traceparent", &began),
    ];
    let (trace, parent) = published(&headers, "x".to_owned()).await;
    assert_eq!((&*trace, &*parent), (TRACE, PARENT));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extension_of_structured_mode_is_the_parent_unless_the_request_has_one() {
    let event = |began: &str| {
        let event = json!({
            "specversion": "1.0", "id": "42", "source": "/shop", "type": "order.paid",
            "traceparent": began, "data": {},
        });
        event.to_string()
    };
    let structured = ("content-type", "application/cloudevents+json");
    let (trace, parent) = published(&[structured], event(&began())).await;
    assert_eq!((&*trace, &*parent), (TRACE, PARENT));

    let other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let own = began();
    let headers = [structured, ("traceparent", &own)];
    let (trace, parent) = published(&headers, event(other)).await;
    assert_eq!((&*trace, &*parent), (TRACE, PARENT));

    let (trace, parent) = published(&[structured], event("")).await;
    assert_ne!(trace, TRACE);
    assert_eq!(parent, "");
}
