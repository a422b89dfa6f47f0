//! Applications.

use crate::house::House;

#[tokio::test]
async fn an_application_is_created_read_changed_and_deleted() {
    let house = House::new().await;
    let body = r#"{"name":"Shop","uid":"shop","metadata":{"tier":"gold"},"throttleRate":5}"#;
    let made = house.post("/app", body).await.with(201);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("app_"));
    assert_eq!(
        (&made["throttleRate"], &made["rateLimit"]),
        (&5.into(), &5.into())
    );
    assert_eq!(house.get("/app/shop/").await.with(200), made);
    let changed = house.patch(
        format!("/app/{id}"),
        r#"{"name":"New","throttleRate":null}"#,
    );
    let changed = changed.await.with(200);
    assert_eq!(
        (&changed["name"], &changed["uid"]),
        (&"New".into(), &"shop".into())
    );
    assert_eq!(changed["throttleRate"], serde_json::Value::Null);
    assert_eq!(changed["metadata"]["tier"], "gold");
    let replaced = house
        .put("/app/shop", r#"{"name":"Whole","uid":"shop"}"#)
        .await
        .with(200);
    assert_eq!(
        (&replaced["id"], &replaced["metadata"]),
        (&made["id"], &serde_json::json!({}))
    );
    house.delete("/app/shop").await.with(204);
    assert_eq!(house.get("/app/shop").await.with(404)["code"], "not_found");
}

#[tokio::test]
async fn a_uid_is_taken_once_and_get_if_exists_gives_what_is_there() {
    let house = House::new().await;
    let body = r#"{"name":"Other","uid":"acme"}"#;
    assert_eq!(house.post("/app", body).await.with(409)["code"], "conflict");
    let there = house.post("/app?get_if_exists=true", body).await.with(200);
    assert_eq!(there["id"], house.app.id.to_string());
    let made = house.post("/app/?get_if_exists=true", r#"{"name":"x","uid":"fresh"}"#);
    made.await.with(201);
    let taken = house.patch("/app/fresh", r#"{"uid":"acme"}"#).await;
    assert_eq!(taken.with(409)["code"], "conflict");
}

#[tokio::test]
async fn put_makes_what_is_not_there() {
    let house = House::new().await;
    let made = house
        .put("/app/fresh", r#"{"name":"Fresh"}"#)
        .await
        .with(201);
    assert_eq!(made["uid"], "fresh");
    let gone = postrider_model::AppId::new();
    house
        .put(format!("/app/{gone}"), r#"{"name":"x"}"#)
        .await
        .with(404);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let house = House::new().await;
    house
        .post("/app", r#"{"uid":"x"}"#)
        .await
        .refuses("name", "is missing");
    house
        .post("/app", r#"{"name":""}"#)
        .await
        .refuses("name", "1 to 256 characters");
    house
        .patch("/app/acme", r#"{"name":null}"#)
        .await
        .refuses("name", "1 to 256 characters");
    house
        .post("/app", r#"{"name":"x","uid":"a b"}"#)
        .await
        .refuses("uid", "not a valid uid");
    house
        .post("/app", r#"{"name":"x","throttleRate":0}"#)
        .await
        .refuses("throttleRate", "1 to 65535");
    for (field, value) in [
        ("throttleRate", "-1"),
        ("rateLimit", "0"),
        ("rateLimit", "-1"),
    ] {
        let body = format!(r#"{{"name":"x","{field}":{value}}}"#);
        house.post("/app", &body).await.refuses(field, "1 to 65535");
    }
    let both = r#"{"name":"x","throttleRate":1,"rateLimit":2}"#;
    house
        .post("/app", both)
        .await
        .refuses("throttleRate", "two names of one thing");
    let torn = house.post("/app", "{").await.with(400);
    assert!(torn["detail"].as_str().unwrap().contains("not JSON"));
}

#[tokio::test]
async fn a_repeat_under_one_key_makes_no_second_application() {
    let house = House::new().await;
    let key = [("idempotency-key", "k1")];
    let first = house.send("POST", "/app", &key, r#"{"name":"One"}"#).await;
    let again = house.send("POST", "/app", &key, r#"{"name":"One"}"#).await;
    assert_eq!((first.status.as_u16(), &first.body), (201, &again.body));
    let other = house.send("POST", "/app", &key, r#"{"name":"Two"}"#).await;
    assert_eq!(other.with(409)["code"], "conflict");
    assert_eq!(
        house.get("/app").await.with(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // A request that was refused leaves its key free.
    let key = [("idempotency-key", "k2")];
    assert_eq!(house.send("POST", "/app", &key, "{}").await.status, 422);
    assert_eq!(
        house
            .send("POST", "/app", &key, r#"{"name":"x"}"#)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_name_has_256_characters_at_most_and_no_control_characters() {
    let house = House::new().await;
    for (uid, name) in [
        ("long", "\u{e4}".repeat(256)),
        ("odd", "A/B \u{2192} \"C\"".to_owned()),
    ] {
        let body = serde_json::json!({"name": name, "uid": uid}).to_string();
        assert_eq!(house.post("/app", &body).await.with(201)["name"], name);
    }
    let says = "expected a name of 1 to 256 characters, without control characters";
    for name in [
        "",
        "a\0b",
        "a\nb",
        &"\u{e4}".repeat(257),
        &"x".repeat(100_000),
    ] {
        let body = serde_json::json!({"name": name, "uid": "long"}).to_string();
        house.post("/app", &body).await.refuses("name", says);
        house.put("/app/long", &body).await.refuses("name", says);
        house.patch("/app/long", &body).await.refuses("name", says);
    }
    house.post("/app", "{}").await.refuses("name", "is missing");
}
