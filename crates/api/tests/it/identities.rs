//! Who may ask for what, on every route.

use postrider_store::{Applications, TokenScope};

use crate::house::{House, add_token, application};

/// Every route, with `{app}` where an application stands.
const ROUTES: [(&str, &str); 40] = [
    ("GET", "/app"),
    ("POST", "/app"),
    ("GET", "/app/{app}"),
    ("PUT", "/app/{app}"),
    ("PATCH", "/app/{app}"),
    ("DELETE", "/app/{app}"),
    ("GET", "/event-type"),
    ("POST", "/event-type"),
    ("GET", "/event-type/a"),
    ("PUT", "/event-type/a"),
    ("PATCH", "/event-type/a"),
    ("DELETE", "/event-type/a"),
    ("GET", "/app/{app}/endpoint"),
    ("POST", "/app/{app}/endpoint"),
    ("GET", "/app/{app}/endpoint/x"),
    ("PUT", "/app/{app}/endpoint/x"),
    ("PATCH", "/app/{app}/endpoint/x"),
    ("DELETE", "/app/{app}/endpoint/x"),
    ("GET", "/app/{app}/endpoint/x/secret"),
    ("POST", "/app/{app}/endpoint/x/secret/rotate"),
    ("GET", "/app/{app}/endpoint/x/breaker"),
    ("POST", "/app/{app}/endpoint/x/breaker/probe"),
    ("GET", "/app/{app}/endpoint/x/headers"),
    ("PUT", "/app/{app}/endpoint/x/headers"),
    ("PATCH", "/app/{app}/endpoint/x/headers"),
    ("GET", "/app/{app}/msg"),
    ("GET", "/app/{app}/msg/x"),
    ("GET", "/app/{app}/msg/x/attempt/y"),
    ("GET", "/app/{app}/msg/x/endpoint"),
    ("POST", "/app/{app}/msg/x/endpoint/y/resend"),
    ("GET", "/app/{app}/attempt/msg/x"),
    ("GET", "/app/{app}/attempt/endpoint/x"),
    ("GET", "/app/{app}/endpoint/x/msg"),
    ("GET", "/app/{app}/dead-letter"),
    ("DELETE", "/app/{app}/dead-letter/x"),
    ("POST", "/app/{app}/replay"),
    ("POST", "/app/{app}/replay/x/pause"),
    ("GET", "/dead-letter"),
    ("GET", "/replay/x"),
    ("POST", "/replay"),
];

#[tokio::test]
async fn without_a_good_token_every_route_is_401_before_anything_else() {
    let house = House::new().await;
    let strange = "Bearer pr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (method, path) in ROUTES {
        for bearer in ["", "Bearer x", strange] {
            for app in ["acme", "nobody"] {
                let path = path.replace("{app}", app);
                let headers = [("authorization", bearer)];
                let answer = house
                    .send(method, &path, &headers, "not json")
                    .await
                    .with(401);
                assert_eq!(answer["code"], "authentication_failed", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn another_applications_token_sees_exactly_a_missing_application() {
    let house = House::new().await;
    let other = house
        .store
        .insert_application(&application("other"))
        .await
        .unwrap();
    let bearer = format!(
        "Bearer {}",
        add_token(&house.store, TokenScope::Application(other.id)).await
    );
    let headers = [("authorization", bearer.as_str())];
    for (method, path) in ROUTES {
        if path.contains("{app}") {
            let foreign = house
                .send(method, &path.replace("{app}", "acme"), &headers, "{}")
                .await;
            let missing = house
                .send(method, &path.replace("{app}", "nobody"), &headers, "{}")
                .await;
            assert_eq!(foreign.body, missing.body, "{method} {path}");
            assert_eq!(foreign.status, 404, "{method} {path}");
            assert_eq!(
                foreign.text(),
                r#"{"code":"not_found","detail":"Entity not found"}"#
            );
        } else {
            let refused = house.send(method, path, &headers, "{}").await.with(403);
            assert_eq!(refused["code"], "permission_denied", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_applications_own_token_works_in_it_but_does_not_delete_it() {
    let house = House::new().await;
    let token = add_token(&house.store, TokenScope::Application(house.app.id)).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let body = r#"{"url":"https://example.com"}"#;
    assert_eq!(
        house
            .send("POST", "/app/acme/endpoint", &headers, body)
            .await
            .status,
        201
    );
    assert_eq!(
        house.send("GET", "/app/acme", &headers, "").await.status,
        200
    );
    house
        .send("DELETE", "/app/acme", &headers, "")
        .await
        .with(403);
}

#[tokio::test]
async fn with_the_store_down_every_route_but_health_is_503_with_retry_after() {
    let house = House::new().await;
    house.store.set_available(false);
    for (method, path) in ROUTES {
        let body = match (method, path) {
            ("PUT", "/app/{app}") | ("PATCH", "/app/{app}") | ("POST", "/app") => r#"{"name":"x"}"#,
            (_, path) if path.ends_with("/headers") => r#"{"headers":{}}"#,
            (_, path) if path.starts_with("/event-type") => r#"{"name":"a","description":""}"#,
            (_, path) if path.ends_with("/replay") => r#"{"filter":{}}"#,
            _ => r#"{"url":"https://example.com"}"#,
        };
        let answer = house
            .send(method, &path.replace("{app}", "acme"), &[], body)
            .await;
        // What no id can be is not there, whatever the store would say.
        if answer.status == 404
            && ["/y", "/dead-letter/x", "/replay/x", "/pause"]
                .iter()
                .any(|end| path.ends_with(end))
        {
            continue;
        }
        assert_eq!(answer.status, 503, "{method} {path}: {}", answer.text());
        assert_eq!(answer.headers["retry-after"], "1");
    }
    assert_eq!(house.get("/health").await.status, 204);
    let counted = house.metrics.render();
    assert!(
        counted.contains(r#"postrider_api_requests_total{area="health",status="2xx"} 1"#),
        "{counted}"
    );
}

#[tokio::test]
async fn health_needs_no_token_and_unknown_paths_have_the_dialects_shape() {
    let house = House::new().await;
    let nobody = [("authorization", "")];
    for path in ["/health", "/health/", "/health/ping", "/health/ping/"] {
        assert_eq!(house.send("GET", path, &nobody, "").await.status, 204);
    }
    assert_eq!(house.get("/nothing").await.with(404)["code"], "not_found");
    assert_eq!(
        house.delete("/app").await.with(405)["code"],
        "method_not_allowed"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let house = House::new().await;
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
    let refused = house.post("/app", &huge).await.with(413);
    assert_eq!(refused["code"], "payload_too_large");
}
