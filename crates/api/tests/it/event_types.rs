//! Event types.

use crate::house::House;

const BODY: &str = r#"{"name":"a.b","description":"A","schemas":{"1":{"type":"object"}}}"#;

#[tokio::test]
async fn an_event_type_is_created_read_changed_archived_and_taken_back() {
    let house = House::new().await;
    let made = house.post("/event-type", BODY).await.with(201);
    assert_eq!(made["schemas"]["1"]["type"], "object");
    assert_eq!(house.get("/event-type/a.b").await.with(200), made);
    assert_eq!(
        house.post("/event-type", BODY).await.with(409)["code"],
        "conflict"
    );
    let changed = house.patch("/event-type/a.b", r#"{"deprecated":true,"schemas":null}"#);
    let changed = changed.await.with(200);
    assert_eq!(
        (&changed["deprecated"], &changed["description"]),
        (&true.into(), &"A".into())
    );
    assert_eq!(changed["schemas"], serde_json::Value::Null);
    house.delete("/event-type/a.b").await.with(204);
    let names = async |path: &str| {
        house.get(path).await.with(200)["data"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(names("/event-type").await, 0);
    assert_eq!(names("/event-type?include_archived=true").await, 1);
    let back = house.post("/event-type", BODY).await.with(201);
    assert_eq!(
        (&back["archived"], &back["deprecated"]),
        (&false.into(), &false.into())
    );
    house.delete("/event-type/a.b?expunge=true").await.with(204);
    house.get("/event-type/a.b").await.with(404);
}

#[tokio::test]
async fn put_makes_or_replaces() {
    let house = House::new().await;
    let body = r#"{"description":"B"}"#;
    assert_eq!(
        house.put("/event-type/b", body).await.with(201)["name"],
        "b"
    );
    house.put("/event-type/b", body).await.with(200);
    house
        .put("/event-type/b", "{}")
        .await
        .refuses("description", "expected a text");
    house
        .put("/event-type/b%20c", body)
        .await
        .refuses("event_type_name", "not a valid event type");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let house = House::new().await;
    let bad = r#"{"name":"a b","description":""}"#;
    house
        .post("/event-type", bad)
        .await
        .refuses("name", "not a valid event type");
    house
        .post("/event-type", r#"{"description":""}"#)
        .await
        .refuses("name", "is missing");
    let bad = r#"{"name":"a","description":"","schemas":[]}"#;
    house
        .post("/event-type", bad)
        .await
        .refuses("schemas", "expected an object");
    house.get("/event-type/a%20b").await.with(404);
}

#[tokio::test]
async fn listings_leave_schemas_out_unless_asked() {
    let house = House::new().await;
    house.post("/event-type", BODY).await.with(201);
    let listed = house.get("/event-type/").await.with(200);
    assert_eq!(listed["data"][0]["schemas"], serde_json::Value::Null);
    let listed = house.get("/event-type?with_content=true").await.with(200);
    assert!(listed["data"][0]["schemas"].is_object());
}
