//! What is accepted, and what then lies in the log.

use axum::http::StatusCode;
use postrider_ingest::Options;
use postrider_store::{ApplicationRef, Applications, TokenScope};

use crate::house::{House, add_token};

#[tokio::test]
async fn an_event_is_written_and_answered_with_what_was_sent() {
    let house = House::new().await;
    let sent = r#"{"eventType":"order.created","channels":["eu","vip"],"payload":{"id":1}}"#;
    let answer = house.publish(&[], sent).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let event = house.events().remove(0);
    let told = answer.json();
    assert_eq!(told["id"], event.id.to_string());
    assert_eq!(told["timestamp"], event.accepted_at.to_string());
    assert_eq!(told["eventType"], "order.created");
    assert_eq!(told["channels"][1], "vip");
    assert_eq!(told["eventId"], serde_json::Value::Null);
    assert_eq!(told["payload"]["id"], 1);
    assert_eq!(event.app_id, house.app.id);
    assert_eq!(event.content_type, "application/json");
    assert!(
        house
            .metrics
            .render()
            .contains("postrider_ingest_accepted_total 1")
    );
}

#[tokio::test]
async fn what_is_answered_with_202_was_synced_first() {
    let house = House::new().await;
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "42"),
        ("ce-source", "/shop"),
        ("ce-type", "a.b"),
        ("content-type", "text/plain"),
    ];
    let structured = [("content-type", "application/cloudevents+json")];
    let envelope = r#"{"eventType":"a.b","payload":{}}"#;
    let cloud_event = r#"{"specversion":"1.0","id":"1","source":"s","type":"a.b","data":{}}"#;
    let requests: [(&str, &[_], &str); 4] = [
        ("msg", &[], envelope),
        ("msg", &[("idempotency-key", "k")], envelope),
        ("event", &binary, "x"),
        ("event", &structured, cloud_event),
    ];
    for (index, (route, headers, body)) in requests.into_iter().enumerate() {
        let path = format!("/api/v1/app/acme/{route}");
        let answer = house.post(&path, headers, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        assert_eq!(house.events().len(), index + 1);
        assert!(house.log.is_synced(), "{route} with {headers:?}");
    }
}

#[tokio::test]
async fn a_payload_is_kept_byte_for_byte() {
    let house = House::new().await;
    for payload in [
        "{ \"a\" :\t1.0,\r\n \"b\": 1e400 , \"big\":123456789012345678901234567890 }",
        r#"{"twice":1,"twice":2}"#,
        r#"{"escaped":"\u00e4\/\ud83d\ude00","plain":"ä/😀"}"#,
        "{}",
        "{ }",
    ] {
        let body = format!(" {{ \"payload\" : {payload} \n, \"eventType\":\"a.b\" }} ");
        let answer = house.publish(&[], &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        assert_eq!(house.events().pop().unwrap().payload, payload);
        assert!(answer.text().contains(&format!("\"payload\":{payload},")));
    }
}

#[tokio::test]
async fn content_is_left_out_of_the_answer_on_request() {
    let house = House::new().await;
    let body = r#"{"eventType":"a.b","payload":{"x":1}}"#;
    let answer = house
        .post("/api/v1/app/acme/msg/?with_content=false", &[], body)
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(answer.text().contains("\"payload\":{},"));
    assert_eq!(house.events()[0].payload, r#"{"x":1}"#);
}

#[tokio::test]
async fn an_application_is_found_by_its_id_too_and_its_own_token_suffices() {
    let house = House::new().await;
    let token = add_token(&house.store, TokenScope::Application(house.app.id)).await;
    let path = format!("/api/v1/app/{}/msg", house.app.id);
    let bearer = format!("Bearer {token}");
    let body = r#"{"eventType":"a.b","payload":{}}"#;
    let answer = house.post(&path, &[("authorization", &bearer)], body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
}

#[tokio::test]
async fn with_the_store_down_events_are_still_accepted() {
    let house = House::new().await;
    house.store.set_available(false);
    let body = r#"{"eventType":"nobody.registered.it","payload":{}}"#;
    assert_eq!(house.publish(&[], body).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_application_is_made_on_the_way_by_an_operator() {
    let house = House::new().await;
    let body = r#"{"eventType":"a.b","payload":{},"application":{"name":"New","uid":"newcomer"}}"#;
    let path = "/api/v1/app/newcomer/msg";
    for _ in 0..2 {
        let answer = house.post(path, &[], body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }
    let by = ApplicationRef::Uid("newcomer".parse().unwrap());
    let made = house.store.application(&by).await.unwrap().unwrap();
    assert!(house.events().iter().all(|event| event.app_id == made.id));
    let wrong = house.post("/api/v1/app/other/msg", &[], body).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("its uid is the one in the path"));
}

#[tokio::test]
async fn a_strict_installation_refuses_types_that_nobody_registered() {
    let house = House::with(Options {
        strict_event_types: true,
        ..Options::default()
    })
    .await;
    let answer = house
        .publish(&[], r#"{"eventType":"a.b","payload":{}}"#)
        .await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["detail"][0]["loc"][1], "eventType");
    assert!(answer.text().contains("is not registered"));
}
