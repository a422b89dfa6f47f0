//! A copy of the data directory of a stopped server is a backup: another server goes on from it.

use std::fs;
use std::path::Path;

use postrider_testkit::{Behaviour, eventually};
use serde_json::{Value, json};

use crate::world::{DEADLINE, World};

/// As `cp -r` does it: what lies in there are files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

async fn publish(world: &World, name: &str) -> Value {
    let path = format!("/api/v1/app/{}/msg", world.app);
    let event = json!({ "eventType": "a.b", "eventId": name, "payload": { "name": name } });
    world.api.post(&path, &event).await.unwrap()["id"].clone()
}

async fn count(world: &World, what: &str) -> usize {
    let path = format!("/api/v1/app/{}/{what}?limit=100", world.app);
    let listed = world.api.get(&path).await.unwrap();
    listed["data"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_was_backed_up_goes_on_where_the_copy_was_made() {
    let schedule = ["0s"].iter().chain(&["2s"; 48]).copied();
    let schedule = schedule.collect::<Vec<_>>().join(",");
    let settings = [
        ("DELIVERY__SCHEDULE", schedule.as_str()),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "2s"),
    ];
    let mut world = World::with(&settings).await;
    let quick = world.endpoint("/quick", Behaviour::Ok).await;
    world.endpoint("/later", Behaviour::Status(500)).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(publish(&world, &format!("event-{number}")).await);
    }
    world.wait_for("/quick", 10).await;
    world.wait_for("/later", 1).await;
    world.terminate().await;
    let data = world.launch.data().to_owned();
    let backup = data.with_extension("backup");
    copy(&data, &backup);

    // What happens after the copy is not in it.
    world.start().await;
    publish(&world, "after").await;
    world.wait_for("/quick", 11).await;
    world.terminate().await;
    fs::remove_dir_all(&data).unwrap();

    world.launch = world.launch.clone().data_in(&backup);
    world.start().await;
    assert_eq!(count(&world, "msg").await, 10);
    let attempts = format!("attempt/endpoint/{quick}");
    assert_eq!(count(&world, &attempts).await, 10);
    let so_far = world.receiver.count("/quick");
    assert_eq!(publish(&world, "event-9").await, ids[9]);
    publish(&world, "new").await;
    world.wait_for("/quick", so_far + 1).await;
    // What waited when the copy was made comes from it.
    world.receiver.on("/later", Behaviour::Ok);
    let all = eventually("what waited has come", DEADLINE, async || {
        let arrived = world.receiver.arrivals_at("/later");
        let succeeded = |id: &Value| {
            let came = |one: &&postrider_testkit::Arrival| *id == *one.event && one.status == 200;
            arrived.iter().any(|one| came(&one))
        };
        ids.iter().all(succeeded).then_some(())
    });
    all.await.unwrap();
    assert_eq!(
        world.receiver.count("/quick"),
        so_far + 1,
        "only what is new"
    );
}
