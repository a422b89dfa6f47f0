//! No attempt starts whose outcome could not be written.

use postrider_delivery::DeliveryError;
use postrider_log::{Log, LogError, Purpose};

use crate::world::{Does, S, World};

#[tokio::test(start_paused = true)]
async fn while_the_log_is_full_nothing_is_started_and_afterwards_nothing_is_lost_or_repeated() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Answer(200));
    world.start();
    world.publish(&[id]).await;
    world
        .until(S, "works", |world| world.attempts().len() == 1)
        .await;
    world
        .log
        .fail_appends(Purpose::Pipeline, LogError::Full("no space".to_owned()));
    world.publish(&[id; 500]).await;
    tokio::time::sleep(30 * S).await;
    let started = world.sender.sent();
    assert!(
        started <= 100,
        "{started} attempts whose outcome could not be written"
    );
    world.log.recover();
    world
        .until(10 * S, "all delivered", |world| {
            world.attempts().len() == 501
        })
        .await;
    assert_eq!(world.sender.sent(), 501, "nothing twice");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stops_ends_the_worker_with_the_reason() {
    let mut world = World::new();
    world.endpoint(0, Does::Answer(200));
    world.start();
    tokio::task::yield_now().await;
    world.log.close().await.unwrap();
    let ended = world.ended().await;
    assert!(
        matches!(ended, Err(DeliveryError::Log(LogError::Stopped(_)))),
        "{ended:?}"
    );
}
