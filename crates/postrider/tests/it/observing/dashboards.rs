//! Every panel answers with what happened.

use std::time::Duration;

use postrider_testkit::{Behaviour, LossChecker, eventually};
use serde_json::json;

use super::files::queries;
use super::watching;
use crate::world::{DEADLINE, World};

const EVENTS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_panel_answers_and_the_counts_are_those_of_the_loss_checker() {
    let world = World::with(&[
        ("DELIVERY__SCHEDULE", "0s,1s"),
        // What the failing endpoint is sent is given up soon, and what the limited one is sent is not.
        ("DELIVERY__SLACK", "30s"),
        ("DELIVERY__BREAKER_LONGEST_WAIT", "2s"),
    ])
    .await;
    let prometheus = watching(&[world.server().address().unwrap()]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world
        .endpoint("/slow", Behaviour::Delay(Duration::from_millis(50)))
        .await;
    let limited = json!({ "throttleRate": 100 });
    world
        .endpoint_with("/limited", Behaviour::Ok, limited)
        .await;
    world.endpoint("/failing", Behaviour::Status(500)).await;

    // Some before all series are scraped, so that what grows is seen to grow.
    let mut accepted = world.publish(EVENTS / 2).await.accepted;
    scraped(
        &prometheus,
        "sum(postrider_ingest_accepted_total)",
        EVENTS / 2,
    )
    .await;
    accepted.extend(world.publish(EVENTS - EVENTS / 2).await.accepted);

    let mut checker = LossChecker::default();
    for one in &accepted {
        checker.expect(&one.event, &["/ok", "/slow", "/limited"]);
    }
    world.hold(&checker, DEADLINE).await;
    world.wait_for_dead_letters(EVENTS).await;
    let body = json!({ "filter": {}, "rate": 1000 });
    let path = format!("/api/v1/app/{}/replay", world.app);
    assert_eq!(world.api.try_post(&path, &body).await.unwrap().status, 202);
    let replayed = "sum(postrider_replay_published_total)";
    scraped(&prometheus, replayed, EVENTS).await;

    let mut published = EVENTS;
    for query in queries().iter().filter(|query| !query.needs_kafka()) {
        let what = format!("{} answers: {}", query.place, query.text);
        let answered = eventually(&what, DEADLINE, async || {
            let values = prometheus.query(&query.text).await.unwrap();
            if values.iter().any(|(_, value)| value.is_finite()) {
                return Some(());
            }
            // A rate and a quantile are of what happens.
            published += world.publish(5).await.accepted.len() as u64;
            tokio::time::sleep(Duration::from_millis(500)).await;
            None
        });
        answered.await.unwrap();
    }

    // What Prometheus has is what the server counted, and that is what came.
    let paths = ["/ok", "/slow", "/limited"];
    for path in paths {
        world.wait_for(path, published).await;
    }
    let arrived: u64 = paths.map(|path| world.receiver.count(path)).iter().sum();
    assert_eq!(arrived, 3 * published);
    let succeeded = "sum(postrider_delivery_attempts_total{outcome=\"succeeded\"})";
    let latencies = "sum(postrider_delivery_success_latency_seconds_count)";
    scraped(
        &prometheus,
        "sum(postrider_ingest_accepted_total)",
        published,
    )
    .await;
    scraped(
        &prometheus,
        "sum(postrider_fanout_deliveries_total)",
        4 * published,
    )
    .await;
    scraped(&prometheus, succeeded, arrived).await;
    scraped(&prometheus, latencies, arrived).await;
    let failed = "sum(postrider_delivery_attempts_total{outcome=\"refused\"})";
    let tried = eventually("the failed attempts agree", DEADLINE, async || {
        let counted = prometheus.query(failed).await.unwrap();
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let came = world.receiver.count("/failing") as f64;
        counted
            .iter()
            .any(|(_, count)| (count - came).abs() < 0.5)
            .then_some(())
    });
    tried.await.unwrap();
}

/// Waits until the answer to `query` is `count`.
async fn scraped(prometheus: &postrider_testkit::Prometheus, query: &str, count: u64) {
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
