//! No space for new events: said once, and over by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, Refusing, SmallDisk, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::asking::command;
use crate::world::{DEADLINE, World};

/// What the chart makes of one process with a volume.
const CHART: &str = include_str!("../../../../helm/tests/golden/single.yaml");
const IMAGE: &str = include_str!("../../../../deploy/Dockerfile");

/// How long events are sent to a log that is full.
const FULL: Duration = Duration::from_secs(8);
/// It may exceed its bound to finish what is inside, and not without end: so many times the bound is far too much.
const TIMES: u64 = 4;

/// 64 KiB of payload.
fn event() -> Value {
    json!({"eventType": "scenario.event", "payload": {"text": "x".repeat(64 << 10)}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_space_is_logged_named_by_readiness_and_over_once_deliveries_are_finished() {
    let world = World::with(&[
        ("LOG__MAX", "20MiB"),
        ("DELIVERY__PARKED", "1GiB"),
        ("LOG__RESERVE", "16MiB"),
        ("DELIVERY__SCHEDULE", &["1s"; 50].join(",")),
        ("DELIVERY__BREAKER_WAIT", "100ms"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "1s"),
    ])
    .await;
    world.endpoint("/ill", Behaviour::Status(500)).await;
    let path = format!("/api/v1/app/{}/msg", world.app);
    let mut accepted = 0;
    let refused = loop {
        let answer = world.api.try_post(&path, &event()).await.unwrap();
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 1000, "the log is full by now");
    };
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (507, &"insufficient_storage".into())
    );
    let told = eventually("readiness names the space", DEADLINE, async || {
        let ready = world.api.try_get("/health/ready").await.unwrap();
        let parts = ready.body["parts"].as_array()?.clone();
        let space = parts.into_iter().find(|part| part["name"] == "space")?;
        (ready.status == 503 && space["ready"] == false).then_some(space)
    });
    let why = told.await.unwrap()["why"].to_string();
    assert!(why.contains("bytes are left of the 20971520"), "{why}");
    stays_with_its_clients(&world).await;

    world.receiver.on("/ill", Behaviour::Ok);
    let taken = eventually("an event is taken again", DEADLINE, async || {
        let answer = world.api.try_post(&path, &event()).await.unwrap();
        (answer.status == 202).then_some(())
    });
    taken.await.unwrap();
    let ready = eventually("it is ready again", DEADLINE, async || {
        let ready = world.api.try_get("/health/ready").await.unwrap();
        (ready.status == 200).then_some(())
    });
    ready.await.unwrap();
    let log = world.server().log();
    let said = |words: &str| log.matches(words).count();
    assert!(said("no new events are taken: ") >= 1, "{log}");
    assert_eq!(
        said("no new events are taken: "),
        said("there is space again"),
        "{log}"
    );
    assert!(
        said("no new events are taken: ") < 5,
        "once a change: {log}"
    );
}

/// Whoever takes those away that are not well, Kubernetes from the Service or an engine of containers, leaves it there: it
/// says 507 to producers, and the API is what room is made by.
async fn stays_with_its_clients(world: &World) {
    let (_, probe) = CHART.split_once("readinessProbe:").unwrap();
    let (_, probe) = probe.split_once("path: \"").unwrap();
    let (path, _) = probe.split_once('"').unwrap();
    assert_eq!(world.api.try_get(path).await.unwrap().status, 200, "{path}");

    let (_, check) = IMAGE.split_once("HEALTHCHECK ").unwrap();
    let (_, check) = check.split_once("CMD ").unwrap();
    let words: Vec<String> = serde_json::from_str(check.lines().next().unwrap()).unwrap();
    let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let address = world.server().address().unwrap().to_string();
    let asked = [words.as_slice(), &["--listen", &address]].concat();
    let (well, told) = command(&asked, &[]);
    assert!(well, "{asked:?}: {told}");
    let (well, told) = command(&["health", "--listen", &address], &[]);
    assert!(!well && told.contains("are left of the"), "{told}");
}

/// An endpoint that hangs keeps the place of all that came behind; another fails, and what it is to have is written again
/// and again. All of it together is more than the log was to hold.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_delivered_though_the_log_is_full_of_what_failed() {
    let world = World::with(&[
        ("LOG__MAX", "96MiB"),
        ("DELIVERY__PARKED", "1GiB"),
        ("LOG__RESERVE", "16MiB"),
        ("DELIVERY__TIMEOUT", "5s"),
        ("DELIVERY__SCHEDULE", "0s,2s,5s,10s,30s,60s,60s,60s"),
    ])
    .await;
    world.endpoint("/hanging", Behaviour::Hang).await;
    world.endpoint("/ill", Behaviour::Status(500)).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    let path = format!("/api/v1/app/{}/msg", world.app);
    let event = json!({"eventType": "scenario.event", "payload": {"text": "x".repeat(256 << 10)}});
    let (mut accepted, mut refused, mut first) = (0, 0, None);
    while first.is_none_or(|first: Instant| first.elapsed() < FULL) {
        match world.api.try_post(&path, &event).await.unwrap().status {
            202 => accepted += 1,
            507 => {
                refused += 1;
                first.get_or_insert_with(Instant::now);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other} after {accepted}"),
        }
        assert!(accepted < 5_000, "the log is full by now");
    }
    assert!(refused > 10, "{refused} were refused, {accepted} accepted");
    for path in ["/hanging", "/ill"] {
        world.receiver.on(path, Behaviour::Ok);
    }
    let all = eventually("each has come to each", DEADLINE, async || {
        let arrivals = world.receiver.arrivals();
        let of = |path: &str| {
            let come = arrivals
                .iter()
                .filter(|one| &*one.path == path && one.status == 200);
            come.map(|one| &one.event).collect::<BTreeSet<_>>().len()
        };
        ["/hanging", "/ill", "/ok"]
            .iter()
            .all(|path| of(path) == accepted)
            .then_some(())
    });
    all.await.unwrap();
    let log = world.launch.data().join("log.db");
    let size = std::fs::metadata(log).unwrap().len();
    assert!(size < TIMES * (96 << 20), "the log has {size} bytes");
}

/// More for a dead endpoint than the log may hold, and a neighbour's events all along.
#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_of_a_dead_endpoint_keeps_nobodys_events_out_of_a_log_with_a_bound() {
    const MAX: usize = 48 << 20;
    let max = MAX.to_string() + "B";
    let world = World::with(&[("LOG__MAX", &max), ("LOG__RESERVE", "16MiB")]).await;
    let dead = Refusing::bind().unwrap();
    let app = world.api.create_app("dead").await.unwrap();
    let spec = json!({ "url": dead.url().unwrap() });
    world.api.create_endpoint(&app, &spec).await.unwrap();
    world.endpoint("/well", Behaviour::Ok).await;
    let publish = async |app: &str| {
        let path = format!("/api/v1/app/{app}/msg");
        let answer = world.api.try_post(&path, &event()).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    // In the log lie the payloads, and what is around them.
    for n in 1..=3 * MAX / 2 / (64 << 10) {
        publish(&app).await;
        if n % 100 == 0 {
            publish(&world.app).await;
            world.wait_for("/well", n as u64 / 100).await;
        }
    }
    let path = format!("/api/v1/app/{app}/dead-letter?limit=1");
    let page = world.api.get(&path).await.unwrap();
    assert_eq!(page["data"][0]["reason"], "parked_overflow", "{page}");
}

/// No bound but the disk itself. Ten endpoints fail, and one of them hangs at first; each delivery that fails is to be
/// written beside the one that it stands for, and those of one event, which came as one copy of its payload, fail one by
/// one: that is more than the disk has.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_full_of_what_failed_brings_nothing_to_a_standstill_once_the_endpoints_are_well() {
    let body = "full_disk::the_body_on_a_disk_full_of_what_failed";
    if let Some(disk) = SmallDisk::mount_or_run("24m", body).unwrap() {
        is_worked_off(disk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by its test, where that may not mount itself"]
async fn the_body_on_a_disk_full_of_what_failed() {
    is_worked_off(SmallDisk::mount("24m").unwrap()).await;
}

async fn is_worked_off(disk: SmallDisk) {
    let schedule = ["1s"; 50].join(",");
    // History lies elsewhere: it is kept, and what it takes comes back with retention only.
    let elsewhere = TempDir::with_prefix("postrider-store-").unwrap();
    let store = format!("sqlite:{}", elsewhere.path().join("store.db").display());
    let settings = [
        ("STORE__URL", store.as_str()),
        ("DELIVERY__TIMEOUT", "5s"),
        ("DELIVERY__SCHEDULE", &schedule),
        ("DELIVERY__BREAKER_WAIT", "100ms"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "1s"),
    ];
    let world = World::on_disk(disk, &settings).await;
    let paths: Vec<String> = (0..10).map(|n| format!("/{n}")).collect();
    world.endpoint(&paths[0], Behaviour::Hang).await;
    for path in &paths[1..] {
        world.endpoint(path, Behaviour::Status(500)).await;
    }
    let path = format!("/api/v1/app/{}/msg", world.app);
    let event = json!({"eventType": "scenario.event", "payload": {"text": "x".repeat(256 << 10)}});
    let (mut accepted, mut first) = (0, None);
    while first.is_none_or(|first: Instant| first.elapsed() < FULL) {
        match world.api.try_post(&path, &event).await.unwrap().status {
            202 => accepted += 1,
            507 => {
                first.get_or_insert_with(Instant::now);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other} after {accepted}"),
        }
        assert!(accepted < 500, "the disk is full by now");
    }
    for path in &paths {
        world.receiver.on(path, Behaviour::Ok);
    }
    let all = eventually("each has come to each", DEADLINE, async || {
        (come(&world) == 10 * accepted).then_some(())
    });
    all.await.unwrap();
    let log = world.server().log();
    assert!(
        log.contains("is sent again from memory"),
        "it was full: {log}"
    );
    let taken = eventually("an event is taken again", DEADLINE, async || {
        let answer = world.api.try_post(&path, &event).await.unwrap();
        (answer.status == 202).then_some(())
    });
    taken.await.unwrap();
    let all = eventually("and comes to each", DEADLINE, async || {
        (come(&world) == 10 * (accepted + 1)).then_some(())
    });
    all.await.unwrap();
}

/// How many have come, each event to each endpoint counted once.
fn come(world: &World) -> usize {
    let arrivals = world.receiver.arrivals();
    let come = arrivals.iter().filter(|one| one.status == 200);
    let come: BTreeSet<_> = come.map(|one| (&one.path, &one.event)).collect();
    come.len()
}
