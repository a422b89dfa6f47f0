//! Every panel answers with what happened.

use std::time::Duration;

use postrider_testkit::{Behaviour, LossChecker, Prometheus, eventually};
use serde_json::json;

use super::faults::{
    disable_and_replay, fill_the_log, fill_until_fires, has_the_store_refuse, leaves_out,
    only_when_full,
};
use super::files::{Query, asked_by_runbooks, queries};
use super::{fires, watching};
use crate::world::{DEADLINE, World};

const EVENTS: u64 = 200;
/// How many a second the limited one takes.
const LIMIT: u64 = 30;
/// Where all that is sent arrives.
const PATHS: [&str; 3] = ["/ok", "/slow", "/limited"];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_panel_shows_its_fault_and_the_counts_are_those_of_the_loss_checker() {
    let world = World::with(&[
        ("DELIVERY__SCHEDULE", "0s,1s"),
        // What the failing endpoint is sent is given up soon, and what the limited one is sent is not.
        ("DELIVERY__SLACK", "30s"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "2s"),
        // Little, so that all of it is used up soon.
        ("DELIVERY__MEMORY", "1MiB"),
        ("LOG__WAL", "8MiB"),
        ("LOG__RESERVE", "16MiB"),
        ("LOG__MAX", "96MiB"),
        ("DELIVERY__PARKED", "1GiB"),
    ])
    .await;
    let prometheus = watching(&[world.server().address().unwrap()]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    let slow = Behaviour::Delay(Duration::from_millis(50));
    world.endpoint("/slow", slow).await;
    let limited = json!({ "throttleRate": LIMIT });
    world
        .endpoint_with("/limited", Behaviour::Ok, limited)
        .await;
    let failing = world.endpoint("/failing", Behaviour::Status(500)).await;

    let published = the_counts_are_those_of_the_loss_checker(&world, &prometheus).await;
    // Each in its turn: what one leaves behind is what the next needs.
    disable_and_replay(&world, &failing).await;
    has_the_store_refuse(&world).await;
    let all = queries();
    let ours = all.iter().filter(|query| !query.needs_kafka());
    let (last, first): (Vec<_>, Vec<_>) = ours.partition(|query| only_when_full(query));
    show_something(&world, &prometheus, &first, true).await;
    fires(&prometheus, "PostriderRecordsSetAside").await;
    fill_the_log(&world).await;
    show_something(&world, &prometheus, &last, false).await;
    for alert in ["PostriderDiskFull", "PostriderIngestUnavailable"] {
        fill_until_fires(&world, &prometheus, alert).await;
    }
    assert!(world.receiver.count("/ok") > published);
    for query in asked_by_runbooks() {
        prometheus.query(&query).await.unwrap();
    }
}

/// What Prometheus has is what the server counted, and that is what came. Returns how many events there were.
async fn the_counts_are_those_of_the_loss_checker(world: &World, prometheus: &Prometheus) -> u64 {
    // Some before all series are scraped, so that what grows is seen to grow.
    let accepted = "sum(postrider_ingest_accepted_total)";
    let mut events = world.publish(EVENTS / 2).await.accepted;
    scraped(prometheus, accepted, EVENTS / 2).await;
    events.extend(world.publish(EVENTS - EVENTS / 2).await.accepted);
    let mut checker = LossChecker::default();
    for one in &events {
        checker.expect(&one.event, &PATHS);
    }
    world.hold(&checker, DEADLINE).await;
    world.wait_for_dead_letters(EVENTS).await;

    let arrived: u64 = PATHS.map(|path| world.receiver.count(path)).iter().sum();
    assert_eq!(arrived, 3 * EVENTS);
    let failed = world.receiver.count("/failing");
    let attempts =
        |outcome| format!("sum(postrider_delivery_attempts_total{{outcome=\"{outcome}\"}})");
    // By the worker, or at its deadline by the pump.
    let given_up = "sum(postrider_delivery_dead_letters_total) + sum(postrider_pump_moved_total{route=\"expired\"})";
    for (query, count) in [
        (accepted, EVENTS),
        ("sum(postrider_fanout_events_total)", EVENTS),
        ("sum(postrider_fanout_deliveries_total)", 4 * EVENTS),
        (&attempts("succeeded"), arrived),
        (&attempts("refused"), failed),
        (
            "sum(postrider_delivery_success_latency_seconds_count)",
            arrived,
        ),
        (given_up, EVENTS),
        ("sum(postrider_deadletter_kept_total)", EVENTS),
        (
            "sum(postrider_recorder_recorded_total{kind=\"event\"})",
            EVENTS,
        ),
        (
            "sum(postrider_recorder_recorded_total{kind=\"attempt\"})",
            arrived + failed,
        ),
    ] {
        scraped(prometheus, query, count).await;
    }

    // Slowly enough to be seen under way. What fails again is given up again.
    let body = json!({ "filter": {}, "rate": 50 });
    let path = format!("/api/v1/app/{}/replay", world.app);
    assert_eq!(world.api.try_post(&path, &body).await.unwrap().status, 202);
    scraped(prometheus, "sum(postrider_replay_published_total)", EVENTS).await;
    world.wait_for_dead_letters(EVENTS).await;
    scraped(prometheus, given_up, 2 * EVENTS).await;
    EVENTS
}

/// What is asked to see that a query answers with more than nothing at some time, and with something else at another, if
/// what it asks for is no constant of the run.
fn tests_of(query: &Query) -> Vec<String> {
    let Query { text, .. } = query;
    let since = |of: &str| format!("{of}(({text})[10m:1s]) > 0");
    match query {
        // It answers, at least.
        _ if leaves_out(query) => vec![text.clone()],
        _ if query.is_constant() => vec![since("max_over_time")],
        _ => vec![since("max_over_time"), since("changes")],
    }
}

/// Waits until all of these have shown what they are for. Something goes on meanwhile if `publishing`.
async fn show_something(
    world: &World,
    prometheus: &Prometheus,
    queries: &[&Query],
    publishing: bool,
) {
    let mut left: Vec<String> = queries.iter().flat_map(|query| tests_of(query)).collect();
    let shown = eventually("every panel shows what happens", DEADLINE, async || {
        // A rate and a quantile are of what happens; and more than the limit waits, also where publishing takes its time.
        if publishing {
            world.publish(2 * LIMIT).await;
        }
        let mut without = Vec::new();
        for test in std::mem::take(&mut left) {
            let values = prometheus.query(&test).await.unwrap();
            if !values.iter().any(|(_, value)| value.is_finite()) {
                without.push(test);
            }
        }
        left = without;
        left.is_empty().then_some(())
    });
    let shown = shown.await;
    assert!(shown.is_ok(), "these show nothing: {left:#?}");
}

/// Waits until the answer to `query` is `count`.
pub(super) async fn scraped(prometheus: &Prometheus, query: &str, count: u64) {
    let mut last = Vec::new();
    let what = format!("{query} is {count}");
    let waited = eventually(&what, DEADLINE, async || {
        last = prometheus.query(query).await.unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let there = last
            .iter()
            .any(|(_, value)| (value - count as f64).abs() < 0.5);
        there.then_some(())
    });
    let waited = waited.await;
    assert!(waited.is_ok(), "{query} is not {count} but {last:?}");
}
