//! A fault fires its alert, and a run without one fires none.

use postrider_testkit::{Behaviour, eventually};

use super::{fires, none_fires, watching};
use crate::world::{DEADLINE, World};

/// More than so many endpoints that are disabled at once are a surge.
const SURGE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_run_fires_nothing_endpoints_that_go_a_file_with_a_mistake_and_a_killed_process_fire_theirs()
 {
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
    none_fires(&prometheus).await;

    for gone in 0..SURGE {
        world
            .receiver
            .on(&format!("/gone/{gone}"), Behaviour::Status(410));
    }
    world.publish(1).await;
    fires(&prometheus, "PostriderEndpointsDisabled").await;
    with_a_mistake_in_its_file(&mut world).await;
    fires(&prometheus, "PostriderConfigRefused").await;
    world.kill().await;
    fires(&prometheus, "PostriderProcessDown").await;
    fires(&prometheus, "PostriderAway").await;
}

/// Starts the server again with a file, and has it read that again when something is wrong in it.
async fn with_a_mistake_in_its_file(world: &mut World) {
    let file = world.launch.data().with_extension("toml");
    std::fs::write(&file, "").unwrap();
    let named = world.launch.clone().argument("--config");
    world.launch = named.argument(file.to_str().unwrap());
    world.terminate().await;
    world.start().await;
    std::fs::write(&file, "[delivery]\ntimeout = \"soon\"\n").unwrap();
    world.server().hang_up().unwrap();
    let refused = eventually("the file is refused", DEADLINE, async || {
        let metrics = world.api.metrics().await.ok()?;
        let refused = "postrider_config_last_reload_successful 0";
        metrics.lines().any(|line| line == refused).then_some(())
    });
    refused.await.unwrap();
}
