//! One round on the embedded pair: a server stops at a point, is killed there, and goes on after a restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postrider_testkit::{Api, Behaviour, Kill, Load, LossChecker, Pace, Receiver, eventually};
use serde_json::json;

use super::{Again, By, Point, QUIET, reached};
use crate::counted::counted;
use crate::killing::expect_everywhere;
use crate::world::{DEADLINE, LONG_BEFORE, World};

const PATHS: [&str; 3] = ["/quick", "/failing-first", "/dying"];

/// Dead letters before a replay, and events that are sent until they are answered.
const FEW: u64 = 12;

/// Much happens in a short time: breakers open and close, and the log's WAL is emptied.
const SETTINGS: [(&str, &str); 4] = [
    ("DELIVERY__SCHEDULE", "0s,1s,1s,1s,1s,1s,1s,1s,1s,1s"),
    ("DELIVERY__BREAKER_WAIT", "300ms"),
    ("DELIVERY__BREAKER_LONGEST_WAIT", "1s"),
    ("LOG__WAL", "8MiB"),
];

pub(super) async fn round(point: Point) {
    let mut world = World::stopping_at(point.name, point.passage, &SETTINGS).await;
    world.endpoint(PATHS[0], Behaviour::Ok).await;
    world.endpoint(PATHS[1], Behaviour::FailFirst(8, 500)).await;
    // What it refuses is a dead letter at once.
    let given_up = json!({ "finalStatuses": [500] });
    world
        .endpoint_with(PATHS[2], Behaviour::Status(500), given_up)
        .await;
    let mut checker = LossChecker::default();
    match point.by {
        By::Events => events(&mut world, point, &mut checker).await,
        By::Keys => keys(&mut world, point, &mut checker).await,
        By::Replay => replay(&mut world, point, &mut checker).await,
        By::Asking => asking(&mut world, point, &mut checker).await,
        By::Resend => resend(&mut world, point, &mut checker).await,
        By::Gone => gone(&mut world, point, &mut checker).await,
    }
    judge(&world, point, &checker).await;
}

/// Under a load.
async fn events(world: &mut World, point: Point, checker: &mut LossChecker) {
    let load = world.load(Load {
        pace: Pace::Rate(60.0),
        connections: 8,
        payload_bytes: 8 << 10,
        ..Load::of(&world.app, "scenario.event")
    });
    let stopped = reached(world.server(), point.name).await;
    let report = load.stop().await;
    die(world, point, checker, stopped).await;
    assert!(!report.accepted.is_empty(), "{}", report.last_failure);
    expect_everywhere(checker, &report, &PATHS);
    world.receiver.on("/dying", Behaviour::Ok);
    world.start().await;
    replay_dead_letters(world, checker).await;
}

/// Events with ids of their own, one after the other; after the restart all are sent again.
async fn keys(world: &mut World, point: Point, checker: &mut LossChecker) {
    let (api, app) = (world.api.clone(), world.app.clone());
    let sending = tokio::spawn(async move {
        for number in 0..FEW {
            send(&api, &app, number).await.unwrap();
        }
    });
    let stopped = reached(world.server(), point.name).await;
    sending.abort();
    die(world, point, checker, stopped).await;
    world.start().await;
    for number in 0..FEW {
        // One that was begun is held until its lease ends.
        let sent = eventually("the event is taken", DEADLINE, async || {
            send(&world.api, &world.app, number).await.ok()
        });
        checker.expect(&sent.await.unwrap(), &PATHS);
    }
    world.receiver.on("/dying", Behaviour::Ok);
    replay_dead_letters(world, checker).await;
    let arrivals = world.receiver.arrivals_at("/quick");
    let events: BTreeSet<_> = arrivals.iter().map(|one| &one.event).collect();
    assert_eq!(events.len() as u64, FEW, "an event was taken twice");
}

async fn send(api: &Api, app: &str, number: u64) -> anyhow::Result<String> {
    let event = json!({
        "eventType": "scenario.event",
        "eventId": format!("event-{number}"),
        "payload": { "number": number },
    });
    let answer = api.post(&format!("/api/v1/app/{app}/msg"), &event).await?;
    Ok(answer["id"].as_str().unwrap_or_default().to_owned())
}

/// A replay of what an endpoint had refused.
async fn replay(world: &mut World, point: Point, checker: &mut LossChecker) {
    let report = world.publish(FEW).await;
    world.wait_for("/dying", 1).await;
    expect_everywhere(checker, &report, &PATHS);
    world.receiver.on("/dying", Behaviour::Ok);
    replay_dead_letters(world, checker).await;
    let stopped = reached(world.server(), point.name).await;
    die(world, point, checker, stopped).await;
    world.start().await;
}

/// A replay that is asked for twice, because nobody answered the first time. Of two that overlap each dead letter is sent by
/// one.
async fn asking(world: &mut World, point: Point, checker: &mut LossChecker) {
    let report = world.publish(FEW).await;
    expect_everywhere(checker, &report, &PATHS);
    world.wait_for_dead_letters(FEW).await;
    world.receiver.on("/dying", Behaviour::Ok);
    let (api, path) = (
        world.api.clone(),
        format!("/api/v1/app/{}/replay", world.app),
    );
    let asked = tokio::spawn(async move { api.post(&path, &json!({ "filter": {} })).await });
    let stopped = reached(world.server(), point.name).await;
    die(world, point, checker, stopped).await;
    assert!(asked.await.unwrap().is_err(), "it was answered");
    world.start().await;
    replay_dead_letters(world, checker).await;
}

/// A resend that is asked for twice, because nobody answered the first time: what was asked for comes at least once.
async fn resend(world: &mut World, point: Point, checker: &mut LossChecker) {
    let endpoint = world.endpoint("/again", Behaviour::Ok).await;
    let report = world.publish(1).await;
    let event = report.accepted[0].event.clone();
    checker.expect(&event, &["/quick", "/again"]);
    world.wait_for("/again", 1).await;
    let app = &world.app;
    let path = format!("/api/v1/app/{app}/msg/{event}/endpoint/{endpoint}/resend");
    let (api, asking) = (world.api.clone(), path.clone());
    let asked = tokio::spawn(async move { api.post(&asking, &json!({})).await });
    let stopped = reached(world.server(), point.name).await;
    die(world, point, checker, stopped).await;
    assert!(asked.await.unwrap().is_err(), "it was answered");
    world.start().await;
    world.api.post(&path, &json!({})).await.unwrap();
    // What was written counts, and what was asked for again too: only an idempotency key would tell the two apart.
    let due = 1 + asked_for(point.again);
    world.wait_for("/again", due).await;
    until_quiet(&world.receiver).await;
    assert_eq!(world.receiver.count("/again"), due);
}

/// How many resends an endpoint gets that was asked twice for one.
fn asked_for(again: Again) -> u64 {
    match again {
        Again::Resends(written) => written,
        _ => 0,
    }
}

/// An endpoint is disabled in the end, whenever its disabling was interrupted.
async fn gone(world: &mut World, point: Point, checker: &mut LossChecker) {
    let endpoint = world.endpoint("/gone", Behaviour::Status(410)).await;
    let report = world.publish(FEW).await;
    let stopped = reached(world.server(), point.name).await;
    die(world, point, checker, stopped).await;
    expect_everywhere(checker, &report, &PATHS);
    world.start().await;
    let path = format!("/api/v1/app/{}/endpoint/{endpoint}", world.app);
    let disabled = eventually("the endpoint is disabled", DEADLINE, async || {
        let read = world.api.get(&path).await.ok()?;
        (read["disabled"] == true).then_some(())
    });
    disabled.await.unwrap();
    world.receiver.on("/dying", Behaviour::Ok);
    replay_dead_letters(world, checker).await;
}

/// Killed; but where nothing may come again, once what it had begun elsewhere has ended and is written down. What was in
/// flight all the same, a retry that came due just then, is excused if the log holds it as unfinished. Where answers are no
/// longer written once the point is reached, that counts instead of the kill.
async fn die(world: &mut World, point: Point, checker: &mut LossChecker, stopped: Instant) {
    let (before, reach) = if point.again == Again::Unwritten {
        (stopped, LONG_BEFORE)
    } else {
        (until_written(world).await, Duration::ZERO)
    };
    let kill = Kill {
        before,
        reach,
        ..world.kill().await
    };
    checker.killed_leaving(kill, world.unfinished().await);
}

/// Waits until nothing comes any more and the worker has written all that it has read. Returns when nothing came any more:
/// retries come due while it is asked.
async fn until_written(world: &World) -> Instant {
    let written = eventually("the worker has written all", DEADLINE, async || {
        until_quiet(&world.receiver).await;
        let quiet = Instant::now();
        let held = counted(world, "postrider_delivery_held_bytes").await;
        (held == 0).then_some(quiet)
    });
    written.await.unwrap()
}

/// Begins a replay once everything has come but what has become a dead letter.
async fn replay_dead_letters(world: &World, checker: &LossChecker) {
    let settled = eventually("all but dead letters have come", DEADLINE, async || {
        let missing = checker.judge(&world.receiver.arrivals()).missing;
        let dying = missing.iter().filter(|(_, path)| path == "/dying").count();
        let settled = dying == missing.len() && dying as u64 <= world.dead_letters().await;
        settled.then_some(())
    });
    settled.await.unwrap();
    let body = json!({ "filter": {}, "rate": 1_000 });
    let path = format!("/api/v1/app/{}/replay", world.app);
    world.api.post(&path, &body).await.unwrap();
}

/// Everything has come, and nothing that the point does not explain has come again.
async fn judge(world: &World, point: Point, checker: &LossChecker) {
    let come = eventually("nothing is missing", DEADLINE, async || {
        (checker.missing(&world.receiver.arrivals()) == 0).then_some(())
    });
    let come = come.await;
    // What would come again would come by then.
    until_quiet(&world.receiver).await;
    let verdict = checker.judge(&world.receiver.arrivals());
    let explained = match point.again {
        Again::Nothing | Again::Unwritten => 0,
        Again::Event => PATHS.len() as u64,
        Again::Step => FEW,
        Again::Resends(_) => asked_for(point.again),
    };
    let history = checker.history(&verdict, &world.receiver.arrivals());
    println!("{}: {verdict}\n{history}", point.name);
    let again = verdict.unexcused.len() as u64;
    assert!(
        come.is_ok()
            && verdict.missing.is_empty()
            && verdict.changed.is_empty()
            && again <= explained,
        "{point:?}: {again} came again without excuse where {explained} may: {verdict}"
    );
}

async fn until_quiet(receiver: &Receiver) {
    let mut last = (receiver.count("/"), Instant::now());
    let quiet = eventually("no more comes", DEADLINE, async || {
        let count = receiver.count("/");
        if count != last.0 {
            last = (count, Instant::now());
        }
        (last.1.elapsed() >= QUIET).then_some(())
    });
    quiet.await.unwrap();
}
