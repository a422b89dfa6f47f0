//! Who reads the server's log decides nothing of its work.

use postrider_testkit::Behaviour;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_standard_error_nobody_reads_delivers_and_stops_when_told_to() {
    const EVENTS: u64 = 100;
    let mut world = World::with(&[]).await;
    world.endpoint("/hook", Behaviour::Ok).await;
    world.terminate().await;
    world.launch = world.launch.clone().with_unread_log();
    world.start().await;
    world.publish(EVENTS).await;
    world.wait_for("/hook", EVENTS).await;
    // It waits for a reader no longer than a moment.
    world.terminate().await;
}
