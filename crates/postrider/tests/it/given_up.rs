//! Requests to publish that nobody answered: their producers waited for us, and that is what the service level is of.

use std::time::Duration;

use postrider_failpoint::reached;
use postrider_testkit::{Answer, eventually};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::world::{DEADLINE, World};

/// A server at which the first event is not written, and the request with it.
async fn stuck(settings: &[(&str, &str)]) -> (World, JoinHandle<Answer>) {
    let world = World::stopping_at("ingest.append.before", 1, settings).await;
    let (api, path) = (world.api.clone(), format!("/api/v1/app/{}/msg", world.app));
    let asked = tokio::spawn(async move {
        let event = json!({"eventType": "scenario.event", "payload": {}});
        api.try_post(&path, &event).await.unwrap()
    });
    let stopped = eventually("the event is being written", DEADLINE, async || {
        let said = world.server().log();
        said.contains(&reached("ingest.append.before"))
            .then_some(())
    });
    stopped.await.unwrap();
    (world, asked)
}

async fn until_counted(world: &World, series: &str) {
    let what = format!("{series} is counted");
    let counted = eventually(&what, DEADLINE, async || {
        let metrics = world.api.metrics().await.ok()?;
        metrics.lines().any(|line| line == series).then_some(())
    });
    counted.await.unwrap();
}

const ABANDONED: &str = "postrider_ingest_rejected_total{reason=\"abandoned\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_goes_away_while_it_waits_for_its_answer_is_counted() {
    let (world, asked) = stuck(&[]).await;
    until_counted(&world, &format!("{ABANDONED} 0")).await;
    // Its connection is closed with that.
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    until_counted(&world, &format!("{ABANDONED} 1")).await;
    // What is answered is none of it.
    world.publish(1).await;
    until_counted(&world, "postrider_ingest_accepted_total 1").await;
    until_counted(&world, &format!("{ABANDONED} 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_told_408_is_counted() {
    // It counts for what the test does before, too, so that it leaves a slow machine time.
    let settings = [("HTTP__REQUEST_TIMEOUT", "5s")];
    let (world, asked) = stuck(&settings).await;
    let answer = tokio::time::timeout(Duration::from_secs(60), asked).await;
    assert_eq!(answer.unwrap().unwrap().status, 408);
    until_counted(&world, &format!("{ABANDONED} 1")).await;
}
