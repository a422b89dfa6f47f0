//! A fault fires its alert, and a run without one fires none.

use postrider_testkit::{Behaviour, Prometheus, eventually};

use super::watching;
use crate::world::{DEADLINE, World};

/// The disk of the machine that tests is not ours to judge.
const NOT_OURS: &str = "PostriderDiskFilling";
/// More than so many endpoints that are disabled at once are a surge.
const SURGE: usize = 8;

async fn fires(prometheus: &Prometheus, alert: &str) {
    let what = format!("{alert} fires");
    let waited = eventually(&what, DEADLINE, async || {
        let firing = prometheus.firing().await.unwrap();
        firing.iter().any(|name| name == alert).then_some(())
    });
    waited.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_run_fires_nothing_endpoints_that_go_fire_theirs_and_so_does_a_killed_process() {
    let mut world = World::with(&[]).await;
    let prometheus = watching(&[world.server().address().unwrap()]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    for gone in 0..SURGE {
        let endpoint = world
            .endpoint(&format!("/gone/{gone}"), Behaviour::Ok)
            .await;
        assert!(!endpoint.is_empty());
    }
    world.publish(50).await;
    world.wait_for("/", 50 * (SURGE as u64 + 1)).await;
    // So much was seen of it, evaluated every second.
    let seen = eventually(
        "the run has been watched for a while",
        DEADLINE,
        async || {
            let watched = "count_over_time(postrider_ingest_accepted_total[1m]) >= 10";
            let values = prometheus.query(watched).await.unwrap();
            (!values.is_empty()).then_some(())
        },
    );
    seen.await.unwrap();
    let mut firing = prometheus.firing().await.unwrap();
    firing.retain(|alert| alert != NOT_OURS);
    assert!(firing.is_empty(), "a healthy run fires {firing:?}");

    for gone in 0..SURGE {
        world
            .receiver
            .on(&format!("/gone/{gone}"), Behaviour::Status(410));
    }
    world.publish(1).await;
    fires(&prometheus, "PostriderEndpointsDisabled").await;
    world.kill().await;
    fires(&prometheus, "PostriderProcessDown").await;
}
