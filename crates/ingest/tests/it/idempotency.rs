//! One request under one key is carried out once.

use std::time::Duration;

use axum::http::StatusCode;
use postrider_log::{LogError, Purpose};
use postrider_model::{Clock, SystemClock, Timestamp};
use postrider_store::{Claim, Claims};

use crate::house::House;

const BODY: &str = r#"{"eventType":"a.b","payload":{"n":1}}"#;
const OTHER: &str = r#"{"eventType":"a.b","payload":{"n":2}}"#;

fn with_event_id(id: &str, n: u32) -> String {
    format!(r#"{{"eventType":"a.b","payload":{{"n":{n}}},"eventId":"{id}"}}"#)
}

#[tokio::test]
async fn a_repeat_under_one_key_gets_the_first_answer() {
    let house = House::new().await;
    let key = [("idempotency-key", "k1")];
    let first = house.publish(&key, BODY).await;
    let again = house.publish(&key, BODY).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(house.events().len(), 1);
    let other = house.publish(&key, OTHER).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(other.json()["code"], "conflict");
    assert_eq!(house.events().len(), 1);
}

#[tokio::test]
async fn an_event_id_is_taken_once_in_an_application() {
    let house = House::new().await;
    let first = house.publish(&[], &with_event_id("e1", 1)).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.json()["eventId"], "e1");
    let again = house.publish(&[], &with_event_id("e1", 1)).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    for (key, n) in [("", 2), ("another", 1)] {
        let headers = [("idempotency-key", key)];
        let headers = if key.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let taken = house.publish(headers, &with_event_id("e1", n)).await;
        assert_eq!(taken.status, StatusCode::CONFLICT, "{}", taken.text());
        assert!(taken.text().contains("eventId"));
    }
    assert_eq!(house.events().len(), 1);
    // The key that met the conflict is free again.
    let headers = [("idempotency-key", "another")];
    let fresh = house.publish(&headers, &with_event_id("e2", 1)).await;
    assert_eq!(fresh.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_was_certainly_not_written_leaves_the_key_free() {
    let house = House::new().await;
    let key = [("idempotency-key", "k1")];
    house
        .log
        .fail_appends(Purpose::Intake, LogError::Busy("test".into()));
    assert_eq!(
        house.publish(&key, BODY).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    house.log.recover();
    assert_eq!(house.publish(&key, BODY).await.status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_written_keeps_its_key_so_that_no_repeat_has_another_id() {
    let house = House::new().await;
    let key = [("idempotency-key", "k1")];
    let silent = LogError::Unacknowledged("test".into());
    house.log.fail_appends(Purpose::Intake, silent);
    let refused = house.publish(&key, BODY).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.text().contains("may have been accepted"));
    house.log.recover();
    assert_eq!(house.publish(&key, BODY).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn with_the_store_down_a_key_is_refused_with_503() {
    let house = House::new().await;
    house.store.set_available(false);
    let key = [("idempotency-key", "k1")];
    let answer = house.publish(&key, BODY).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after") && house.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_the_first_and_is_then_told_to_come_back() {
    let house = House::new().await;
    let key = [("idempotency-key", "k1")];
    // What the first request left: its claim, as if it were still writing.
    let first = house.publish(&key, BODY).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let name = format!("event/{}/key/k2", house.app.id);
    let now = SystemClock.now();
    let until = now.plus(Duration::from_secs(3600));
    let done = format!("event/{}/key/k1", house.app.id);
    let done = house.store.claim(&done, "me", &[0; 32], now, until).await;
    let Claim::Done { fingerprint, .. } = done.unwrap() else {
        panic!("k1 was not kept")
    };
    let held = house
        .store
        .claim(&name, "first", &fingerprint, now, until)
        .await;
    assert_eq!(held.unwrap(), Claim::Ours { since: now });
    let key = [("idempotency-key", "k2")];
    let answer = house.publish(&key, BODY).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["code"], "in_progress");
    assert_eq!(answer.headers["retry-after"], "1");
    house.store.release(&name, "first").await.unwrap();
    assert_eq!(house.publish(&key, BODY).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_refused() {
    let house = House::new().await;
    let long = "k".repeat(257);
    for bad in ["", &long] {
        let answer = house.publish(&[("idempotency-key", bad)], BODY).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.json()["detail"][0]["loc"][0], "header");
    }
}

/// Leaves a claim whose holder went away an hour ago without a word, and publishes under its key.
async fn publish_after_another_died(house: &House, hour_ago: Timestamp) -> String {
    let name = format!("event/{}/key/k1", house.app.id);
    let until = hour_ago.plus(Duration::from_secs(20));
    let claim = house.store.claim(&name, "dead", &[0; 32], hour_ago, until);
    let claim = claim.await.unwrap();
    assert_eq!(claim, Claim::Ours { since: hour_ago });
    published(house).await
}

/// The id that the house's answer under the key `k1` has.
async fn published(house: &House) -> String {
    let answer = house.publish(&[("idempotency-key", "k1")], BODY).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("msg_h"), "{id}");
    id
}

async fn forget(house: &House) {
    let later = SystemClock.now().plus(Duration::from_secs(3600));
    assert_eq!(house.store.delete_claims(later, 10).await.unwrap(), 1);
}

#[tokio::test]
async fn an_event_whose_confirmation_was_lost_has_the_same_id_when_it_is_sent_again() {
    let house = House::new().await;
    let hour_ago = Timestamp::from_millis(SystemClock.now().as_millis() - 3_600_000);
    let first = publish_after_another_died(&house, hour_ago).await;
    // As if the first had not been confirmed: the claim is as it was, and taken over again.
    forget(&house).await;
    let again = publish_after_another_died(&house, hour_ago).await;
    assert_eq!(first, again);
}

#[tokio::test]
async fn a_key_that_is_used_again_after_it_was_forgotten_is_another_event() {
    let (one, other) = (House::new().await, House::new().await);
    let hour_ago = Timestamp::from_millis(SystemClock.now().as_millis() - 3_600_000);
    let first = publish_after_another_died(&one, hour_ago).await;
    // Another application's key of the same text is another key.
    assert_ne!(first, publish_after_another_died(&other, hour_ago).await);
    forget(&one).await;
    assert_ne!(first, published(&one).await);
    assert_eq!(one.events().len(), 2);
}
