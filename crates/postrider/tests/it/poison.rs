//! Answers that no program should give stop nobody.

use postrider_testkit::{Behaviour, eventually};

use crate::world::{DEADLINE, World};

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
    for accepted in &report.accepted {
        let path = format!("/api/v1/app/{}/attempt/msg/{}", world.app, accepted.event);
        let recorded = eventually("every attempt is recorded", DEADLINE, async || {
            let page = world.api.get(&path).await.unwrap();
            (page["data"].as_array().unwrap().len() == 6).then_some(())
        });
        recorded.await.unwrap();
    }
    // And it goes on.
    world.publish(3).await;
    world.wait_for("/ok", 6).await;
}
