//! An endpoint made before an event was accepted gets it, however shortly before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postrider_testkit::{Api, LossChecker, setting};
use serde_json::json;

use crate::world::{DEADLINE, World};

/// So many are made side by side.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_made_before_an_event_is_accepted_gets_it() {
    let tries = setting("POSTRIDER_TEST_TRIES", 10_000);
    let world = World::with(&[]).await;
    let url = world.receiver.url("/made");
    let checker = make(tries, &world.app, &url, &world.api, &world.api).await;
    world.hold(&checker, DEADLINE).await;
    assert_eq!(world.receiver.count("/made/"), tries);
}

/// Makes `tries` endpoints below `url` by `api`, and as soon as each is made publishes by `ingest` what nobody else
/// listens to. Each is due at `/made/` and the try's number.
pub(crate) async fn make(tries: u64, app: &str, url: &str, api: &Api, ingest: &Api) -> LossChecker {
    let next = Arc::new(AtomicU64::new(0));
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (app, url, next) = (app.to_owned(), url.to_owned(), Arc::clone(&next));
        let (api, ingest) = (api.clone(), ingest.clone());
        makers.spawn(async move {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tries {
                    return made;
                }
                let channel = format!("try-{number}");
                let spec = json!({ "url": format!("{url}/{number}"), "channels": [channel] });
                api.create_endpoint(&app, &spec).await.unwrap();
                let event = json!({
                    "eventType": "scenario.event", "payload": { "n": number }, "channels": [channel],
                });
                let path = format!("/api/v1/app/{app}/msg");
                let accepted = ingest.post(&path, &event).await.unwrap();
                made.push((accepted["id"].as_str().unwrap().to_owned(), number));
            }
        });
    }
    let mut checker = LossChecker::default();
    while let Some(made) = makers.join_next().await {
        for (event, number) in made.unwrap() {
            checker.expect(&event, &[&format!("/made/{number}")]);
        }
    }
    checker
}
