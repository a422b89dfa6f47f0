//! What endpoints may take of every process's memory: their size, and how many an application may have.

use std::sync::Arc;

use postrider_api::Options;
use postrider_model::{Endpoint, EndpointId, EndpointPolicy};
use postrider_store::Endpoints;
use serde_json::json;

use crate::house::House;

const PATH: &str = "/app/acme/endpoint";

#[tokio::test]
async fn an_endpoint_larger_than_others_should_hold_in_memory_is_refused() {
    let house = House::new().await;
    let url = |length: usize| format!("https://example.com/{}", "a".repeat(length - 20));
    let body = json!({ "url": url(4096) }).to_string();
    house.post(PATH, &body).await.with(201);
    let body = json!({ "url": url(4097) }).to_string();
    let refused = house.post(PATH, &body).await;
    refused.refuses("url", "at most 4096 bytes");

    let headers = |count: usize| {
        let names = (0..count).map(|n| (format!("x-{n}"), "a".repeat(4000).into()));
        json!({ "headers": names.collect::<serde_json::Map<_, _>>() }).to_string()
    };
    house.endpoint("one").await;
    let path = format!("{PATH}/one/headers");
    house.put(&path, &headers(4)).await.with(204);
    let more = headers(5);
    for refused in [
        house.put(&path, &more).await,
        house.patch(&path, &more).await,
        house.patch(format!("{PATH}/one"), &more).await,
    ] {
        refused.refuses("headers", "at most 16384 bytes together");
    }

    let mut names = Vec::new();
    for n in 0..=500 {
        let body = json!({"name": format!("type.{n}"), "description": ""});
        let body = body.to_string();
        house.post("/event-type", &body).await.with(201);
        names.push(format!("type.{n}"));
    }
    let types = |names: &[String]| json!({ "eventTypes": names }).to_string();
    let path = format!("{PATH}/one");
    let (most, more) = (types(&names[1..]), types(&names));
    house.patch(&path, &most).await.with(200);
    let refused = house.patch(&path, &more).await;
    refused.refuses("eventTypes", "at most 500");
}

/// As an earlier release took it.
fn large(there: &Endpoint) -> Endpoint {
    let url = format!("https://example.com/{}", "a".repeat(60_000));
    let headers = (0..50).map(|n| (format!("x-{n}"), "a".repeat(4096)));
    let policy = EndpointPolicy {
        headers: headers.collect(),
        ..EndpointPolicy::default()
    };
    Endpoint {
        id: EndpointId::new(),
        uid: Some("large".parse().unwrap()),
        url: url.parse().unwrap(),
        policy: policy.shared(),
        ..there.clone()
    }
}

#[tokio::test]
async fn one_that_is_larger_since_before_is_shown_and_changed_and_may_shrink() {
    let house = House::new().await;
    let there = house.endpoint("one").await;
    house.store.insert_endpoint(&large(&there)).await.unwrap();
    let path = format!("{PATH}/large");
    let shown = house.get(&path).await.with(200);
    assert!(shown["url"].as_str().unwrap().len() > 60_000);
    let changed = house.patch(&path, r#"{"description":"as it was"}"#).await;
    assert_eq!(changed.with(200)["url"], shown["url"]);
    let headers = format!("{path}/headers");
    let one_less = r#"{"headers":{"X-0":null}}"#;
    house.patch(&headers, one_less).await.with(204);
    let one_more = r#"{"headers":{"X-0":"a"}}"#;
    house
        .patch(&headers, one_more)
        .await
        .refuses("headers", "together");
}

fn at_most(max_endpoints: usize) -> Options {
    Options {
        max_endpoints,
        ..Options::default()
    }
}

#[tokio::test]
async fn an_application_has_no_more_endpoints_than_it_may_and_keeps_what_it_had() {
    let house = House::with(at_most(2)).await;
    let one = house.endpoint("one").await;
    house.endpoint("two").await;
    let body = r#"{"url":"https://example.com/"}"#;
    for refused in [
        house.post(PATH, body).await,
        house.put(format!("{PATH}/three"), body).await,
    ] {
        let told = refused.with(409);
        assert_eq!(told["code"], "conflict");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("2 endpoints (api.max_endpoints)"), "{told}");
    }
    // Another application's are its own.
    let other = r#"{"name":"other","uid":"other"}"#;
    house.post("/app", other).await.with(201);
    house.post("/app/other/endpoint", body).await.with(201);

    // A bound that came later, or was lowered.
    let third = Endpoint {
        id: EndpointId::new(),
        uid: Some("three".parse().unwrap()),
        ..one.clone()
    };
    house.store.insert_endpoint(&third).await.unwrap();
    let put = house.put(format!("{PATH}/three"), body).await.with(200);
    assert_eq!(put["id"], third.id.to_string());
    house.delete(format!("{PATH}/one")).await.with(204);
    house.post(PATH, body).await.with(409);

    // Deleted by another process, a moment ago.
    house
        .store
        .delete_endpoint(one.app_id, third.id)
        .await
        .unwrap();
    house.post(PATH, body).await.with(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_come_at_once_those_are_made_that_there_is_room_for() {
    let house = Arc::new(House::with(at_most(5)).await);
    let all = (0..20).map(|_| {
        let house = Arc::clone(&house);
        let post = async move { house.post(PATH, r#"{"url":"https://example.com/"}"#).await };
        tokio::spawn(post)
    });
    let (mut made, mut refused) = (0, 0);
    for answer in all.collect::<Vec<_>>() {
        match answer.await.unwrap().status.as_u16() {
            201 => made += 1,
            409 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((made, refused), (5, 15));
}
