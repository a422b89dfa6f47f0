//! Replay of very many dead letters: paused, resumed, killed halfway, cancelled.

use std::time::Duration;

use postrider_testkit::{LossChecker, Refusing, eventually, setting};
use serde_json::{Value, json};

use crate::unfinished::Unfinished;
use crate::world::{DEADLINE, World};

/// Endpoints that were down, each of which missed every event.
const ENDPOINTS: u64 = 100;

/// Dead letters that a replay publishes, at most, before it records how far it has come.
const STEP: usize = 250;

/// One attempt; and what an open breaker holds back is given up after a second.
const GIVING_UP: [(&str, &str); 3] = [
    ("DELIVERY__SCHEDULE", "0s"),
    ("DELIVERY__SLACK", "1s"),
    ("DELIVERY__BREAKER_LONGEST_WAIT", "2s"),
];

/// A world that gives up soon, whose endpoints were down until everything had become dead letters, and are up now.
/// Returns the events that they missed.
async fn after_an_outage(mut world: World, dead_letters: u64) -> (World, Vec<String>) {
    let dead = Refusing::bind().unwrap();
    let spec = json!({ "url": dead.url().unwrap() });
    let mut endpoints = Vec::new();
    for _ in 0..ENDPOINTS {
        endpoints.push(world.api.create_endpoint(&world.app, &spec).await.unwrap());
    }
    let report = world.publish(dead_letters / ENDPOINTS).await;
    world.wait_for_dead_letters(dead_letters).await;
    for (number, endpoint) in endpoints.iter().enumerate() {
        let url = world.receiver.url(&format!("/up/{number}"));
        world.change(endpoint, json!({ "url": url })).await;
    }
    world.terminate().await;
    world.start_with(&[("DELIVERY__SLACK", "1h")]).await;
    let events = report.accepted.into_iter().map(|one| one.event).collect();
    (world, events)
}

async fn begin(world: &World, rate: u64) -> String {
    let body = json!({ "filter": {}, "rate": rate });
    let path = format!("/api/v1/app/{}/replay", world.app);
    let answer = world.api.try_post(&path, &body).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

async fn order(world: &World, replay: &str, order: &str) {
    let path = format!("/api/v1/app/{}/replay/{replay}/{order}", world.app);
    world.api.post(&path, &json!({})).await.unwrap();
}

async fn state(world: &World, replay: &str) -> Value {
    let path = format!("/api/v1/app/{}/replay/{replay}", world.app);
    world.api.get(&path).await.unwrap()
}

async fn wait_for_status(world: &World, replay: &str, status: &str) -> Value {
    let what = format!("the replay is {status}");
    let waited = eventually(&what, DEADLINE, async || {
        let state = state(world, replay).await;
        (state["status"] == status).then_some(state)
    });
    waited.await.unwrap()
}

/// Waits until what the replay has sent has arrived and no more comes. Returns how many have come.
async fn until_quiet(world: &World) -> u64 {
    let mut last = (0, 0);
    let quiet = eventually("no more arrives", DEADLINE, async || {
        let count = world.receiver.count("/up/");
        last = if count == last.0 {
            (count, last.1 + 1)
        } else {
            (count, 0)
        };
        // Half a second without an arrival, where a running replay sends thousands.
        (last.1 >= 50).then_some(count)
    });
    quiet.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_great_replay_is_paused_resumed_and_killed_halfway_and_delivers_each_dead_letter() {
    let total = setting("POSTRIDER_TEST_DEAD_LETTERS", 100_000);
    let rate = total / 10;
    let world = World::alone(&GIVING_UP).await;
    let (mut world, events) = after_an_outage(world, total).await;
    let replay = begin(&world, rate).await;

    world.wait_for("/up/", total / 10).await;
    order(&world, &replay, "pause").await;
    wait_for_status(&world, &replay, "paused").await;
    let paused = until_quiet(&world).await;
    assert!(paused < total, "it was over before it was paused");

    order(&world, &replay, "resume").await;
    world.wait_for("/up/", total / 2).await;
    let mut checker = LossChecker::default();
    checker.killed(world.kill().await);
    let unfinished = Unfinished::of(world.launch.data()).await;
    world.start().await;
    let done = wait_for_status(&world, &replay, "done").await;
    assert_eq!(done["total"], total, "{done}");
    assert_eq!(done["failed"], 0, "{done}");

    let paths: Vec<_> = (0..ENDPOINTS).map(|n| format!("/up/{n}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    events
        .iter()
        .for_each(|event| checker.expect(event, &paths));
    let all = eventually("each has arrived", DEADLINE, async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (checker.missing(&world.receiver.arrivals()) == 0).then_some(())
    });
    all.await.unwrap();
    until_quiet(&world).await;
    let verdict = checker.judge(&world.receiver.arrivals());
    println!("{verdict}");
    // What was in flight is sent again, or answered and not yet written down, and so is the step that was published and
    // not yet recorded as such.
    let finished = unfinished.finished_among(&verdict.unexcused);
    assert!(
        verdict.missing.is_empty() && verdict.changed.is_empty() && finished <= STEP,
        "{verdict}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_replay_sends_nothing_more() {
    const TOTAL: u64 = 20_000;
    let world = World::with(&GIVING_UP).await;
    let (world, _) = after_an_outage(world, TOTAL).await;
    let replay = begin(&world, 100).await;
    world.wait_for("/up/", 50).await;
    order(&world, &replay, "cancel").await;
    wait_for_status(&world, &replay, "cancelled").await;
    let sent = until_quiet(&world).await;
    assert!(sent < TOTAL, "{sent} of {TOTAL} were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_to_a_disabled_endpoint_counts_as_failed_and_sends_nothing() {
    let world = World::with(&GIVING_UP).await;
    let (world, _) = after_an_outage(world, ENDPOINTS).await;
    let path = format!("/api/v1/app/{}/endpoint?limit=250", world.app);
    let page = world.api.get(&path).await.unwrap();
    for endpoint in page["data"].as_array().unwrap() {
        let id = endpoint["id"].as_str().unwrap();
        world.change(id, json!({ "disabled": true })).await;
    }
    let replay = begin(&world, 1_000).await;
    let done = wait_for_status(&world, &replay, "done").await;
    assert_eq!(done["failed"], ENDPOINTS, "{done}");
    assert_eq!(world.receiver.count("/up/"), 0);
}
