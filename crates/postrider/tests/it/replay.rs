//! Replay of very many dead letters: paused, resumed, killed halfway, cancelled.

use std::time::{Duration, Instant};

use postrider_testkit::{LossChecker, Refusing, eventually, setting};
use serde_json::{Value, json};

use crate::world::{DEADLINE, World};

/// Endpoints that were down, each of which missed every event.
const ENDPOINTS: u64 = 100;

/// Dead letters that a replay publishes, at most, before it records how far it has come; at a lower rate than five times
/// that it is what the rate allows in a fifth of a second.
const STEP: u64 = 250;

/// How long nobody else carries on with a replay whose owner is gone: 10 s, and some more.
const LEASE: Duration = Duration::from_secs(15);

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
        let path = up(number as u64);
        world.leads_to(endpoint, &path);
        let url = world.receiver.url(&path);
        world.change(endpoint, json!({ "url": url })).await;
    }
    world.terminate().await;
    world.start_with(&[("DELIVERY__SLACK", "1h")]).await;
    let events = report.accepted.into_iter().map(|one| one.event).collect();
    (world, events)
}

/// Where an endpoint is, once it is up.
fn up(number: u64) -> String {
    format!("/up/{number}")
}

/// A replay of all dead letters.
struct Replay {
    id: String,
    /// What it publishes in a second.
    rate: u64,
    /// What had come before it began.
    before: u64,
}

async fn begin(world: &World, rate: u64) -> Replay {
    let before = world.receiver.count("/up/");
    let body = json!({ "filter": {}, "rate": rate });
    let path = format!("/api/v1/app/{}/replay", world.app);
    let answer = world.api.try_post(&path, &body).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.body["id"].as_str().unwrap().to_owned();
    Replay { id, rate, before }
}

/// Returns the replay as it was when the order was answered.
async fn order(world: &World, replay: &Replay, order: &str) -> Value {
    let path = format!("/api/v1/app/{}/replay/{}/{order}", world.app, replay.id);
    world.api.post(&path, &json!({})).await.unwrap()
}

async fn state(world: &World, replay: &Replay) -> Value {
    let path = format!("/api/v1/app/{}/replay/{}", world.app, replay.id);
    world.api.get(&path).await.unwrap()
}

async fn wait_for_status(world: &World, replay: &Replay, status: &str) -> Value {
    let what = format!("the replay is {status}");
    let waited = eventually(&what, DEADLINE, async || {
        let state = state(world, replay).await;
        (state["status"] == status).then_some(state)
    });
    waited.await.unwrap()
}

/// Gives a running replay an order after which its owner says that it has let go of it. Beyond what it had published when
/// the order was answered that is one step at most; what it has published comes, and no more. Returns how much that is.
async fn stopped(world: &World, replay: &Replay, by: &str, says: &str) -> u64 {
    let answered = order(world, replay, by).await;
    let come = world.receiver.count("/up/") - replay.before;
    let asked = Instant::now();
    let over = eventually("its owner lets go of it", DEADLINE, async || {
        let log = world.server().log();
        let mut its = log.lines().filter(|line| line.contains(&replay.id));
        let told = its.any(|line| line.contains(says));
        // One that lost its lease on the way says nothing, and nobody takes up what does not run.
        (told || asked.elapsed() > LEASE).then_some(())
    });
    over.await.unwrap();
    // Nobody works at it any more: this is final.
    let state = state(world, replay).await;
    let published = |state: &Value| state["done"].as_u64().unwrap();
    let (then, sent) = (published(&answered), published(&state));
    println!("{by}: {then} were published and {come} had come when it was answered; {sent} in all");
    assert_eq!(state["failed"], 0, "{state}");
    let step = STEP.min(replay.rate / 5);
    assert!(sent <= then + step, "at first {answered}, then {state}");
    until_come(world, replay.before + sent).await;
    let came = until_quiet(world).await;
    assert_eq!(came, replay.before + sent, "{state}");
    sent
}

/// Waits until this many have come, however long that takes while more come: so many take a slow machine its time.
async fn until_come(world: &World, count: u64) {
    let mut come = world.receiver.count("/up/");
    while come < count {
        world.wait_for("/up/", come + 1).await;
        come = world.receiver.count("/up/");
    }
}

/// Waits until no more arrives. Returns how many have come.
async fn until_quiet(world: &World) -> u64 {
    let mut last = (0, 0);
    let quiet = eventually("no more arrives", DEADLINE, async || {
        let count = world.receiver.count("/up/");
        last = if count == last.0 {
            (count, last.1 + 1)
        } else {
            (count, 0)
        };
        // Half a second without an arrival, where a running replay sends in two steps at least.
        (last.1 >= 50).then_some(count)
    });
    quiet.await.unwrap()
}

// What it costs is to make the dead letters. So one outage serves them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_great_replay_is_cancelled_paused_resumed_and_killed_halfway_and_delivers_each_dead_letter_once()
 {
    let total = setting("POSTRIDER_TEST_DEAD_LETTERS", 100_000);
    let world = World::alone(&GIVING_UP).await;
    let (mut world, events) = after_an_outage(world, total).await;

    let replay = begin(&world, total / 100).await;
    until_come(&world, total / 50).await;
    let sent = stopped(&world, &replay, "cancel", "it was cancelled").await;
    assert_eq!(state(&world, &replay).await["status"], "cancelled");
    // All others are dead letters as before, and can be replayed.
    assert_eq!(world.dead_letters().await, total - sent);

    let replay = begin(&world, total / 10).await;
    until_come(&world, sent + total / 10).await;
    let so_far = stopped(&world, &replay, "pause", "it is paused").await;
    assert!(so_far < total - sent, "it was over before it was paused");
    assert_eq!(state(&world, &replay).await["status"], "paused");

    order(&world, &replay, "resume").await;
    until_come(&world, total / 2).await;
    let mut checker = LossChecker::default();
    world.kill_told_to(&mut checker).await;
    world.start().await;
    until_come(&world, total).await;
    let done = wait_for_status(&world, &replay, "done").await;
    assert_eq!(done["total"], total - sent, "{done}");
    assert_eq!(done["failed"], 0, "{done}");

    let paths: Vec<_> = (0..ENDPOINTS).map(up).collect();
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
    assert!(
        verdict.missing.is_empty()
            && verdict.changed.is_empty()
            && verdict.unexcused.len() as u64 <= STEP,
        "{verdict}"
    );
    assert_eq!(world.dead_letters().await, 0);
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
