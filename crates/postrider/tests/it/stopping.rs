//! SIGTERM: what is in flight is finished, what waits is kept.

use std::process::Command;
use std::time::{Duration, Instant};

use postrider_testkit::{
    Behaviour, Launch, Load, LossChecker, Pace, Receiver, Recording, Server, eventually,
};
use serde_json::json;
use tempfile::TempDir;

use crate::killing::expect_everywhere;
use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_told_to_stop_under_load_loses_nothing_and_repeats_nothing() {
    stopped_under_load(World::with(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_a_server_told_to_stop_under_load_loses_nothing_and_repeats_nothing() {
    stopped_under_load(World::on_kafka(&[]).await).await;
}

async fn stopped_under_load(mut world: World) {
    world.endpoint("/quick", Behaviour::Ok).await;
    // Within the drain's bound, and long enough that many are in flight at any time.
    let slow = Behaviour::Delay(Duration::from_millis(300));
    world.endpoint("/slow", slow).await;
    let load = world.load(Load {
        pace: Pace::Rate(150.0),
        connections: 8,
        ..Load::of(&world.app, "scenario.event")
    });
    for stop in 1..=3 {
        let so_far = world.receiver.count("/slow");
        world.wait_for("/slow", so_far + 50 * stop).await;
        let in_flight = eventually("attempts are in flight", DEADLINE, async || {
            (world.receiver.stats("/slow").open > 0).then_some(())
        });
        in_flight.await.unwrap();
        world.terminate().await;
        world.start().await;
    }
    let report = load.stop().await;
    let mut checker = LossChecker::default();
    expect_everywhere(&mut checker, &report, &["/quick", "/slow"]);
    world.hold(&checker, DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_retry_survives_a_stop() {
    let mut world = World::with(&[("DELIVERY__SCHEDULE", "0s,3s")]).await;
    world
        .endpoint("/failing-first", Behaviour::FailFirst(1, 500))
        .await;
    world.publish(1).await;
    world.wait_for("/failing-first", 1).await;
    world.terminate().await;
    world.start().await;
    world.wait_for("/failing-first", 2).await;
    let arrivals = world.receiver.arrivals_at("/failing-first");
    assert_eq!(arrivals[0].event, arrivals[1].event);
    assert_eq!(arrivals[0].body_hash, arrivals[1].body_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_told_to_stop_leaves_nothing_in_write_ahead_logs() {
    let mut world = World::with(&[]).await;
    world.endpoint("/quick", Behaviour::Ok).await;
    world.publish(20).await;
    world.wait_for("/quick", 20).await;
    world.terminate().await;
    for name in ["store.db-wal", "log.db-wal"] {
        let file = std::fs::metadata(world.launch.data().join(name));
        assert_eq!(file.map_or(0, |file| file.len()), 0, "bytes in {name}");
    }
    world.start().await;
}

/// Sends SIGTERM and does not wait.
fn ask_to_stop(server: &Server) {
    let pid = server.pid().to_string();
    let asked = Command::new("kill").arg(pid).status().unwrap();
    assert!(asked.success());
}

/// A server with one attempt in flight at `/slow`, the receiver that has it, and the server's directory.
async fn in_flight(behaviour: Behaviour) -> (Server, Receiver, TempDir) {
    let directory = TempDir::with_prefix("postrider-").unwrap();
    let data = directory.path().join("data");
    let launch = Launch::new(env!("CARGO_BIN_EXE_postrider"), data)
        .set("DELIVERY__TIMEOUT", "5m")
        .set("DELIVERY__DRAIN", "5m");
    let server = launch.start().await.unwrap();
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let api = server.api().unwrap();
    let app = api.create_app("stopping").await.unwrap();
    let endpoint = json!({"url": receiver.on("/slow", behaviour)});
    api.create_endpoint(&app, &endpoint).await.unwrap();
    let event = json!({"eventType": "a.b", "payload": {}});
    let path = format!("/api/v1/app/{app}/msg");
    api.post(&path, &event).await.unwrap();
    receiver.wait_for("/slow", 1, DEADLINE).await.unwrap();
    (server, receiver, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_as_is_told_at_the_first() {
    let (server, _receiver, _directory) = in_flight(Behaviour::Hang).await;
    ask_to_stop(&server);
    let told = eventually("it says how to insist", DEADLINE, async || {
        let says = "SIGTERM: finishing what is in hand; again, a second from now or later, to stop at once";
        server.log().contains(says).then_some(())
    });
    told.await.unwrap();
    let told_at = Instant::now();
    let later = eventually("a second has passed", DEADLINE, async || {
        (told_at.elapsed() >= Duration::from_secs(1)).then_some(())
    });
    later.await.unwrap();
    let ended = server.terminate(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(128 + 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_in_one_breath_are_one_and_the_drain_is_not_cut_off() {
    let slow = Behaviour::Delay(Duration::from_secs(2));
    let (server, receiver, _directory) = in_flight(slow).await;
    ask_to_stop(&server);
    let ended = server.terminate(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(0), "it was drained");
    assert_eq!(receiver.count("/slow"), 1);
}
