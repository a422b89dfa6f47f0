//! A bad endpoint does not hurt its neighbours: judged by what had happened when the neighbours were served.
//!
//! The figure (how much later the neighbours' slowest arrivals come than without the bad one) is the benchmark's, on a machine
//! that does nothing else. It is a ratio of milliseconds, and five times it is still less than what a starved machine adds to
//! any one arrival. What would hurt a neighbour here is a queue that it shares with the bad one: a lane, a socket, a reader, a
//! budget. Then it waits for as long as the bad one holds on, so that is made long (50 or 60 s), and all of the neighbours'
//! arrivals have to lie within it, on whatever machine.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_testkit::{Arrival, Behaviour, Refusing, eventually};
use serde_json::json;

use crate::counted::counted;
use crate::world::{DEADLINE, World};

const EVENTS: u64 = 500;

/// So many come to the bad endpoint before its neighbours are looked at.
const BEFORE: u64 = 20;

/// Longer than the neighbours need by far.
const LONG: (&str, &str) = ("DELIVERY__TIMEOUT", "60s");

/// So many are tried before the breaker of a dead endpoint opens. After 2 s it lets the first probe through, after 62 s
/// the fifth.
const FAILURES: u64 = 5;
const PROBES: u64 = 5;
const DEAD: [(&str, &str); 3] = [
    // Two attempts, the second beyond the test: the dead one's deliveries are all still waiting.
    ("DELIVERY__SCHEDULE", "0s,1h"),
    ("DELIVERY__BREAKER_FAILURES", "5"),
    ("DELIVERY__BREAKER_WAIT", "2s"),
];

/// Holds the server to this: while the neighbours below `/ok` were sent all that they were due, the bad endpoint at
/// `bad` held on to every request that it had been sent before.
fn assert_held_throughout(world: &World, bad: &str, neighbours: u64) {
    assert_held(world, &world.receiver.arrivals(), bad, neighbours);
}

/// Likewise, by these arrivals.
fn assert_held(world: &World, arrivals: &[Arrival], bad: &str, neighbours: u64) {
    let of = |prefix| {
        let of = arrivals.iter();
        of.filter(move |one: &&Arrival| one.path.starts_with(prefix))
    };
    let served: Vec<_> = of("/ok").map(|one| one.at).collect();
    let distinct: BTreeSet<_> = of("/ok").map(|one| (&one.event, &one.path)).collect();
    assert_eq!(distinct.len() as u64, neighbours, "the neighbours' events");
    // On Kafka a session ends where the machine has no time for it, and what was in hand comes again: the worker says so.
    if !world.server().log().contains("partitions were lost") {
        assert_eq!(served.len() as u64, neighbours, "the neighbours' arrivals");
    }
    let (first, last) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    let held = of(bad).filter(|one| one.at < *first);
    assert!(
        held.count() > 0,
        "{bad} was not called before its neighbours"
    );
    let over = of(bad).filter_map(|one| one.over).min();
    assert!(
        over.is_none_or(|over| over > *last),
        "one of the attempts at {bad} had ended before the neighbours were served"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_endpoint_does_not_delay_its_neighbours() {
    beside_a_hanging_one(World::with(&[LONG]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_a_hanging_endpoint_does_not_delay_its_neighbours() {
    beside_a_hanging_one(World::on_kafka(&[LONG]).await).await;
}

async fn beside_a_hanging_one(world: World) {
    world.endpoint("/hanging", Behaviour::Hang).await;
    world.publish(BEFORE).await;
    world.wait_for("/hanging", 1).await;
    for neighbour in 0..3 {
        world
            .endpoint(&format!("/ok/{neighbour}"), Behaviour::Ok)
            .await;
    }
    world.publish(EVENTS).await;
    world.wait_for("/ok/", 3 * EVENTS).await;
    assert_held_throughout(&world, "/hanging", 3 * EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_endpoints_on_one_host_and_port_do_not_share_a_queue() {
    /// Attempts that each of the two may have in flight.
    const SHARE: u64 = 8;
    let world = World::with(&[LONG]).await;
    let spec = || json!({ "maxInFlight": SHARE });
    // Every path of a receiver is on one host and port. This one answers at first, so that it is given all that it may have,
    // and then hangs with all of it, while more wait for it.
    let slow = Behaviour::Delay(Duration::from_millis(50));
    let hanging = world.endpoint_with("/hanging", slow.clone(), spec()).await;
    let mut answered = 0;
    while most_at_once(&world.receiver.arrivals_at("/hanging")) < SHARE as usize {
        assert!(answered < 20 * EVENTS, "it never had {SHARE} at once");
        world.publish(EVENTS / 5).await;
        answered += EVENTS / 5;
        world.wait_for("/hanging", answered).await;
    }
    let idle = eventually("all are answered", DEADLINE, async || {
        (world.receiver.stats("/hanging").open == 0).then_some(())
    });
    idle.await.unwrap();
    world.receiver.on("/hanging", Behaviour::Hang);
    world.publish(BEFORE).await;
    world.wait_for("/hanging", answered + SHARE).await;

    // The other, too, has several in flight at a time.
    let ok = world.endpoint_with("/ok", slow, spec()).await;
    assert_eq!(host(&world, &hanging).await, host(&world, &ok).await);
    world.publish(EVENTS).await;
    world.wait_for("/ok", EVENTS).await;
    let open = world.receiver.stats("/hanging").open;
    assert_eq!(open, SHARE, "all that it may have, and more wait for it");
    let at_once = most_at_once(&world.receiver.arrivals_at("/ok"));
    assert!(at_once > 1, "it had one at a time");
    let arrivals = &world.receiver.arrivals()[answered as usize..];
    assert_held(&world, arrivals, "/hanging", EVENTS);
}

/// How many of these were open at a time, at most.
fn most_at_once(arrivals: &[Arrival]) -> usize {
    let open_at = |then| {
        let came = arrivals.iter().filter(move |one| one.at <= then);
        came.filter(|one| one.over.is_none_or(|over| over > then))
            .count()
    };
    let starts = arrivals.iter().map(|one| one.at);
    starts.map(open_at).max().unwrap_or_default()
}

/// Host and port of an endpoint's URL.
async fn host(world: &World, endpoint: &str) -> String {
    let path = format!("/api/v1/app/{}/endpoint/{endpoint}", world.app);
    let endpoint = world.api.get(&path).await.unwrap();
    let url = endpoint["url"].as_str().unwrap();
    url.split('/').nth(2).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_does_not_delay_its_neighbours() {
    beside_a_dead_one(World::with(&DEAD).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_a_dead_endpoint_does_not_delay_its_neighbours() {
    beside_a_dead_one(World::on_kafka(&DEAD).await).await;
}

async fn beside_a_dead_one(world: World) {
    let dead = Refusing::bind().unwrap();
    let spec = json!({ "url": dead.url().unwrap() });
    world.api.create_endpoint(&world.app, &spec).await.unwrap();
    world.publish(FAILURES).await;
    let opened = eventually("the dead one's breaker has opened", DEADLINE, async || {
        (unreachable(&world).await >= FAILURES).then_some(())
    });
    opened.await.unwrap();

    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(EVENTS).await;
    world.wait_for("/ok", EVENTS).await;
    assert_eq!(world.receiver.count("/ok"), EVENTS, "one was called twice");
    // It was dead throughout, and all that it has not had waits for it. Its attempts tell the time.
    let failed = unreachable(&world).await;
    assert!(
        failed < FAILURES + PROBES,
        "the neighbour was served after {failed} attempts at the dead one"
    );
    assert_eq!(world.dead_letters().await, 0);
}

/// Attempts that reached nobody, by the server's own count.
async fn unreachable(world: &World) -> u64 {
    let beginning = "postrider_delivery_attempts_total{outcome=\"unreachable\"";
    counted(world, beginning).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_does_not_delay_its_neighbours() {
    beside_a_slow_one(World::with(&[LONG]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_a_slow_endpoint_does_not_delay_its_neighbours() {
    beside_a_slow_one(World::on_kafka(&[LONG]).await).await;
}

async fn beside_a_slow_one(world: World) {
    let slow = Behaviour::Delay(Duration::from_secs(50));
    world.endpoint("/slow", slow).await;
    world.publish(BEFORE).await;
    world.wait_for("/slow", 1).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(EVENTS).await;
    world.wait_for("/ok", EVENTS).await;
    assert_held_throughout(&world, "/slow", EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_answer_does_not_delay_its_neighbours_and_ends_at_the_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(20);
    let world = World::with(&[("DELIVERY__TIMEOUT", "20s"), ("DELIVERY__SCHEDULE", "0s")]).await;
    let drip = Behaviour::Drip(Duration::from_millis(100));
    world.endpoint("/drip", drip).await;
    world.publish(1).await;
    world.wait_for("/drip", 1).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(20).await;
    world.wait_for("/ok", 20).await;
    assert_held_throughout(&world, "/drip", 20);

    // Its body has no end, so the attempt ends at its timeout and no later than the receiver's next byte or two: then
    // the lane is free again.
    let ended = eventually("the first drip has ended", DEADLINE, async || {
        let drips = world.receiver.arrivals_at("/drip");
        drips.iter().find_map(|one| Some(one.over? - one.at))
    });
    let took = ended.await.unwrap();
    assert!(took > TIMEOUT / 2 && took < 5 * TIMEOUT, "it took {took:?}");
    world.wait_for("/drip", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_endpoint_keeps_its_limit_and_does_not_delay_its_neighbours() {
    beside_a_limited_one(World::with(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_a_limited_endpoint_keeps_its_limit_and_does_not_delay_its_neighbours() {
    beside_a_limited_one(World::on_kafka(&[]).await).await;
}

async fn beside_a_limited_one(world: World) {
    const LIMIT: usize = 5;
    const LIMITED_EVENTS: u64 = 60;
    let limit = json!({ "throttleRate": LIMIT });
    let limited = world.endpoint_with("/limited", Behaviour::Ok, limit).await;
    world.publish(LIMITED_EVENTS / 2).await;
    world.wait_for("/limited", 1).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(LIMITED_EVENTS / 2).await;
    world.wait_for("/ok", LIMITED_EVENTS / 2).await;
    world.wait_for("/limited", LIMITED_EVENTS).await;
    // The limited one was being sent its own, at its pace, while the neighbour was served.
    let served = world.receiver.arrivals_at("/ok");
    let served = served.iter().map(|one| one.at).max().unwrap();
    let slowly = world.receiver.arrivals_at("/limited");
    let meanwhile = slowly.iter().filter(|one| one.at < served).count() as u64;
    assert!(
        (1..LIMITED_EVENTS).contains(&meanwhile),
        "{meanwhile} of the limited one's arrivals lie before the neighbour's last"
    );

    let starts = starts_of_attempts(&world, &limited, LIMITED_EVENTS).await;
    for some in starts.windows(LIMIT + 1) {
        // One more than the limit takes at least a second; each start is told without the fraction of its millisecond.
        let span = some[LIMIT] - some[0];
        assert!(span >= 999, "{} starts in {span} ms: {some:?}", LIMIT + 1);
    }
}

/// When the attempts at an endpoint started, as recorded, in milliseconds since 1970, oldest first.
async fn starts_of_attempts(world: &World, endpoint: &str, count: u64) -> Vec<i64> {
    let path = format!(
        "/api/v1/app/{}/attempt/endpoint/{endpoint}?limit=250",
        world.app
    );
    let all = eventually("all are recorded", DEADLINE, async || {
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
            at.as_millisecond()
        })
        .collect();
    starts.sort_unstable();
    starts
}
