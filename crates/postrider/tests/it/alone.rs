//! Each role takes no more configuration than it uses.

use std::process::Stdio;
use std::time::Duration;

use postrider_testkit::eventually;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::cluster::PATIENCE;
use crate::engines::Engines;

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

/// A process of one role with these settings and no others, in a folder of its own.
fn start(engines: &Engines, role: &str, settings: &[&str]) -> Child {
    let folder = engines.path().join(role);
    std::fs::create_dir(&folder).unwrap();
    let settings = settings.iter();
    let settings = settings.map(|key| (format!("POSTRIDER__{key}"), engines.get(key)));
    let command = Command::new(BINARY)
        .args([role, "--listen", "127.0.0.1:0"])
        .envs(settings)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    command.unwrap()
}

/// It says that it accepts requests, and ends well when it is told to.
async fn serves_and_ends(role: &str, mut process: Child) {
    let mut out = BufReader::new(process.stdout.take().unwrap()).lines();
    let said = tokio::time::timeout(PATIENCE, out.next_line()).await;
    let said = said.unwrap().unwrap().unwrap_or_default();
    assert!(said.starts_with("ready http://"), "{role}: {said:?}");
    let pid = process.id().unwrap().to_string();
    let asked = Command::new("kill").arg(pid).status().await;
    assert!(asked.unwrap().success());
    let ended = eventually("it ends", Duration::from_secs(60), async || {
        process.try_wait().ok().flatten()
    });
    assert!(ended.await.unwrap().success(), "{role}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_starts_with_the_log_and_the_store_alone_and_the_pump_with_the_log() {
    const LOG: [&str; 6] = [
        "LOG__KIND",
        "LOG__KAFKA__BROKERS",
        "LOG__KAFKA__TOPIC_PREFIX",
        "LOG__KAFKA__PARTITIONS",
        "LOG__KAFKA__REPLICATION",
        "LOG__KAFKA__MIN_INSYNC_REPLICAS",
    ];
    let both = [&LOG[..], &["STORE__URL"]].concat();
    let engines = Engines::new().await;
    engines.command(&["topics", "apply"]).ok();
    engines.command(&["migrate"]).ok();
    for (role, settings) in [
        ("pump", &LOG[..]),
        ("ingest", &both),
        ("fanout", &both),
        ("worker", &both),
        ("deadletter", &both),
        ("recorder", &both),
        ("api", &both),
    ] {
        let process = start(&engines, role, settings);
        serves_and_ends(role, process).await;
        let left: Vec<_> = std::fs::read_dir(engines.path().join(role))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{role} leaves nothing here: {left:?}");
    }
}
