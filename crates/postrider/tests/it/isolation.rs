//! A bad endpoint does not hurt its neighbours: judged by what had happened when the neighbours were served.

use std::time::Duration;

use postrider_testkit::{Behaviour, Refusing};
use serde_json::json;

use crate::world::World;

const EVENTS: u64 = 500;

/// Longer than the neighbours need by far.
const LONG: (&str, &str) = ("DELIVERY__TIMEOUT", "60s");

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_endpoint_does_not_delay_its_neighbours() {
    let world = World::with(&[LONG]).await;
    world.endpoint("/hanging", Behaviour::Hang).await;
    for neighbour in 0..3 {
        world
            .endpoint(&format!("/ok/{neighbour}"), Behaviour::Ok)
            .await;
    }
    world.publish(EVENTS).await;
    world.wait_for("/ok/", 3 * EVENTS).await;

    // The neighbours were served before the first attempt at the hanging one had even timed out.
    let hanging = world.receiver.stats("/hanging");
    assert!(hanging.arrived > 0, "the hanging endpoint was not called");
    assert_eq!(
        hanging.open, hanging.arrived,
        "one of its attempts has ended"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_endpoints_on_one_host_and_port_do_not_share_a_queue() {
    let world = World::with(&[LONG]).await;
    // Every path of a receiver is on one host and port; these hang with all the connections they may have.
    let hanging = world.endpoint("/hanging", Behaviour::Hang).await;
    world.publish(EVENTS).await;
    world.wait_for("/hanging", 1).await;
    assert!(!hanging.is_empty());

    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(EVENTS).await;
    world.wait_for("/ok", EVENTS).await;
    let hanging = world.receiver.stats("/hanging");
    assert_eq!(hanging.open, hanging.arrived, "a hanging attempt has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_does_not_delay_its_neighbours() {
    // Two attempts, the second beyond the test: the dead one's deliveries are all still waiting.
    let world = World::with(&[("DELIVERY__SCHEDULE", "0s,1h")]).await;
    let dead = Refusing::bind().unwrap();
    let spec = json!({ "url": dead.url().unwrap() });
    world.api.create_endpoint(&world.app, &spec).await.unwrap();
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(EVENTS).await;
    world.wait_for("/ok", EVENTS).await;
    assert_eq!(world.receiver.count("/ok"), EVENTS);
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_does_not_delay_its_neighbours() {
    let world = World::with(&[LONG]).await;
    let slow = Behaviour::Delay(Duration::from_secs(50));
    world.endpoint("/slow", slow).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(EVENTS).await;
    world.wait_for("/ok", EVENTS).await;
    let slow = world.receiver.stats("/slow");
    assert!(slow.arrived > 0, "the slow endpoint was not called");
    assert_eq!(
        slow.open, slow.arrived,
        "the slow endpoint has answered already"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_answer_does_not_delay_its_neighbours_and_ends_at_the_timeout() {
    let world = World::with(&[("DELIVERY__TIMEOUT", "2s"), ("DELIVERY__SCHEDULE", "0s")]).await;
    let drip = Behaviour::Drip(Duration::from_millis(100));
    world.endpoint("/drip", drip).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(20).await;
    world.wait_for("/ok", 20).await;
    // The head of the answer said 200 and a body without end; a status is enough to judge by, or the timeout
    // ends it: either way the lane is free again and every delivery is called once.
    world.wait_for("/drip", 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_endpoint_keeps_its_limit_and_does_not_delay_its_neighbours() {
    const LIMIT: usize = 5;
    const LIMITED_EVENTS: u64 = 40;
    let world = World::with(&[]).await;
    let limit = json!({ "throttleRate": LIMIT });
    let limited = world.endpoint_with("/limited", Behaviour::Ok, limit).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(LIMITED_EVENTS).await;
    world.wait_for("/ok", LIMITED_EVENTS).await;
    let meanwhile = world.receiver.count("/limited");
    assert!(
        meanwhile < LIMITED_EVENTS,
        "the limit let all of them through"
    );

    world.wait_for("/limited", LIMITED_EVENTS).await;
    let starts = starts_of_attempts(&world, &limited, LIMITED_EVENTS).await;
    for first in starts.windows(LIMIT + 2) {
        // Rate + burst starts fit in a second; one more does not.
        let span = first[LIMIT + 1] - first[0];
        assert!(span >= 0.999, "{} starts in {span} s: {first:?}", LIMIT + 2);
    }
}

/// When the attempts at an endpoint started, in seconds, oldest first.
async fn starts_of_attempts(world: &World, endpoint: &str, count: u64) -> Vec<f64> {
    let path = format!(
        "/api/v1/app/{}/attempt/endpoint/{endpoint}?limit=250",
        world.app
    );
    let all =
        postrider_testkit::eventually("all are recorded", crate::world::DEADLINE, async || {
            let page = world.api.get(&path).await.unwrap();
            let data = page["data"].as_array().unwrap().clone();
            (data.len() as u64 >= count).then_some(data)
        });
    let mut starts: Vec<_> = all
        .await
        .unwrap()
        .iter()
        .map(|attempt| {
            let at: jiff::Timestamp = attempt["timestamp"].as_str().unwrap().parse().unwrap();
            at.as_duration().as_secs_f64()
        })
        .collect();
    starts.sort_by(f64::total_cmp);
    starts
}
