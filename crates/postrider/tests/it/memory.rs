//! What a server takes of the machine's memory.

use crate::world::World;

/// Large ones cost tens of megabytes, and whether there are any hangs on the machine: `figures.md` would be true of some.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_no_large_pages_whatever_its_machine_does() {
    let world = World::with(&[]).await;
    let status = format!("/proc/{}/status", world.server().pid());
    let status = std::fs::read_to_string(status).unwrap();
    let told = status.lines().find(|line| line.starts_with("THP_enabled:"));
    assert_eq!(told, Some("THP_enabled:\t0"));
}
