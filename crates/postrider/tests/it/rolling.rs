//! A restart of the single process under load: nobody else is there to take events meanwhile, so clients try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_testkit::{Accepted, Api, Behaviour, LossChecker, Report};
use serde_json::json;

use crate::killing::expect_everywhere;
use crate::world::{DEADLINE, World};

/// How long a client tries one event.
const TRIES_FOR: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_tries_again_for_ten_seconds_gets_every_event_through_restarts() {
    let mut world = World::alone(&[]).await;
    world.endpoint("/quick", Behaviour::Ok).await;
    // Within the drain's bound, and long enough that many are in flight at any time.
    let slow = Behaviour::Delay(Duration::from_millis(300));
    world.endpoint("/slow", slow).await;
    let over = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (api, app) = (world.api.clone(), world.app.clone());
        clients.spawn(publish_all(api, app, next.clone(), over.clone()));
    }
    for stop in 1..=5 {
        let so_far = world.receiver.count("/slow");
        world.wait_for("/slow", so_far + 20 * stop).await;
        world.terminate().await;
        world.start().await;
    }
    over.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    let mut longest = Duration::ZERO;
    while let Some(client) = clients.join_next().await {
        let (accepted, took) = client.unwrap();
        report.accepted.extend(accepted);
        longest = longest.max(took);
    }
    println!(
        "{} events, the longest took {longest:?}",
        report.accepted.len()
    );
    let mut checker = LossChecker::default();
    expect_everywhere(&mut checker, &report, &["/quick", "/slow"]);
    world.hold(&checker, DEADLINE).await;
    // Nor did an event come under a second id.
    let arrived = world.receiver.arrivals_at("/quick");
    assert_eq!(arrived.len(), report.accepted.len());
}

/// Publishes one event after the other until it is over; also returns how long the longest took.
async fn publish_all(
    api: Api,
    app: String,
    next: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> (Vec<Accepted>, Duration) {
    let path = format!("/api/v1/app/{app}/msg");
    let mut accepted = Vec::new();
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let event = publish(&api, &path, number).await;
        longest = longest.max(began.elapsed());
        accepted.push(Accepted {
            event,
            number,
            at: Instant::now(),
        });
        // A pace, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (accepted, longest)
}

/// Publishes one event, trying again whatever went wrong: its own id makes the tries one event.
async fn publish(api: &Api, path: &str, number: u64) -> String {
    let event = json!({
        "eventType": "scenario.event",
        "eventId": format!("event-{number}"),
        "payload": { "n": number },
    });
    let began = Instant::now();
    loop {
        let why = match api.try_post(path, &event).await {
            Ok(answer) if answer.status == 202 => {
                return answer.body["id"].as_str().unwrap().to_owned();
            }
            Ok(answer) => format!("{}: {}", answer.status, answer.body),
            Err(error) => format!("{error:#}"),
        };
        assert!(began.elapsed() < TRIES_FOR, "event {number}: {why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
