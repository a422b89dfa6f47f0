//! The number of partitions is changed as `docs/cluster.md` says.

use std::path::PathBuf;
use std::process::Command;

use postrider_testkit::{Behaviour, Load, LossChecker, Receiver, Recording, Target, setting};
use serde_json::json;

use crate::engines::Engines;
use crate::killing::expect_everywhere;
use crate::world::DEADLINE;

/// As an operator does it, with the tool that comes with Kafka.
fn alter(engines: &Engines, partitions: u32) {
    let jars = PathBuf::from(setting("POSTRIDER_TEST_KAFKA_JARS", String::new())).join("*");
    let prefix = engines.get("LOG__KAFKA__TOPIC_PREFIX");
    let output = Command::new("java")
        .arg("-cp")
        .arg(jars)
        .arg("org.apache.kafka.tools.TopicCommand")
        .args(["--bootstrap-server", engines.get("LOG__KAFKA__BROKERS")])
        .args(["--alter", "--partitions", &partitions.to_string()])
        .args(["--topic", &format!("{}.*", prefix.replace('.', "\\."))])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains("Error"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_while_deliveries_wait_and_none_is_lost() {
    const ENDPOINTS: usize = 12;
    const EVENTS: u64 = 10;
    let engines = Engines::new()
        .await
        .set("DELIVERY__SCHEDULE", "0s,3s,3s,3s,3s,3s,3s");
    let (server, api) = engines.serve().await;
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let app = api.create_app("partitions").await.unwrap();
    let paths: Vec<String> = (0..ENDPOINTS).map(|n| format!("/at-{n}")).collect();
    for path in &paths {
        // Retries wait when the processes are stopped, in the partitions of before.
        let spec = json!({ "url": receiver.on(path, Behaviour::FailFirst(5, 500)) });
        api.create_endpoint(&app, &spec).await.unwrap();
    }
    let target = Target {
        address: server.address().unwrap(),
        token: server.token.clone(),
    };
    let load = Load {
        count: Some(EVENTS),
        ..Load::of(&app, "scenario.event")
    };
    let report = load.run_against(target).await.unwrap();
    receiver.wait_for("/at-", 1, DEADLINE).await.unwrap();
    let status = server.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "ended with {status}");

    alter(&engines, 5);
    let refused = engines.command(&["topics", "check"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .out
            .contains("has 5 partitions, the configuration says 2")
    );
    let engines = engines.set("LOG__KAFKA__PARTITIONS", "5");
    engines.command(&["topics", "check"]).ok();
    let (server, _) = engines.serve_again().await;

    let mut checker = LossChecker::default();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    expect_everywhere(&mut checker, &report, &paths);
    let arrived = postrider_testkit::eventually("nothing is missing", DEADLINE, async || {
        (checker.missing(&receiver.arrivals()) == 0).then_some(())
    });
    let arrived = arrived.await;
    let verdict = checker.judge(&receiver.arrivals());
    assert!(arrived.is_ok() && verdict.is_good(), "{verdict}");
    let status = server.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "ended with {status}");
}
