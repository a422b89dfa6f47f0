//! What an endpoint cannot take waits in the log, comes back when it can, and ends when its time is over.

use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, Refusing, setting};
use serde_json::json;

use crate::counted::counted;
use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_of_an_open_breaker_arrives_on_recovery_after_a_kill_without_a_new_event() {
    const EVENTS: u64 = 200;
    let mut world = World::with(&[
        ("DELIVERY__SCHEDULE", "0s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s"),
        ("DELIVERY__BREAKER_FAILURES", "3"),
        ("DELIVERY__BREAKER_WAIT", "500ms"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "2s"),
    ])
    .await;
    world.endpoint("/down", Behaviour::Status(503)).await;
    let report = world.publish(EVENTS).await;
    world.wait_for("/down", 3).await;
    world.kill().await;
    let failed = world.receiver.count("/down");
    world.receiver.on("/down", Behaviour::Ok);
    world.start().await;

    let all = postrider_testkit::eventually("all have arrived", DEADLINE, async || {
        let arrivals = world.receiver.arrivals_at("/down");
        let came = |event: &str| {
            arrivals
                .iter()
                .any(|one| &*one.event == event && one.status == 200)
        };
        report
            .accepted
            .iter()
            .all(|one| came(&one.event))
            .then_some(())
    });
    all.await.unwrap();
    assert!(
        failed < EVENTS,
        "the breaker never opened: {failed} attempts failed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_backlog_does_not_delay_the_retry_of_a_neighbour() {
    let parked = setting("POSTRIDER_TEST_PARKED", 20_000);
    let world = World::with(&[
        ("DELIVERY__SCHEDULE", "0s,5s,1h"),
        // While so many are published the breaker's wait would grow to minutes, and the recovery be seen as late.
        ("DELIVERY__BREAKER_LONGEST_WAIT", "20s"),
    ])
    .await;
    let dead = Refusing::bind().unwrap();
    let other_app = world.api.create_app("backlog").await.unwrap();
    let spec = json!({ "url": dead.url().unwrap(), "throttleRate": 10 });
    let endpoint = world.api.create_endpoint(&other_app, &spec).await.unwrap();
    let load = postrider_testkit::Load {
        count: Some(parked),
        ..postrider_testkit::Load::of(&other_app, "scenario.event")
    };
    let report = load.run_against(world.target()).await.unwrap();
    assert_eq!(
        report.accepted.len() as u64,
        parked,
        "{}",
        report.last_failure
    );
    // All of it but what waits in the lane, or is tried.
    let backlog = postrider_testkit::eventually("the backlog is parked", DEADLINE, async || {
        let times = counted(&world, "postrider_delivery_parked_total").await;
        (times >= parked / 10 * 9).then_some(times)
    });
    println!("parked {} times", backlog.await.unwrap());

    // The dead one recovers, and takes ten a second from now on.
    let fields = json!({ "url": world.receiver.url("/recovered") });
    let path = format!("/api/v1/app/{other_app}/endpoint/{endpoint}");
    let repaired = Instant::now();
    world.api.patch(&path, &fields).await.unwrap();
    world.wait_for("/recovered", 1).await;

    world
        .endpoint("/failing-once", Behaviour::FailFirst(1, 500))
        .await;
    world.publish(1).await;
    world.wait_for("/failing-once", 1).await;
    let failed = Instant::now();
    // Its retry is due after 5 s and arrives within 7; five times that is the deadline.
    let deadline = Duration::from_secs(35);
    let waited = world.receiver.wait_for("/failing-once", 2, deadline).await;
    waited.unwrap();
    println!("the retry came after {:?}", failed.elapsed());
    // What is parked goes on coming, not only what was in the lane: ten seconds' worth, five times as long.
    const MORE: u64 = 100;
    let (so_far, within) = (world.receiver.count("/recovered"), Duration::from_secs(50));
    let goes_on = world.receiver.wait_for("/recovered", so_far + MORE, within);
    goes_on.await.unwrap();
    // No more than ten start in any second; the second that has begun counts whole.
    let recovered = world.receiver.count("/recovered");
    let most = 10 * (repaired.elapsed().as_secs() + 1);
    assert!(recovered <= most, "{recovered} where {most} were allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_delivery_past_its_deadline_becomes_a_dead_letter() {
    const EVENTS: u64 = 50;
    let world = World::with(&[
        ("DELIVERY__SCHEDULE", "0s"),
        ("DELIVERY__SLACK", "1s"),
        ("DELIVERY__BREAKER_FAILURES", "3"),
    ])
    .await;
    let dead = Refusing::bind().unwrap();
    let spec = json!({ "url": dead.url().unwrap() });
    world.api.create_endpoint(&world.app, &spec).await.unwrap();
    world.publish(EVENTS).await;
    world.wait_for_dead_letters(EVENTS).await;
    let list = format!("/api/v1/app/{}/dead-letter?limit=100", world.app);
    let page = world.api.get(&list).await.unwrap();
    let letters = page["data"].as_array().unwrap();
    let expired = letters.iter().filter(|one| one["reason"] == "expired");
    assert!(expired.count() > 0, "none was parked: {page}");
}
