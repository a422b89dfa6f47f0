//! What a thing may be called, and what may be written about it.

use postrider_model::{AppId, EndpointId};
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn a_uid_that_reads_as_an_id_is_refused_wherever_it_is_given() {
    let house = House::new().await;
    let endpoint = house.endpoint("hook").await.id;
    let says = "has the form of an id";
    // Its own id, too: that needs no second name.
    for id in [house.app.id, AppId::new()] {
        let body = format!(r#"{{"name":"x","uid":"{id}"}}"#);
        house.post("/app", &body).await.refuses("uid", says);
        house.put("/app/fresh", &body).await.refuses("uid", says);
        house.put("/app/acme", &body).await.refuses("uid", says);
        house.patch("/app/acme", &body).await.refuses("uid", says);
    }
    for id in [endpoint, EndpointId::new()] {
        let body = format!(r#"{{"url":"https://example.com/","uid":"{id}"}}"#);
        let all = "/app/acme/endpoint";
        house.post(all, &body).await.refuses("uid", says);
        for one in [format!("{all}/fresh"), format!("{all}/{endpoint}")] {
            house.put(&one, &body).await.refuses("uid", says);
        }
        let one = format!("{all}/{endpoint}");
        house.patch(one, &body).await.refuses("uid", says);
    }
    // What only looks like one, as ids of other servers do, is a name like any other.
    let body = r#"{"name":"x","uid":"app_1srOrx2ZWZBpBUvZwXKQmoEYga2"}"#;
    house.post("/app", body).await.with(201);
}

#[tokio::test]
async fn what_is_written_about_a_thing_is_bounded() {
    let house = House::new().await;
    let long = "x".repeat(4097);
    let metadata = json!({"name": "x", "metadata": {"k": &long[1..]}}).to_string();
    let says = "4097 bytes together: expected at most 4096";
    house
        .post("/app", &metadata)
        .await
        .refuses("metadata", says);
    house
        .patch("/app/acme", &metadata)
        .await
        .refuses("metadata", says);
    let endpoints = "/app/acme/endpoint";
    for (field, value, says) in [
        ("metadata", json!({"k": &long[1..]}), says),
        (
            "description",
            long.clone().into(),
            "at most 4096 characters",
        ),
    ] {
        let body = json!({"url": "https://example.com/", field: value}).to_string();
        house.post(endpoints, &body).await.refuses(field, says);
        house
            .put(format!("{endpoints}/hook"), &body)
            .await
            .refuses(field, says);
    }
    for (field, value, says) in [
        ("description", long, "at most 4096 characters"),
        ("featureFlag", "a b".to_owned(), "1 to 256 characters of"),
    ] {
        let mut body = json!({"name": "a.b", "description": ""});
        body[field] = value.into();
        let body = body.to_string();
        house.post("/event-type", &body).await.refuses(field, says);
        house.patch("/event-type/a.b", &body).await.with(404);
    }
}
