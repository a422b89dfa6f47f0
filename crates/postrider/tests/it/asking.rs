//! The commands that ask a server: for places where there is neither a shell nor curl.

use std::process::Command;

use postrider_testkit::{shared_postgres, sql};

use crate::world::World;

/// Runs a command that ends by itself; returns whether it succeeded, and what it printed.
pub(crate) fn command(arguments: &[&str], settings: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).envs(settings.iter().copied());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap();
    (output.status.success(), printed.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_token_are_had_by_commands_alone() {
    let world = World::with(&[]).await;
    let (address, data) = (
        world.server().address().unwrap().to_string(),
        world.launch.data().to_str().unwrap().to_owned(),
    );
    let started = world.api.get("/health/startup").await.unwrap();
    assert_eq!(started["status"], "started");

    let (well, told) = command(&["health", "--listen", &address], &[]);
    assert!(well && told.contains("\"ready\""), "{told}");
    let elsewhere = format!("http://{address}/nowhere");
    let (well, told) = command(&["health", "--url", &elsewhere], &[]);
    assert!(!well && told.contains("404"), "{told}");

    let (shown, token) = command(&["token", "show", "--data", &data], &[]);
    assert!(shown, "{token}");
    assert_eq!(token, world.server().token);
    let (shown, told) = command(&["token", "show", "--data", "/nowhere"], &[]);
    assert!(!shown && told.contains("/nowhere/operator.token"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_brought_up_to_date_before_any_server_starts() {
    let (done, told) = command(&["migrate"], &[]);
    assert!(!done && told.contains("store.url"), "{told}");

    let server = shared_postgres().unwrap();
    let name = format!("migrate_{}", std::process::id());
    sql(&server, &format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let (place, _) = server.rsplit_once('/').unwrap();
    let url = format!("{place}/{name}");
    let settings = [
        ("POSTRIDER__LOG__KIND", "kafka"),
        ("POSTRIDER__LOG__KAFKA__BROKERS", "127.0.0.1:1"),
        ("POSTRIDER__STORE__URL", &url),
    ];
    // The second time there is nothing left to do.
    for _ in 0..2 {
        let (done, told) = command(&["migrate"], &settings);
        assert!(done && told.contains("up to date"), "{told}");
    }
    sql(&url, "SELECT count(*) FROM endpoints").await.unwrap();
}
