//! What is refused, with which words; nothing of it reaches the log.

use std::time::Duration;

use axum::http::StatusCode;
use postrider_ingest::{IngestMetrics, Options, OptionsError};
use postrider_log::testing::MemoryLog;
use postrider_log::{Limits, Log, LogError, Purpose};
use postrider_model::{SystemClock, topics};
use postrider_store::TokenScope;

use crate::house::{House, add_token, application};

const GOOD: &str = r#"{"eventType":"a.b","payload":{}}"#;

#[tokio::test]
async fn what_is_wrong_with_an_envelope_is_said_with_its_place() {
    let house = House::new().await;
    for (body, status, place, says) in [
        ("not json", 400, "", "is not JSON: expected"),
        ("", 400, "", "the body is empty: expected a JSON object"),
        (
            r#"{"eventType":"a.b","payload":{}} x"#,
            400,
            "",
            "more behind its JSON value",
        ),
        ("[]", 422, "", "expected a JSON object, not a list"),
        (r#"{"payload":{}}"#, 422, "eventType", "is missing"),
        (r#"{"eventType":"a.b"}"#, 422, "payload", "is missing"),
        (
            r#"{"eventType":"a b","payload":{}}"#,
            422,
            "eventType",
            "is not a valid event type",
        ),
        (
            r#"{"eventType":"","payload":{}}"#,
            422,
            "eventType",
            "is not a valid event type",
        ),
        (
            r#"{"eventType":5,"payload":{}}"#,
            422,
            "eventType",
            "expected a string, not 5",
        ),
        (
            r#"{"eventType":"a.b","payload":[1]}"#,
            422,
            "payload",
            "expected a JSON object",
        ),
        (
            r#"{"eventType":"a.b","payload":"x"}"#,
            422,
            "payload",
            "expected a JSON object",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"payload":{}}"#,
            422,
            "payload",
            "stands there twice",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"channels":[]}"#,
            422,
            "channels",
            "1 to 5",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"channels":["a","a"]}"#,
            422,
            "channels",
            "twice",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"channels":["a","b","c","d","e","f"]}"#,
            422,
            "channels",
            "1 to 5",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"eventId":"ä"}"#,
            422,
            "eventId",
            "is not a valid eventId",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"deliverAt":"2099-01-01T00:00:00Z"}"#,
            422,
            "deliverAt",
            "deliverAt is not supported yet: leave it out",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"tags":["t"]}"#,
            422,
            "tags",
            "tags is not supported yet: leave it out",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"payloadRetentionPeriod":5}"#,
            422,
            "payloadRetentionPeriod",
            "payloadRetentionPeriod is not supported yet: leave it out",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"payloadRetentionHours":5}"#,
            422,
            "payloadRetentionHours",
            "payloadRetentionHours is not supported yet: leave it out",
        ),
        (
            r#"{"eventType":"a.b","payload":{},"transformationsParams":{"rawPayload":"x"}}"#,
            422,
            "transformationsParams",
            "transformationsParams is not supported yet: leave it out; a payload that is no JSON object is taken at",
        ),
    ] {
        let answer = house.publish(&[], body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        assert!(answer.text().contains(says), "{body}: {}", answer.text());
        if !place.is_empty() {
            assert_eq!(
                answer.json()["detail"][0]["loc"][1],
                place,
                "{}",
                answer.text()
            );
        }
    }
    assert!(house.events().is_empty());
}

#[tokio::test]
async fn null_and_empty_extras_are_no_extras() {
    let house = House::new().await;
    let body = r#"{"eventType":"a.b","payload":{},"deliverAt":null,"tags":[],"channels":null,"unknown":1}"#;
    assert_eq!(house.publish(&[], body).await.status, StatusCode::ACCEPTED);
}

/// All fields that the clients of both generations know, written out as they do where nothing is set.
#[tokio::test]
async fn what_official_clients_send_where_nothing_is_set_is_taken() {
    let house = House::new().await;
    for body in [
        r#"{"eventType":"a.b","payload":{"a":1}}"#,
        r#"{"application":null,"channels":null,"deliverAt":null,"eventId":null,"eventType":"a.b","payload":{"a":1},"payloadRetentionHours":null,"payloadRetentionPeriod":null,"tags":null,"transformationsParams":null}"#,
    ] {
        let answer = house.publish(&[], body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }
}

#[tokio::test]
async fn an_encoded_body_is_refused_on_both_routes() {
    let house = House::new().await;
    for path in ["/api/v1/app/acme/msg", "/api/v1/app/acme/event"] {
        let answer = house
            .post(path, &[("content-encoding", "gzip")], GOOD)
            .await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(answer.json()["code"], "unsupported_media_type");
        assert!(
            answer.text().contains("send it unencoded"),
            "{}",
            answer.text()
        );
    }
    let plain = house
        .publish(&[("content-encoding", "identity")], GOOD)
        .await;
    assert_eq!(plain.status, StatusCode::ACCEPTED);
    assert_eq!(house.events().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_or_too_deep_is_refused() {
    let house = House::with(Options {
        payload_bytes: 1000,
        json_depth: 10,
        ..Options::default()
    })
    .await;
    let text = "x".repeat(1000);
    let answer = house
        .publish(
            &[],
            &format!(r#"{{"eventType":"a.b","payload":{{"t":"{text}"}}}}"#),
        )
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("at most 1000"), "{}", answer.text());
    assert_eq!(answer.json()["code"], "payload_too_large");
    let huge = house.publish(&[], &"x".repeat(100_000)).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    let deep = format!("{}{}", "{\"a\":".repeat(10), "{}") + &"}".repeat(10);
    let deep = house
        .publish(&[], &format!(r#"{{"eventType":"a.b","payload":{deep}}}"#))
        .await;
    assert_eq!(deep.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(deep.text().contains("deeper than the 10 levels"));
    assert!(house.events().is_empty());
}

#[tokio::test]
async fn a_bomb_of_brackets_is_refused_and_does_not_panic() {
    let house = House::new().await;
    let bomb = "[".repeat(500_000) + &"]".repeat(500_000);
    let answer = house
        .publish(
            &[],
            &format!(r#"{{"eventType":"a.b","payload":{{"a":{bomb}}}}}"#),
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_wrong_token_is_401_and_another_applications_is_404() {
    let house = House::new().await;
    for (bearer, says) in [
        ("", "must be the word Bearer"),
        ("Bearer nonsense", "not a token of Postrider"),
        (
            "Bearer pr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "not known here",
        ),
    ] {
        let answer = house.publish(&[("authorization", bearer)], GOOD).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["code"], "authentication_failed");
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    use postrider_store::Applications;
    let other = house.store.insert_application(&application("other")).await;
    let token = add_token(&house.store, TokenScope::Application(other.unwrap().id)).await;
    let bearer = format!("Bearer {token}");
    let foreign = house.publish(&[("authorization", &bearer)], GOOD).await;
    let missing = house
        .post(
            "/api/v1/app/nobody/msg",
            &[("authorization", &bearer)],
            GOOD,
        )
        .await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!(
        (foreign.status, &foreign.body),
        (missing.status, &missing.body)
    );
    assert_eq!(
        foreign.text(),
        r#"{"code":"not_found","detail":"Entity not found"}"#
    );
}

#[tokio::test]
async fn an_unknown_application_is_404_and_503_while_the_store_is_down() {
    let house = House::new().await;
    let path = "/api/v1/app/nobody/msg";
    assert_eq!(
        house.post(path, &[], GOOD).await.status,
        StatusCode::NOT_FOUND
    );
    house.store.set_available(false);
    let answer = house.post(path, &[], GOOD).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    let stranger = [(
        "authorization",
        "Bearer pr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )];
    let answer = house.publish(&stranger, GOOD).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_log_that_cannot_take_events_is_503_or_507_and_says_when_to_come_back() {
    let house = House::new().await;
    for (error, status) in [
        (LogError::Busy("test".into()), 503),
        (LogError::Unacknowledged("test".into()), 503),
        (LogError::Full("test".into()), 507),
        (LogError::Stopped("test".into()), 503),
    ] {
        house.log.fail_appends(Purpose::Intake, error);
        let answer = house.publish(&[], GOOD).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
        house.log.recover();
    }
    assert_eq!(house.publish(&[], GOOD).await.status, StatusCode::ACCEPTED);
    let counted = house.metrics.render();
    assert!(
        counted.contains(r#"postrider_ingest_rejected_total{reason="full"} 1"#),
        "{counted}"
    );
}

#[tokio::test]
async fn a_payload_limit_too_near_the_logs_is_refused_at_start() {
    let limits = Limits {
        record_bytes: 1 << 20,
        metadata_bytes: None,
    };
    let log = MemoryLog::with_limits(topics::all(), std::sync::Arc::new(SystemClock), limits);
    assert_eq!(log.limits().record_bytes, 1 << 20);
    let house = House::new().await;
    let ports = house.ports(log);
    let metrics = IngestMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let refused = postrider_ingest::Ingest::new(ports.clone(), Options::default(), metrics.clone());
    let error = refused.err().unwrap();
    assert!(
        matches!(error, OptionsError::PayloadLimit { fits: 917_504, .. }),
        "{error}"
    );
    let patient = Options {
        payload_bytes: 1000,
        append_within: Duration::from_secs(11),
        ..Options::default()
    };
    let refused = postrider_ingest::Ingest::new(ports, patient, metrics).err();
    assert!(matches!(refused, Some(OptionsError::AppendTooLong(_))));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_the_dialects_shape() {
    let house = House::new().await;
    let unknown = house.post("/api/v1/nothing", &[], "").await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json()["code"]),
        (404, &"not_found".into())
    );
    let request = axum::http::Request::delete("/api/v1/app/acme/msg");
    let wrong = house
        .send(request.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.json()["code"], "method_not_allowed");
}
