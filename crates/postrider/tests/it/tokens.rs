//! Tokens that belong to one application.

use postrider_testkit::{Api, eventually};
use reqwest::Method;
use serde_json::json;

use crate::asking::command;
use crate::world::{DEADLINE, World};

async fn status(api: &Api, method: Method, path: &str) -> u16 {
    let body = match path {
        path if path.ends_with("/msg") => json!({"eventType": "a.b", "payload": {}}),
        _ => json!({"url": "https://example.com/", "name": "x"}),
    };
    let path = format!("/api/v1{path}");
    api.call(method, &path, &body).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_application_opens_what_lies_in_it_until_it_is_revoked() {
    let mut world = World::with(&[]).await;
    let (own, other) = (
        world.app.clone(),
        world.api.create_app("other").await.unwrap(),
    );
    let uid = json!({ "uid": "acme" });
    let path = format!("/api/v1/app/{own}");
    world.api.patch(&path, &uid).await.unwrap();
    let data = world.launch.data().to_str().unwrap().to_owned();
    let token =
        |arguments: &[&str]| command(&[&["token"], arguments, &["--data", &data]].concat(), &[]);
    let create = ["create", "--scope", "application"];

    world.terminate().await;
    let (made, told) = token(&create);
    assert!(!made && told.contains("--application"), "{told}");
    let (made, told) = token(&[&create[..], &["--application", "nobody"]].concat());
    assert!(
        !made && told.contains("there is no application nobody"),
        "{told}"
    );
    let nameless = ["--application", &own, "--name", "a\nb"];
    let (made, told) = token(&[&create[..], &nameless].concat());
    assert!(
        !made && told.contains("without control characters"),
        "{told}"
    );
    let (made, text) = token(
        &[
            &create[..],
            &["--application", &own, "--name", "for the portal"],
        ]
        .concat(),
    );
    assert!(made, "{text}");
    let (listed, tokens) = token(&["list"]);
    let line = tokens.lines().find(|line| line.ends_with("for the portal"));
    let line = line.unwrap_or_else(|| panic!("{listed} {tokens}"));
    assert!(line.contains(&format!("{own} (acme)  ")), "{line}");
    assert!(line.contains("good"), "{line}");
    let id = line.split_whitespace().next().unwrap().to_owned();
    world.start().await;

    let api = world.api.with_token(&text);
    for (method, path, expected) in [
        (Method::GET, format!("/app/{own}"), 200),
        (Method::POST, format!("/app/{own}/endpoint"), 201),
        (Method::POST, format!("/app/{own}/msg"), 202),
        (Method::GET, format!("/app/{own}/dead-letter"), 200),
        (Method::GET, format!("/app/{own}/replay"), 200),
        (Method::DELETE, format!("/app/{own}"), 403),
        (Method::GET, format!("/app/{other}"), 404),
        (Method::POST, format!("/app/{other}/endpoint"), 404),
        (Method::POST, format!("/app/{other}/msg"), 404),
        (Method::GET, format!("/app/{other}/dead-letter"), 404),
        (Method::GET, "/app".to_owned(), 403),
        (Method::POST, "/app".to_owned(), 403),
        (Method::GET, "/event-type".to_owned(), 403),
        (Method::GET, "/dead-letter".to_owned(), 403),
        (Method::GET, "/rejected".to_owned(), 403),
    ] {
        let found = status(&api, method.clone(), &path).await;
        assert_eq!(found, expected, "{method} {path}");
    }

    world.terminate().await;
    let (revoked, told) = token(&["revoke", &id]);
    assert!(revoked, "{told}");
    let (listed, tokens) = token(&["list"]);
    assert!(listed && tokens.contains("revoked"), "{tokens}");
    world.start().await;
    for path in [format!("/app/{own}"), format!("/app/{own}/msg")] {
        assert_eq!(status(&api, Method::GET, &path).await, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_server_tokens_are_made_listed_and_revoked_by_asking_it() {
    let world = World::with(&[]).await;
    let app = &world.app;
    let uid = json!({ "uid": "acme" });
    let path = format!("/api/v1/app/{app}");
    world.api.patch(&path, &uid).await.unwrap();
    let data = world.launch.data().to_str().unwrap();
    let address = world.server().address().unwrap().to_string();
    // Somebody else, who is given no token.
    let listen = [("POSTRIDER__LISTEN", "127.0.0.1:1")];
    let token = |arguments: &[&str]| {
        command(
            &[&["token"], arguments, &["--data", data]].concat(),
            &listen,
        )
    };
    let create = ["create", "--scope", "application", "--application"];

    let (made, text) = token(&[&create[..], &[app, "--name", "for the portal"]].concat());
    assert!(made, "{text}");
    let api = world.api.with_token(&text);
    let path = format!("/app/{app}");
    assert_eq!(status(&api, Method::GET, &path).await, 200);
    let (listed, tokens) = token(&["list"]);
    let line = tokens.lines().find(|line| line.ends_with("for the portal"));
    let line = line.unwrap_or_else(|| panic!("{listed} {tokens}"));
    assert!(line.contains(&format!("{app} (acme)  ")), "{line}");
    assert!(line.contains("good"), "{line}");
    let id = line.split_whitespace().next().unwrap();

    let (listed, rejected) = command(&["rejected", "list", "--data", data], &listen);
    assert!(listed && rejected.is_empty(), "{rejected}");

    let (revoked, told) = token(&["revoke", id]);
    assert!(revoked, "{told}");
    assert_eq!(status(&api, Method::GET, &path).await, 401);
    let other = world.api.create_app("other").await.unwrap();
    let (made, told) = token(&[&create[..], &[&other, "--name", "for nothing"]].concat());
    assert!(made, "{told}");
    let gone = format!("/api/v1/app/{other}");
    let gone = world
        .api
        .call(Method::DELETE, &gone, &json!({}))
        .await
        .unwrap();
    assert_eq!(gone.status, 204, "{gone:?}");
    let (listed, tokens) = token(&["list"]);
    assert!(listed, "{tokens}");
    let url = format!("http://{address}");
    let (listed, tokens) = command(
        &[
            "token",
            "list",
            "--url",
            &url,
            "--token",
            &world.server().token,
        ],
        &[],
    );
    assert!(listed && tokens.contains("revoked"), "{tokens}");

    let (made, told) = token(&[&create[..], &["nobody"]].concat());
    assert!(!made && told.contains("no such application"), "{told}");
    let nowhere = ["list", "--url", "http://127.0.0.1:1"];
    let (listed, told) = token(&nowhere);
    assert!(!listed && told.contains("--url says where"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_opens_nothing_afterwards_wherever_it_was_made() {
    let mut world = World::with(&[]).await;
    let data = world.launch.data().to_str().unwrap().to_owned();
    let token =
        |arguments: &[&str]| command(&[&["token"], arguments, &["--data", &data]].concat(), &[]);
    let create = ["create", "--scope", "operator", "--expires"];
    for wrong in ["soon", "0s", "10ms", "4000d"] {
        let (made, told) = token(&[&create[..], &[wrong]].concat());
        assert!(!made && told.contains("expected"), "{wrong}: {told}");
    }
    // By the server, and then in the store that it left.
    let (made, short) = token(&[&create[..], &["1s", "--name", "short"]].concat());
    assert!(made, "{short}");
    let (made, long) = token(&[&create[..], &["1h", "--name", "long"]].concat());
    assert!(made, "{long}");
    world.terminate().await;
    let (made, other) = token(&[&create[..], &["1s", "--name", "other"]].concat());
    assert!(made, "{other}");
    world.start().await;
    for over in [short, other] {
        let api = world.api.with_token(&over);
        let refused = eventually("it has expired", DEADLINE, async || {
            (status(&api, Method::GET, "/app").await == 401).then_some(())
        });
        refused.await.unwrap();
    }
    let api = world.api.with_token(&long);
    assert_eq!(status(&api, Method::GET, "/app").await, 200);
    let listed = || {
        let (_, tokens) = token(&["list"]);
        let state = |name: &str| {
            let line = tokens.lines().find(|line| line.ends_with(name)).unwrap();
            line.split_whitespace().nth(2).unwrap().to_owned()
        };
        let states = ["short", "long", "other"].map(state);
        assert_eq!(states, ["expired", "good", "expired"], "{tokens}");
    };
    listed();
    world.terminate().await;
    listed();
}
