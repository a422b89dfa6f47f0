//! SIGTERM: what is in flight is finished, what waits is kept.

use std::time::Duration;

use postrider_testkit::{Behaviour, Load, LossChecker, Pace};

use crate::killing::expect_everywhere;
use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_told_to_stop_under_load_loses_nothing_and_repeats_nothing() {
    let mut world = World::with(&[]).await;
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
