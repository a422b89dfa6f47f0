//! Resending.

use postrider_log::{LogError, Purpose};
use postrider_model::{Class, Delivery, Trigger, topics};

use crate::house::{House, at};

#[tokio::test]
async fn a_resend_publishes_the_delivery_again_under_its_own_id() {
    let house = House::new().await;
    let endpoint = house.endpoint("one").await;
    let event = house.archived("e1", at(1), &[endpoint.id]).await;
    let answer = house
        .post("/app/acme/msg/e1/endpoint/one/resend/", "")
        .await;
    assert_eq!(answer.with(202), serde_json::json!({}));
    let record = house.log.records(topics::DELIVERIES_BULK).remove(0);
    assert!(house.log.is_synced(), "it was answered before that");
    let delivery = Delivery::decode(&record.value).unwrap();
    assert_eq!(delivery.id, Delivery::id_of(event.id, endpoint.id));
    assert_eq!(
        (delivery.class, delivery.trigger),
        (Class::Bulk, Trigger::Manual)
    );
    assert_eq!(
        (&delivery.payload, delivery.event_id),
        (&event.payload, event.id)
    );
    assert!(delivery.generation > 1_750_000_000_000 && delivery.deadline > delivery.not_before);
}

#[tokio::test]
async fn a_repeat_under_one_key_resends_once() {
    let house = House::new().await;
    let endpoint = house.endpoint("one").await;
    house.archived("e1", at(1), &[endpoint.id]).await;
    let key = [("idempotency-key", "k")];
    for _ in 0..2 {
        let path = "/app/acme/msg/e1/endpoint/one/resend";
        assert_eq!(house.send("POST", path, &key, "{}").await.status, 202);
    }
    assert_eq!(house.log.records(topics::DELIVERIES_BULK).len(), 1);
}

#[tokio::test]
async fn what_cannot_be_resent_says_why() {
    let house = House::new().await;
    let endpoint = house.endpoint("one").await;
    house.archived("e1", at(1), &[endpoint.id]).await;
    house
        .post("/app/acme/msg/e1/endpoint/two/resend", "")
        .await
        .with(404);
    house
        .post("/app/acme/msg/e2/endpoint/one/resend", "")
        .await
        .with(404);
    house
        .log
        .fail_appends(Purpose::Intake, LogError::Full("test".into()));
    let full = house.post("/app/acme/msg/e1/endpoint/one/resend", "").await;
    assert!(full.headers.contains_key("retry-after"));
    full.with(507);
    house.log.recover();
    house
        .patch("/app/acme/endpoint/one", r#"{"disabled":true}"#)
        .await
        .with(200);
    let refused = house
        .post("/app/acme/msg/e1/endpoint/one/resend", "")
        .await
        .with(409);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("enable it first")
    );
    assert!(house.log.records(topics::DELIVERIES_BULK).is_empty());
}
