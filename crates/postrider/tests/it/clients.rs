//! Clients that we did not write work unchanged.

use std::process::Command;

use postrider_testkit::{SVIX_1, SVIX_2, client_library};

use crate::world::World;

/// Runs the acceptance script with the library in this folder.
async fn accepts(library: &str) {
    let python = client_library(library).unwrap().join("bin/python");
    let world = World::with(&[]).await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/scripts/svix_client.py"
    );
    let output = Command::new(python)
        .arg(script)
        .args([&world.server().url, &world.server().token])
        .arg(world.receiver.url("/accepted"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(world.receiver.count("/accepted"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_svix_client_of_the_1_x_line_creates_an_event_and_reads_its_attempt() {
    accepts(SVIX_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_svix_client_of_the_2_x_line_creates_an_event_and_reads_its_attempt() {
    accepts(SVIX_2).await;
}
