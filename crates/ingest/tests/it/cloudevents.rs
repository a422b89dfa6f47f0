//! CloudEvents over HTTP.

use axum::http::StatusCode;
use bytes::Bytes;

use crate::house::{Answer, House};

const PATH: &str = "/api/v1/app/acme/event";
const HEADERS: [(&str, &str); 6] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "42"),
    ("ce-source", "/shop"),
    ("ce-type", "order.created"),
    ("ce-time", "2026-01-31T12:00:00Z"),
    ("content-type", "application/octet-stream"),
];

async fn binary(house: &House, data: &'static [u8]) -> Answer {
    house.post(PATH, &HEADERS, Bytes::from_static(data)).await
}

#[tokio::test]
async fn any_bytes_under_any_content_type_are_accepted_in_binary_mode() {
    let house = House::new().await;
    let answer = binary(&house, b"\x00\xff not text").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let event = house.events().remove(0);
    assert_eq!(&event.payload[..], b"\x00\xff not text");
    assert_eq!(event.content_type, "application/octet-stream");
    assert_eq!(event.event_type.as_str(), "order.created");
    let told = answer.json();
    assert_eq!(told["payload"], serde_json::json!({}));
    assert_eq!(told["contentType"], "application/octet-stream");
    assert_eq!(told["payloadBase64"], "AP8gbm90IHRleHQ=");
}

#[tokio::test]
async fn a_producers_repeat_has_the_same_id_and_asks_no_store() {
    let house = House::new().await;
    let first = binary(&house, b"x").await.json();
    house.store.set_available(false);
    assert_eq!(binary(&house, b"x").await.json()["id"], first["id"]);
    assert_eq!(house.events()[0].id, house.events()[1].id);
}

#[tokio::test]
async fn each_missing_or_wrong_attribute_is_named() {
    let house = House::new().await;
    for name in ["ce-specversion", "ce-id", "ce-source", "ce-type"] {
        let headers: Vec<_> = HEADERS
            .into_iter()
            .filter(|(given, _)| *given != name)
            .collect();
        let answer = house.post(PATH, &headers, "x").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            answer.json()["detail"][0]["loc"],
            serde_json::json!(["header", name])
        );
    }
    for (name, value) in [
        ("ce-specversion", "0.3"),
        ("ce-type", "a b"),
        ("ce-time", "yesterday"),
        ("ce-channels", "a,b c"),
        ("ce-id", ""),
    ] {
        let mut headers: Vec<_> = HEADERS
            .into_iter()
            .filter(|(given, _)| *given != name)
            .collect();
        headers.push((name, value));
        let answer = house.post(PATH, &headers, "x").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert_eq!(answer.json()["detail"][0]["loc"][1], name);
    }
    assert!(house.events().is_empty());
}

#[tokio::test]
async fn structured_mode_keeps_the_data_as_it_was_sent() {
    let house = House::new().await;
    let send = async |body: &str| {
        let headers = [(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )];
        let answer = house.post(PATH, &headers, body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        house.events().pop().unwrap()
    };
    let head = r#""specversion":"1.0","id":"1","source":"s","type":"a.b""#;
    let event = send(&format!(
        r#"{{{head},"channels":"x,y","data":{{ "n" : 1.0 }}}}"#
    ))
    .await;
    assert_eq!(event.payload, r#"{ "n" : 1.0 }"#);
    assert_eq!(
        (event.content_type.as_str(), event.channels.len()),
        ("application/json", 2)
    );
    let event = send(&format!(
        r#"{{{head},"datacontenttype":"text/plain","data":"a\nb"}}"#
    ))
    .await;
    assert_eq!(
        (event.content_type.as_str(), &event.payload[..]),
        ("text/plain", &b"a\nb"[..])
    );
    let event = send(&format!(
        r#"{{{head},"datacontenttype":"image/png","data_base64":"AP8="}}"#
    ))
    .await;
    assert_eq!(&event.payload[..], b"\x00\xff");
}

#[tokio::test]
async fn a_batch_is_refused_with_what_would_be_right() {
    let house = House::new().await;
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = house.post(PATH, &headers, "[]").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.text().contains("one event a request"));
}

async fn sent_as(house: &House, content_type: &str, data: impl Into<Bytes>) -> Answer {
    let mut headers = HEADERS.to_vec();
    headers.pop();
    headers.push(("content-type", content_type));
    house.post(PATH, &headers, data.into()).await
}

#[tokio::test]
async fn data_that_is_said_to_be_json_is_json_or_empty() {
    let house = House::new().await;
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.x+json",
    ] {
        for good in ["", "{\"a\": 1}", "[1]", "null", "\"text\""] {
            let answer = sent_as(&house, content_type, good).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
            assert_eq!(house.events().pop().unwrap().payload, good);
        }
        let accepted = house.events().len();
        for bad in [&b"hello"[..], b"{", b"{} {}", b"\"\xff\""] {
            let answer = sent_as(&house, content_type, bad).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
            assert!(answer.text().contains("JSON"), "{}", answer.text());
        }
        let deep = "[".repeat(101) + &"]".repeat(101);
        let answer = sent_as(&house, content_type, deep).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(house.events().len(), accepted);
    }
    let answer = sent_as(&house, "text/plain", "hello").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
}
