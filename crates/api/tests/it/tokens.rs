//! Tokens, made and revoked over the API.

use std::time::Duration;

use postrider_access::Token;
use postrider_model::{Clock, SystemClock, Timestamp};
use postrider_store::{TokenRecord, TokenScope, Tokens, all_tokens};

use crate::house::{House, add_token};

#[tokio::test]
async fn a_token_that_was_made_opens_what_it_is_for_until_it_is_revoked() {
    let mut house = House::new().await;
    let body = r#"{"name":"for the portal","applicationId":"acme"}"#;
    let made = house.post("/token", body).await.with(201);
    assert_eq!(made["name"], "for the portal");
    assert_eq!(made["applicationId"], house.app.id.to_string());
    let text = made["token"].as_str().unwrap().to_owned();
    let operator = std::mem::replace(&mut house.token, text.clone());
    house.get("/app/acme").await.with(200);
    house.get("/app").await.with(403);
    house.get("/token").await.with(403);

    house.token = operator;
    let path = format!("/token/{}/revoke", made["id"].as_str().unwrap());
    let revoked = house.post(&path, "").await.with(200);
    assert!(revoked["revokedAt"].is_string(), "{revoked}");
    assert_eq!(house.post(&path, "").await.with(200), revoked, "it stays");
    house.token = text;
    house.get("/app/acme").await.with(401);
}

#[tokio::test]
async fn a_token_that_is_to_expire_says_when_and_opens_nothing_from_then_on() {
    let mut house = House::new().await;
    let body = r#"{"name":"an incident","expiresInSeconds":3600}"#;
    let made = house.post("/token", body).await.with(201);
    let at = |field: &str| Timestamp::parse(made[field].as_str().unwrap());
    let (made_at, expires_at) = (at("createdAt").unwrap(), at("expiresAt").unwrap());
    assert_eq!(expires_at.since(made_at), Duration::from_secs(3600));
    let text = made["token"].as_str().unwrap().to_owned();
    let operator = std::mem::replace(&mut house.token, text);
    house.get("/app/acme").await.with(200);

    house.token = operator;
    let now = SystemClock.now();
    let token = Token::generate();
    let record = TokenRecord::new(
        *token.hash().as_bytes(),
        TokenScope::Operator,
        "over".to_owned(),
        Timestamp::from_millis(now.as_millis() - 2_000),
    );
    let record = record.lasting(Some(Duration::from_secs(1)));
    house.store.insert_token(&record).await.unwrap();
    let listed = house.get("/token").await.with(200);
    assert!(listed["data"][2]["expiresAt"].is_string(), "{listed}");
    house.token = token.expose().to_owned();
    house.get("/app/acme").await.with(401);
}

#[tokio::test]
async fn a_listing_shows_every_token_and_the_text_of_none() {
    let house = House::new().await;
    let made = house.post("/token", r#"{"name":"second"}"#).await.with(201);
    let text = made["token"].as_str().unwrap();
    let (mut path, mut shown) = ("/token?limit=1".to_owned(), Vec::new());
    loop {
        let page = house.get(&path).await.with(200);
        assert!(!page.to_string().contains(text));
        shown.extend(page["data"].as_array().unwrap().clone());
        if page["done"] == true {
            break;
        }
        path = format!(
            "/token?limit=1&iterator={}",
            page["iterator"].as_str().unwrap()
        );
    }
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1]["name"], "second");
    assert!(shown.iter().all(|one| one["applicationId"].is_null()));
    assert!(shown.iter().all(|one| one.get("hash").is_none()));
}

#[tokio::test]
async fn what_is_wrong_with_a_token_that_is_asked_for_is_said() {
    let house = House::new().await;
    for (body, told) in [
        (r"{}".to_owned(), "name"),
        (r#"{"name":""}"#.to_owned(), "1 to 256 bytes"),
        (r#"{"name":"a\nb"}"#.to_owned(), "control characters"),
        (format!(r#"{{"name":"{}"}}"#, "a".repeat(257)), "1 to 256"),
        (
            r#"{"name":"a","applicationId":"nobody"}"#.to_owned(),
            "no such application",
        ),
        (r#"{"name":"a","scope":"operator"}"#.to_owned(), "scope"),
        (
            r#"{"name":"a","expiresInSeconds":0}"#.to_owned(),
            "1 to 315360000",
        ),
    ] {
        let answer = house.post("/token", &body).await.with(422);
        assert!(answer.to_string().contains(told), "{body}: {answer}");
    }
    let key = [("idempotency-key", "k1")];
    let answer = house.send("POST", "/token", &key, r#"{"name":"a"}"#).await;
    assert!(answer.with(422).to_string().contains("secret"));
    for id in ["nonsense", "tok_00000000000000000000000000"] {
        house
            .post(format!("/token/{id}/revoke"), "")
            .await
            .with(404);
    }
    assert_eq!(all_tokens(&house.store).await.unwrap().len(), 1);
}

#[tokio::test]
async fn with_the_store_down_tokens_are_refused_with_503() {
    let house = House::new().await;
    let id = all_tokens(&house.store).await.unwrap()[0].id;
    house.store.set_available(false);
    house.get("/token").await.with(503);
    house.post("/token", r#"{"name":"a"}"#).await.with(503);
    house
        .post(format!("/token/{id}/revoke"), "")
        .await
        .with(503);
}

#[tokio::test]
async fn an_applications_token_makes_and_revokes_none() {
    let mut house = House::new().await;
    let id = all_tokens(&house.store).await.unwrap()[0].id;
    house.token = add_token(&house.store, TokenScope::Application(house.app.id)).await;
    house.get("/app/acme").await;
    house.post("/token", r#"{"name":"a"}"#).await.with(403);
    house
        .post(format!("/token/{id}/revoke"), "")
        .await
        .with(403);
}

#[tokio::test]
async fn of_two_who_revoke_a_token_at_once_each_is_told_that_it_is_revoked() {
    let house = House::new().await;
    let made = house.post("/token", r#"{"name":"second"}"#).await.with(201);
    let path = format!("/token/{}/revoke", made["id"].as_str().unwrap());
    let (one, other) = tokio::join!(house.post(&path, ""), house.post(&path, ""));
    let (one, other) = (one.with(200), other.with(200));
    assert_eq!(one["revokedAt"], other["revokedAt"]);
}
