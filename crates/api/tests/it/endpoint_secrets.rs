//! Secrets and headers of endpoints.

use postrider_store::{EndpointRef, Endpoints};
use serde_json::json;

use crate::house::House;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn a_secret_is_made_or_taken_and_shown_where_it_is_asked_for() {
    let house = House::new().await;
    house.endpoint("one").await;
    let path = "/app/acme/endpoint/one/secret";
    let made = house.get(path).await.with(200);
    assert!(made["key"].as_str().unwrap().starts_with("whsec_"));
    let bare = SECRET.trim_start_matches("whsec_");
    let body = format!(r#"{{"url":"https://example.com","uid":"two","secret":"{bare}"}}"#);
    house.post("/app/acme/endpoint", &body).await.with(201);
    let given = house.get("/app/acme/endpoint/two/secret/").await.with(200);
    assert_eq!(given["key"], SECRET);
}

#[tokio::test]
async fn a_rotated_secret_goes_on_signing_for_its_time() {
    let house = House::new().await;
    let before = house.endpoint("one").await;
    let path = "/app/acme/endpoint/one/secret/rotate";
    let body = format!(r#"{{"key":"{SECRET}","gracePeriodSeconds":100}}"#);
    let told = house.post(path, &body).await.with(200);
    assert_eq!(told["key"], SECRET);
    let by = EndpointRef::Id(before.id);
    let after = house
        .store
        .endpoint(house.app.id, &by)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(after.secrets[0].secret.expose(), SECRET);
    assert_eq!(after.secrets[1].secret, before.secrets[0].secret);
    let until = after.secrets[1].expires_at.unwrap();
    assert_eq!(until.since(after.updated_at).as_secs().div_ceil(10), 10);
    // Without anything: a new one, and the old for a day; those before it end when they were to.
    house.post(path, "").await.with(200);
    let after = house
        .store
        .endpoint(house.app.id, &by)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(after.secrets.len(), 3);
    assert_ne!(after.secrets[0].secret.expose(), SECRET);
    assert_eq!(after.secrets[2].expires_at, Some(until));
    house
        .post(path, r#"{"gracePeriodSeconds":604801}"#)
        .await
        .refuses("gracePeriodSeconds", "0 to 604800");
    house
        .post(path, r#"{"key":"x"}"#)
        .await
        .refuses("key", "secret");
}

#[tokio::test]
async fn a_rotation_without_a_grace_period_ends_every_older_secret_at_once() {
    let house = House::new().await;
    let by = EndpointRef::Id(house.endpoint("one").await.id);
    let path = "/app/acme/endpoint/one/secret/rotate";
    let secrets = async || {
        let found = house.store.endpoint(house.app.id, &by).await;
        found.unwrap().unwrap().secrets
    };
    for _ in 0..9 {
        house.post(path, "{}").await.with(200);
    }
    assert_eq!(secrets().await.len(), 10);
    let advice = house.post(path, "{}").await.with(409);
    assert!(
        advice.to_string().contains("gracePeriodSeconds 0"),
        "{advice}"
    );
    house
        .post(path, r#"{"gracePeriodSeconds":0}"#)
        .await
        .with(200);
    assert_eq!(secrets().await.len(), 1);
    // A short one ends older ones as soon.
    house.post(path, "{}").await.with(200);
    let told = house.post(path, r#"{"gracePeriodSeconds":5}"#).await;
    told.with(200);
    let secrets = secrets().await;
    assert_eq!(secrets.len(), 3);
    assert_eq!(secrets[1].expires_at, secrets[2].expires_at);
}

#[tokio::test]
async fn headers_are_put_changed_and_shown_but_for_sensitive_ones() {
    let house = House::new().await;
    house.endpoint("one").await;
    let path = "/app/acme/endpoint/one/headers";
    house
        .put(
            path,
            r#"{"headers":{"X-A":"1","Authorization":"Bearer t"}}"#,
        )
        .await
        .with(204);
    let shown = house.get(path).await.with(200);
    assert_eq!(
        shown,
        json!({"headers":{"x-a":"1"},"sensitive":["authorization"]})
    );
    house
        .patch(path, r#"{"headers":{"x-a":null,"X-B":"2"}}"#)
        .await
        .with(204);
    let shown = house.get(path).await.with(200);
    assert_eq!(
        shown,
        json!({"headers":{"x-b":"2"},"sensitive":["authorization"]})
    );
    house
        .patch(path, r#"{"headers":{"Content-Type":"x"}}"#)
        .await
        .refuses("headers", "set by Postrider");
    house
        .put("/app/acme/endpoint/two/headers", r#"{"headers":{}}"#)
        .await
        .with(404);
}
