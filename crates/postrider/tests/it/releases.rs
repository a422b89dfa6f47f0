//! One process, replaced by one of another release: what the older one left is gone on with, whatever ended it.

use std::path::PathBuf;

use postrider_testkit::{Behaviour, Launch, Load, LossChecker, Pace, eventually, setting};
use serde_json::{Value, json};

use crate::killing::expect_everywhere;
use crate::world::{DEADLINE, World};

/// The program of an older release, or of an earlier commit.
pub(crate) fn older() -> PathBuf {
    let binary = setting("POSTRIDER_TEST_OLDER", String::new());
    assert!(
        PathBuf::from(&binary).is_file(),
        "POSTRIDER_TEST_OLDER is {binary:?}, which is no program: run this by `make release-test FROM=COMMIT`"
    );
    binary.into()
}

/// Where everything that is accepted has to come.
const PATHS: [&str; 4] = ["/quick", "/slow", "/failing-first", "/away"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an older build: `make release-test FROM=COMMIT`"]
async fn this_release_goes_on_with_what_an_older_one_left_under_load_and_the_older_one_says_what_it_cannot_read()
 {
    let older = older();
    let schedule = ["0s"].iter().chain(&["1s"; 39]).copied();
    let schedule = schedule.collect::<Vec<_>>().join(",");
    let settings = [
        ("DELIVERY__SCHEDULE", schedule.as_str()),
        ("DELIVERY__BREAKER_WAIT", "500ms"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "2s"),
    ];
    let mut world = World::by(&older, &settings).await;
    world.endpoint("/quick", Behaviour::Ok).await;
    let slow = Behaviour::Delay(std::time::Duration::from_millis(30));
    world.endpoint("/slow", slow).await;
    let fails = Behaviour::FailFirst(4, 500);
    world.endpoint("/failing-first", fails).await;
    // What goes there is retried, and parked behind its breaker.
    world.endpoint("/away", Behaviour::Status(503)).await;
    let refusing = refuse_one(&world).await;

    let load = world.load(Load {
        pace: Pace::Rate(60.0),
        connections: 8,
        ..Load::of(&world.app, "scenario.event")
    });
    let mut checker = LossChecker::default();
    checker.puts_aside("/away");
    world.wait_for("/quick", 200).await;
    checker.killed(world.kill().await);
    world.start().await;
    world.wait_for("/quick", 400).await;
    // And this release in its place: first where the older one had no time to say goodbye, then where it had.
    checker.killed(world.kill().await);
    world.launch = world.launch.clone().binary(env!("CARGO_BIN_EXE_postrider"));
    world.start().await;
    world.wait_for("/quick", 600).await;
    let report = load.stop().await;
    world.receiver.on("/away", Behaviour::Ok);
    expect_everywhere(&mut checker, &report, &PATHS);
    println!("{} accepted, {} not", report.accepted.len(), report.failed);
    world.hold(&checker, DEADLINE).await;
    history_is_there(&world, &report.accepted[0].event).await;
    what_was_refused_is_replayed(&world, &refusing).await;

    world.terminate().await;
    the_older_one_opens_it_or_says_why_not(world.launch.clone().binary(older)).await;
    world.start().await;
}

/// A format of the log that the older one does not read is the only reason.
async fn the_older_one_opens_it_or_says_why_not(older: Launch) {
    match older.start().await {
        Ok(server) => {
            let ended = server.terminate(DEADLINE).await.unwrap();
            assert!(ended.success(), "ended with {ended}");
            println!("the older release opens what this one left");
        }
        Err(error) => {
            let said = format!("{error:#}");
            println!("{}", said.lines().last().unwrap_or_default());
            assert!(said.contains("reads formats up to"), "{said}");
        }
    }
}

/// One dead letter of an application of its own. Returns that.
async fn refuse_one(world: &World) -> String {
    let app = world.api.create_app("refusing").await.unwrap();
    let url = world.receiver.on("/refusing", Behaviour::Status(418));
    let spec = json!({ "url": url, "finalStatuses": [418] });
    world.api.create_endpoint(&app, &spec).await.unwrap();
    let nothing = json!({});
    let event = world.api.publish(&app, "scenario.event", &nothing);
    event.await.unwrap();
    listed(world, &format!("/api/v1/app/{app}/dead-letter"), 1).await;
    app
}

async fn listed(world: &World, path: &str, count: usize) {
    let what = format!("{path} lists {count}");
    let found = eventually(&what, DEADLINE, async || {
        let listed = world.api.get(path).await.ok()?;
        (listed["data"].as_array().map(Vec::len) == Some(count)).then_some(())
    });
    found.await.unwrap();
}

/// Of the first event, which the older release accepted, delivered in part, and recorded.
async fn history_is_there(world: &World, event: &str) {
    let path = format!("/api/v1/app/{}/attempt/msg/{event}?limit=250", world.app);
    let delivered = |attempts: &Value| {
        let all = attempts["data"].as_array().unwrap().iter();
        let good = all.filter(|one| one["responseStatusCode"] == 200);
        good.count() >= PATHS.len()
    };
    let found = eventually("history has all attempts", DEADLINE, async || {
        let attempts = world.api.get(&path).await.ok()?;
        delivered(&attempts).then_some(())
    });
    found.await.unwrap();
}

async fn what_was_refused_is_replayed(world: &World, app: &str) {
    world.receiver.on("/refusing", Behaviour::Ok);
    let path = format!("/api/v1/app/{app}/replay");
    let all = json!({ "filter": {} });
    world.api.post(&path, &all).await.unwrap();
    world.wait_for("/refusing", 2).await;
}
