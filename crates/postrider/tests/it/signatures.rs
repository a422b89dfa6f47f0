//! Every signature verifies by the official libraries of Standard Webhooks.

use std::path::Path;
use std::process::Command;

use postrider_testkit::{Behaviour, NODE, Received, Recording, SVIX_2, client_library};
use serde_json::{Value, json};

use crate::world::World;

/// A delivery as it came over the wire: the secret, the headers, the body.
async fn delivered() -> (String, Received) {
    let world = World::recording(Recording::Requests, &[]).await;
    let endpoint = world.endpoint("/signed", Behaviour::Ok).await;
    let payload = json!({ "text": "grün \u{1F40E} \" \\ \u{7f}", "number": 1.50 });
    let published = world.api.publish(&world.app, "scenario.event", &payload);
    published.await.unwrap();
    world.wait_for("/signed", 1).await;
    let secret = world.api.secret(&world.app, &endpoint).await.unwrap();
    (secret, world.receiver.requests("/signed").remove(0))
}

/// The same as JSON, for the libraries of other languages; the body in hex.
fn as_json(secret: &str, request: &Received) -> Value {
    let headers: serde_json::Map<_, _> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(name).to_lowercase(), json!(text(value)))
        })
        .collect();
    let body: String = request
        .body
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({ "secret": secret, "headers": headers, "body": body })
}

/// Runs a script with the delivery as its last argument; it fails if the signature does not verify, or if it
/// does with another body.
fn verified_by(program: &Path, script: &str, arguments: &[&str], delivery: &Value) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scripts");
    let output = Command::new(program)
        .arg(scripts.join(script))
        .args(arguments)
        .arg(delivery.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_verifies_by_the_official_python_library() {
    let python = client_library(SVIX_2).unwrap().join("bin/python");
    let (secret, request) = delivered().await;
    verified_by(&python, "verify.py", &[], &as_json(&secret, &request));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_verifies_by_the_official_javascript_library() {
    let node = client_library(NODE).unwrap();
    let (secret, request) = delivered().await;
    let folder = node.to_str().unwrap();
    verified_by(
        Path::new("node"),
        "verify.js",
        &[folder],
        &as_json(&secret, &request),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_verifies_by_the_official_rust_library() {
    let (secret, request) = delivered().await;
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, request.text(name).parse().unwrap());
    }
    let webhook = standardwebhooks::Webhook::new(&secret).unwrap();
    webhook.verify(&request.body, &headers).unwrap();
    assert!(webhook.verify(b"{}", &headers).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_is_delivered_byte_for_byte_as_it_was_sent() {
    let world = World::recording(Recording::Requests, &[]).await;
    world.endpoint("/raw", Behaviour::Ok).await;
    // Blanks, an escape, a number's form and the order of keys: all kept.
    let payload = r#"{ "b" : 1.50,  "a":"\u00e9" , "b2":1e3}"#;
    let body = format!(r#"{{"eventType":"scenario.event","payload":{payload}}}"#);
    let path = format!("/api/v1/app/{}/msg", world.app);
    let sent = world
        .api
        .send(reqwest::Method::POST, &path, "application/json", body);
    assert_eq!(sent.await.unwrap().status, 202);
    world.wait_for("/raw", 1).await;
    assert_eq!(world.receiver.requests("/raw")[0].body, payload.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_sign_for_a_while_after_a_rotation() {
    let world = World::recording(Recording::Requests, &[]).await;
    let endpoint = world.endpoint("/signed", Behaviour::Ok).await;
    let old = world.api.secret(&world.app, &endpoint).await.unwrap();
    let path = format!(
        "/api/v1/app/{}/endpoint/{endpoint}/secret/rotate",
        world.app
    );
    world.api.post(&path, &json!({})).await.unwrap();
    let new = world.api.secret(&world.app, &endpoint).await.unwrap();
    assert_ne!(old, new);
    world.publish(1).await;
    world.wait_for("/signed", 1).await;
    let request = world.receiver.requests("/signed").remove(0);
    for secret in [old, new] {
        let good = postrider_testkit::verify(
            &secret,
            request.text("webhook-id"),
            request.text("webhook-timestamp"),
            &request.body,
            request.text("webhook-signature"),
        );
        assert!(good);
    }
}
