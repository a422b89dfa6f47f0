//! Brokers that want to know who we are, and prove who they are: TLS, and passwords over it.

use std::path::Path;

use postrider_testkit::{Behaviour, Receiver, Recording, SecuredBroker};
use serde_json::json;

use crate::engines::{Ended, Engines};
use crate::world::DEADLINE;

/// These engines, with the broker reached by its listener for passwords.
fn with_password(engines: Engines, broker: &SecuredBroker, mechanism: &str) -> Engines {
    engines
        .set("LOG__KAFKA__BROKERS", &broker.passwords)
        .set("LOG__KAFKA__PROTOCOL", "sasl_ssl")
        .set("LOG__KAFKA__CA", broker.ca.display())
        .set("LOG__KAFKA__SASL_MECHANISM", mechanism)
        .set("LOG__KAFKA__USERNAME", SecuredBroker::USER)
        .set("LOG__KAFKA__PASSWORD", SecuredBroker::PASSWORD)
}

/// It ended with an error that holds these words, and not the password.
fn refused(ended: &Ended, words: &[&str]) {
    let told = format!("{}{}", ended.out, ended.err);
    assert_eq!(ended.code, 1, "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} in: {told}");
    }
    assert!(!told.contains("horse"), "{told}");
}

// One start of a broker for all of it: that takes seconds and 300 MB.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_are_reached_by_tls_and_passwords_and_what_is_wrong_with_them_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let broker = SecuredBroker::start(directory.path()).await.unwrap();

    // Few partitions: each costs a broker that speaks TLS on two cores.
    let engines = Engines::new().await.set("LOG__KAFKA__PARTITIONS", "1");
    let engines = tls(engines, &broker);
    let engines = passwords(engines, &broker);
    hidden(&engines);
    delivers(&engines).await;
    properties(engines, &broker, directory.path());
}

fn tls(engines: Engines, broker: &SecuredBroker) -> Engines {
    let engines = engines
        .set("LOG__KAFKA__BROKERS", &broker.tls)
        .set("LOG__KAFKA__PROTOCOL", "ssl")
        .set("LOG__KAFKA__CA", broker.ca.display());
    let created = engines.command(&["topics", "apply"]).ok();
    assert!(created.contains("created"), "{created}");

    let engines = engines.set("LOG__KAFKA__CA", broker.other_ca.display());
    refused(
        &engines.command(&["topics", "check"]),
        &["does not let us in", "certificate"],
    );
    refused(
        &engines.command(&["doctor"]),
        &["certificate", "log.kafka.ca is the authority"],
    );
    engines
}

fn passwords(mut engines: Engines, broker: &SecuredBroker) -> Engines {
    for mechanism in ["plain", "scram-sha-512"] {
        engines = with_password(engines, broker, mechanism);
        let told = engines.command(&["topics", "check"]).ok();
        assert!(told.contains("as they must be"), "{mechanism}: {told}");

        engines = engines.set("LOG__KAFKA__PASSWORD", "wrong-horse");
        refused(
            &engines.command(&["topics", "check"]),
            &["does not let us in", "uthentication"],
        );
        refused(
            &engines.command(&["doctor"]),
            &[
                "uthentication",
                "check log.kafka.protocol, username, password",
            ],
        );
    }
    with_password(engines, broker, "scram-sha-512")
}

/// Neither the configuration as it is printed nor a log at its most talkative shows the password.
fn hidden(engines: &Engines) {
    let printed = engines.command(&["config"]).ok();
    assert!(printed.contains("password = \"***\""), "{printed}");
    assert!(!printed.contains("horse"), "{printed}");
}

async fn delivers(engines: &Engines) {
    let (server, api) = engines.serve().await;
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let app = api.create_app("secured").await.unwrap();
    let spec = json!({ "url": receiver.on("/hook", Behaviour::Ok) });
    api.create_endpoint(&app, &spec).await.unwrap();
    let event = json!({ "n": 1 });
    api.publish(&app, "order.created", &event).await.unwrap();
    receiver.wait_for("/hook", 1, DEADLINE).await.unwrap();
    let log = server.log();
    assert!(!log.contains("horse"), "{log}");
    let status = server.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "ended with {status}");
}

/// Any property of librdkafka can be given: here, whom to trust.
fn properties(engines: Engines, broker: &SecuredBroker, directory: &Path) {
    let engines = engines.set("LOG__KAFKA__CA", "");
    refused(&engines.command(&["topics", "check"]), &["certificate"]);
    let file = directory.join("postrider.toml");
    let table = format!(
        "[log.kafka.properties]\nssl.ca.location = \"{}\"\nclient.rack = \"a\"\n",
        broker.ca.display()
    );
    std::fs::write(&file, table).unwrap();
    let file = ["--config", file.to_str().unwrap()];
    let check = [&["topics", "check"], &file[..]].concat();
    engines.command(&check).ok();

    let engines = engines.set("LOG__KAFKA__PROPERTIES", "no.such.property=1");
    refused(
        &engines.command(&["topics", "check"]),
        &["librdkafka says", "no.such.property"],
    );
}
