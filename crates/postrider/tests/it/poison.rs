//! Answers that no program should give, and rows that the store refuses, stop nobody.

use postrider_testkit::{Behaviour, Report, eventually};
use serde_json::{Value, json};

use crate::bad_input::execute;
use crate::counted::counted;
use crate::world::{DEADLINE, World};

/// Waits until each of these events has so many attempts, and returns them.
async fn recorded(world: &World, report: &Report, attempts: usize) -> Vec<Value> {
    let mut all = Vec::new();
    for accepted in &report.accepted {
        let path = format!("/api/v1/app/{}/attempt/msg/{}", world.app, accepted.event);
        let recorded = eventually("every attempt is recorded", DEADLINE, async || {
            let page = world.api.get(&path).await.unwrap();
            let found = page["data"].as_array().unwrap().clone();
            (found.len() == attempts).then_some(found)
        });
        all.extend(recorded.await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_nul_and_invalid_utf8_is_recorded_and_stops_nobody() {
    let world = World::with(&[("DELIVERY__SCHEDULE", "0s")]).await;
    world.endpoint("/garbage-ok", Behaviour::Garbage(200)).await;
    world
        .endpoint("/garbage-bad", Behaviour::Garbage(500))
        .await;
    world.endpoint("/nonsense", Behaviour::Nonsense).await;
    world.endpoint("/closing", Behaviour::Close).await;
    world
        .endpoint("/huge", Behaviour::Huge(500, 10 << 20))
        .await;
    world.endpoint("/ok", Behaviour::Ok).await;
    let report = world.publish(3).await;
    world.wait_for("/ok", 3).await;
    // Four endpoints of which each delivery fails for good, and the history of all six.
    world.wait_for_dead_letters(4 * 3).await;
    let attempts = recorded(&world, &report, 6).await;
    // What can be read of it is kept.
    let garbage = attempts.iter().filter(|one| {
        let body = one["response"].as_str().unwrap();
        body.starts_with("nul \0 and ") && body.ends_with(" end")
    });
    assert_eq!(garbage.count(), 2 * 3, "{attempts:?}");
    // And it goes on.
    world.publish(3).await;
    world.wait_for("/ok", 6).await;
}

/// Publishes an event whose rows are refused.
async fn refused(world: &World) {
    let payload = json!({});
    let published = world
        .api
        .publish(&world.app, "refused.event", &payload)
        .await;
    published.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_store_refuses_are_set_aside_and_stop_neither_recorder_nor_dead_letter_consumer()
 {
    const GOOD: u64 = 8;
    const BAD: u64 = 2;
    // With fewer than twenty attempts in all the breaker stays closed, too.
    let settings = [
        ("DELIVERY__SCHEDULE", "0s"),
        ("DELIVERY__BREAKER_FAILURES", "1000"),
    ];
    let world = World::with(&settings).await;
    let garbage = Behaviour::Garbage(500);
    world.endpoint("/garbage-bad", garbage).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    let store = world.launch.data().join("store.db");
    for table in ["attempts", "dead_letters"] {
        let refuses = format!(
            "CREATE TRIGGER no_{table} BEFORE INSERT ON {table} WHEN NEW.event_type = 'refused.event' \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        );
        execute(&store, &refuses);
    }
    let before = world.publish(GOOD).await;
    for _ in 0..BAD {
        refused(&world).await;
    }
    let behind = world.publish(GOOD).await;
    world.wait_for("/ok", 2 * GOOD + BAD).await;
    world.wait_for_dead_letters(2 * GOOD).await;
    for good in [&before, &behind] {
        recorded(&world, good, 2).await;
    }
    // Each of them was set aside alone: its attempts at both endpoints, and the dead letter of the one that failed.
    for (service, rows) in [("recorder", 2 * BAD), ("deadletter", BAD)] {
        let name = format!("postrider_{service}_set_aside_total{{reason=\"refused\"");
        let what = format!("the {service} has set {rows} aside");
        let aside = eventually(&what, DEADLINE, async || {
            (counted(&world, &name).await == rows).then_some(())
        });
        aside.await.unwrap();
    }
    let path = "/api/v1/rejected?limit=250";
    let kept = eventually("what was set aside is kept", DEADLINE, async || {
        let page = world.api.get(path).await.unwrap();
        let data = page["data"].as_array().unwrap();
        (data.len() as u64 == 3 * BAD).then_some(page)
    });
    kept.await.unwrap();

    // And it goes on, with the like of them once the store takes it.
    for table in ["attempts", "dead_letters"] {
        execute(&store, &format!("DROP TRIGGER no_{table}"));
    }
    refused(&world).await;
    world.wait_for_dead_letters(2 * GOOD + 1).await;
}
