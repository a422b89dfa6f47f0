//! A store whose file is damaged: what is said of it, and what goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postrider_testkit::{Behaviour, SVIX_2, client_library, eventually};

use crate::engines::Engines;
use crate::world::{DEADLINE, World};

/// Spoils the page in which the tree of a table begins, in a file that nobody has open.
fn spoil(file: &Path, table: &str) {
    let python = client_library(SVIX_2).unwrap().join("bin/python");
    let script = "import sqlite3, sys\n\
                  file = sqlite3.connect(sys.argv[1])\n\
                  page, = file.execute('SELECT rootpage FROM sqlite_master WHERE name = ?', sys.argv[2:]).fetchone()\n\
                  bytes, = file.execute('PRAGMA page_size').fetchone()\n\
                  file.close()\n\
                  with open(sys.argv[1], 'r+b') as file:\n\
                  \x20   file.seek((page - 1) * bytes)\n\
                  \x20   file.write(b'\\xee' * bytes)\n";
    let mut command = Command::new(python);
    let status = command.args(["-c", script]).arg(file).arg(table).status();
    assert!(status.unwrap().success());
}

fn store(world: &World) -> PathBuf {
    world.launch.data().join("store.db")
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_where_the_configuration_lies_is_told_by_the_doctor_and_ends_the_start() {
    let mut world = World::with(&[]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.terminate().await;
    spoil(&store(&world), "endpoints");

    let data = world.launch.data().to_str().unwrap();
    let told = Engines::local().command(&["doctor", "--data", data]);
    assert_eq!(told.code, 1, "{}", told.out);
    let found = told.out.lines().find(|line| line.starts_with("WRONG"));
    let found = found.unwrap_or_else(|| panic!("{}", told.out));
    assert!(found.contains("store.db is damaged"), "{found}");
    assert!(found.contains("restore it from a backup"), "{found}");

    let (status, said) = world.launch.refused().await.unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    for words in [
        "the store is damaged",
        "store.db (",
        "restore it from a backup",
    ] {
        assert!(last.contains(words), "{words:?} in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_is_met_while_serving_is_named_and_nothing_that_was_accepted_is_lost() {
    let mut world = World::with(&[]).await;
    world.endpoint("/ok", Behaviour::Ok).await;
    world.publish(3).await;
    world.wait_for("/ok", 3).await;
    world.terminate().await;
    let backup = fs::read(store(&world)).unwrap();
    spoil(&store(&world), "events");
    world.start().await;

    world.publish(5).await;
    world.wait_for("/ok", 8).await;
    let listing = format!("/api/v1/app/{}/msg", world.app);
    let answer = world.api.try_get(&listing).await.unwrap();
    assert_eq!(answer.status, 500, "{answer:?}");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.starts_with("the store is damaged"), "{detail}");
    let ready = world.api.try_get("/health/ready").await.unwrap();
    assert_eq!(ready.status, 503, "{ready:?}");
    let parts = ready.body["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == "store").unwrap();
    assert_eq!(part["ready"], false, "{part}");
    let why = part["why"].as_str().unwrap();
    assert!(
        why.contains("store.db (") && why.contains("Stop the server"),
        "{why}"
    );
    let said = world.server().log();
    assert!(said.contains("restore it from a backup"), "{said}");
    let data = world.launch.data().to_str().unwrap();
    let told = Engines::local().command(&["doctor", "--data", data]);
    assert!(told.out.contains("store.db is damaged"), "{}", told.out);

    world.terminate().await;
    for left in ["store.db-wal", "store.db-shm"] {
        fs::remove_file(world.launch.data().join(left)).ok();
    }
    fs::write(store(&world), backup).unwrap();
    world.start().await;
    eventually("all events are in the history", DEADLINE, async || {
        let listed = world.api.get(&listing).await.ok()?;
        (listed["data"].as_array()?.len() == 8).then_some(())
    })
    .await
    .unwrap();
    eventually("it is ready again", DEADLINE, async || {
        let ready = world.api.try_get("/health/ready").await.ok()?;
        (ready.status == 200).then_some(())
    })
    .await
    .unwrap();
}
