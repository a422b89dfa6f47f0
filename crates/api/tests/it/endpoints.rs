//! Endpoints, as both generations of clients send and read them.

use postrider_store::{EndpointRef, Endpoints};
use serde_json::{Value, json};

use crate::house::House;

const PATH: &str = "/app/acme/endpoint";

#[tokio::test]
async fn an_endpoint_is_created_read_changed_and_deleted() {
    let house = House::new().await;
    let body = r#"{"url":"https://example.com/x","uid":"one","version":3,"channels":["eu"],"metadata":{"a":"b"}}"#;
    let made = house.post(PATH, body).await.with(201);
    assert_eq!(
        (&made["url"], &made["version"]),
        (&"https://example.com/x".into(), &1.into())
    );
    assert_eq!(
        (&made["disabled"], &made["eventTypes"]),
        (&false.into(), &Value::Null)
    );
    assert!(made.get("secret").is_none() && made.get("retrySchedule").is_none());
    let id = made["id"].as_str().unwrap();
    assert_eq!(house.get(format!("{PATH}/{id}")).await.with(200), made);
    let changed = house.patch(
        format!("{PATH}/one/"),
        r#"{"disabled":true,"channels":null}"#,
    );
    let changed = changed.await.with(200);
    assert_eq!(
        (&changed["disabled"], &changed["disabledReason"]),
        (&true.into(), &"owner".into())
    );
    assert_eq!(
        (&changed["channels"], &changed["metadata"]),
        (&Value::Null, &json!({"a":"b"}))
    );
    let replaced = house.put(
        format!("{PATH}/one"),
        r#"{"url":"https://example.com/y","uid":"one"}"#,
    );
    let replaced = replaced.await.with(200);
    assert_eq!(
        (&replaced["id"], &replaced["disabled"]),
        (&made["id"], &false.into())
    );
    assert_eq!(replaced["metadata"], json!({}));
    house.delete(format!("{PATH}/one")).await.with(204);
    house.get(format!("{PATH}/{id}")).await.with(404);
}

#[tokio::test]
async fn both_generations_of_names_are_taken_and_answered() {
    let house = House::new().await;
    for name in ["a.b", "c.d"] {
        let body = format!(r#"{{"name":"{name}","description":""}}"#);
        house.post("/event-type", &body).await.with(201);
    }
    for sent in [
        r#""filterTypes":["a.b","c.d"],"rateLimit":7"#,
        r#""eventTypes":["a.b","c.d"],"throttleRate":7"#,
        r#""eventTypes":["a.b","c.d"],"filterTypes":["a.b","c.d"],"throttleRate":7,"rateLimit":7"#,
    ] {
        let body = format!(r#"{{"url":"https://example.com",{sent}}}"#);
        let made = house.post(PATH, &body).await.with(201);
        for name in ["eventTypes", "filterTypes"] {
            assert_eq!(made[name], json!(["a.b", "c.d"]));
        }
        assert_eq!(
            (&made["rateLimit"], &made["throttleRate"]),
            (&7.into(), &7.into())
        );
    }
    let both = r#"{"url":"https://example.com","eventTypes":["a.b"],"filterTypes":["c.d"]}"#;
    house
        .post(PATH, both)
        .await
        .refuses("eventTypes", "two names of one thing");
}

#[tokio::test]
async fn a_filter_on_types_that_do_not_exist_names_them() {
    let house = House::new().await;
    house
        .post("/event-type", r#"{"name":"a.b","description":""}"#)
        .await
        .with(201);
    let body = r#"{"url":"https://example.com","filterTypes":["a.b","a.bb","c"]}"#;
    house
        .post(PATH, body)
        .await
        .refuses("filterTypes", "no such event types: a.bb, c;");
    house.endpoint("one").await;
    let patched = house
        .patch(format!("{PATH}/one"), r#"{"eventTypes":["zz"]}"#)
        .await;
    patched.refuses("eventTypes", "no such event types: zz;");
}

#[tokio::test]
async fn addresses_that_may_not_be_called_are_refused_at_registration() {
    let house = House::new().await;
    house.endpoint("one").await;
    for (url, says) in [
        ("not a url", "not a URL"),
        ("", "not a URL"),
        ("/relative", "not a URL"),
        ("ftp://example.com", "scheme ftp"),
        ("http://example.com", "https:// is required"),
        ("https://10.0.0.1/x", "is not public"),
        ("https://169.254.169.254/latest", "is not public"),
        ("https://[::1]/", "is not public"),
        ("https://user:pw@example.com/", "user name or password"),
    ] {
        let body = json!({ "url": url }).to_string();
        house.post(PATH, &body).await.refuses("url", says);
        house
            .put(format!("{PATH}/one"), &body)
            .await
            .refuses("url", says);
        house
            .patch(format!("{PATH}/one"), &body)
            .await
            .refuses("url", says);
    }
    house
        .post(PATH, r#"{"url":"https://127.0.0.1:8443/hook"}"#)
        .await
        .with(201);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let house = House::new().await;
    for (field, value, says) in [
        ("eventTypes", "[]", "at least one, or null for all"),
        ("eventTypes", r#"["a b"]"#, "not a valid event type"),
        ("channels", "[]", "at least one"),
        ("channels", r#"["a","a"]"#, "twice"),
        (
            "channels",
            r#"["1","2","3","4","5","6","7","8","9","10","11"]"#,
            "at most 10",
        ),
        ("throttleRate", "0", "1 to 65535"),
        ("throttleRate", "-1", "1 to 65535"),
        ("rateLimit", "0", "1 to 65535"),
        ("rateLimit", "-1", "1 to 65535"),
        ("rateLimit", "70000", "1 to 65535"),
        ("filterTypes", "[]", "at least one"),
        ("filterTypes", r#"["no.such"]"#, "no such event types"),
        ("uid", r#""a/b""#, "not a valid uid"),
        ("secret", r#""whsec_AAAA""#, "24 to 64"),
        ("secret", r#""whsec_!!!""#, "not base64"),
        (
            "headers",
            r#"{"Webhook-Id":"x"}"#,
            "set by Postrider itself",
        ),
        ("headers", r#"{"a b":"x"}"#, "not a header's name"),
        ("headers", r#"{"x":"a\nb"}"#, "cannot be sent"),
        ("retrySchedule", r#""soon""#, "number with a unit"),
        ("retrySchedule", r#""""#, "at least one wait"),
        ("retrySchedule", r#""400d""#, "at most 3d"),
        ("retrySchedule", r#"{"a":1}"#, "expected waits"),
        ("retrySchedule", "[]", "at least one wait"),
        ("retrySchedule", "[-1]", "number with a unit"),
        ("retrySchedule", r#""0s,,5s""#, "wait number 2"),
        ("retrySchedule", r#""0s,5s,""#, "wait number 3"),
        ("retrySchedule", r#"["0s","","5s"]"#, "wait number 2"),
        ("timeoutMs", "1", "100 to 120000"),
        ("timeoutMs", r#""5s""#, "100 to 120000"),
        ("timeoutMs", "-1", "100 to 120000"),
        ("maxInFlight", "0", "1 to 1000"),
        ("maxInFlight", "-1", "1 to 1000"),
        ("finalStatuses", "[200]", "300 to 599"),
        ("finalStatuses", "[-1]", "300 to 599"),
        ("disabled", "1", "expected true or false, not 1"),
        ("metadata", r#"{"a":1}"#, "expected a string, not 1"),
    ] {
        let body = format!(r#"{{"url":"https://example.com","{field}":{value}}}"#);
        house.post(PATH, &body).await.refuses(field, says);
    }
    house.post(PATH, "{}").await.refuses("url", "is missing");
    let both = r#"{"url":"https://example.com","eventTypes":["a"],"filterTypes":["b"]}"#;
    house
        .post(PATH, both)
        .await
        .refuses("eventTypes", "two names of one thing");
}

#[tokio::test]
async fn a_url_that_cannot_be_called_as_it_stands_is_refused() {
    let house = House::new().await;
    house.endpoint("one").await;
    for (url, says) in [
        ("https://example.com:0/hook", "port 0 cannot be called"),
        (
            &format!("https://{}.com/", "a".repeat(64)),
            "1 to 63 between",
        ),
        (&format!("https://{}com/", "a.".repeat(126)), "at most 253"),
        ("https://example..com/", "no host can have this name"),
        ("https://example.com/hook#here", "behind # is never sent"),
        ("https://example.com/hook#", "behind # is never sent"),
        ("example.com/hook", "write it as https://HOST/PATH"),
        (
            r"https://example.com/\u0000",
            "character 21 is a control character (U+0000)",
        ),
        (r"https://example.com/\r\nX: y", "(U+000D)"),
        (r"https://exam\tple.com/", "(U+0009)"),
        (r"\nhttps://example.com/", "(U+000A)"),
        (r"https://example.com/\u0085", "(U+0085)"),
    ] {
        let body = format!(r#"{{"url":"{url}"}}"#);
        house.post(PATH, &body).await.refuses("url", says);
        let one = format!("{PATH}/one");
        house.put(&one, &body).await.refuses("url", says);
        house.patch(&one, &body).await.refuses("url", says);
    }
}

#[tokio::test]
async fn a_policy_is_taken_answered_and_left_alone_by_clients_that_do_not_know_it() {
    let house = House::new().await;
    let body = r#"{"url":"https://example.com","uid":"one","retrySchedule":[0,5,"5m"],"timeoutMs":2500,
        "maxInFlight":4,"finalStatuses":[422,404,422],"headers":{"X-Tenant":"7"}}"#;
    let made = house.post(PATH, body).await.with(201);
    assert_eq!(made["retrySchedule"], "0s,5s,5m");
    assert_eq!(
        (&made["timeoutMs"], &made["maxInFlight"]),
        (&2500.into(), &4.into())
    );
    assert_eq!(made["finalStatuses"], json!([404, 422]));
    let replaced = house.put(
        format!("{PATH}/one"),
        r#"{"url":"https://example.com/2","uid":"one"}"#,
    );
    let replaced = replaced.await.with(200);
    assert_eq!(replaced["retrySchedule"], "0s,5s,5m");
    let reset = house.patch(
        format!("{PATH}/one"),
        r#"{"retrySchedule":null,"timeoutMs":null}"#,
    );
    assert!(reset.await.with(200).get("retrySchedule").is_none());
    let by = EndpointRef::Uid("one".parse().unwrap());
    let stored = house
        .store
        .endpoint(house.app.id, &by)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.policy.headers["x-tenant"], "7");
    assert_eq!(stored.policy.timeout, None);
}

#[tokio::test]
async fn put_makes_an_endpoint_under_the_uid_of_its_path() {
    let house = House::new().await;
    let made = house.put(format!("{PATH}/fresh"), r#"{"url":"https://example.com"}"#);
    assert_eq!(made.await.with(201)["uid"], "fresh");
    let taken = house
        .post(PATH, r#"{"url":"https://example.com","uid":"fresh"}"#)
        .await;
    assert_eq!(taken.with(409)["code"], "conflict");
}

#[tokio::test]
async fn concurrent_changes_are_all_kept() {
    let house = House::new().await;
    house.endpoint("one").await;
    let path = format!("{PATH}/one");
    let (a, b, c) = tokio::join!(
        house.patch(&path, r#"{"description":"d"}"#),
        house.patch(&path, r#"{"throttleRate":9}"#),
        house.patch(&path, r#"{"metadata":{"k":"v"}}"#),
    );
    for answer in [a, b, c] {
        answer.with(200);
    }
    let now = house.get(&path).await.with(200);
    assert_eq!(
        (&now["description"], &now["throttleRate"]),
        (&"d".into(), &9.into())
    );
    assert_eq!(now["metadata"]["k"], "v");
}
