//! Brokers that want to know who we are, and prove who they are: TLS, and passwords over it.

use std::path::Path;

use postrider_testkit::{Behaviour, ClientCertificate, Receiver, Recording, SecuredBroker};
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
    let engines = another_host(engines, &broker);
    let engines = passwords(engines, &broker);
    hidden(&engines);
    delivers(&engines, "password").await;
    let engines = own_certificate(engines, &broker, directory.path());
    hidden(&engines);
    delivers(&engines, "certificate").await;
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
        &["does not let us in", "certificate verify failed"],
    );
    refused(
        &engines.command(&["doctor"]),
        &["certificate", "log.kafka.ca is the authority"],
    );
    engines
}

/// Who signed it is trusted, and it is another's.
fn another_host(engines: Engines, broker: &SecuredBroker) -> Engines {
    let engines = engines
        .set("LOG__KAFKA__BROKERS", &broker.elsewhere)
        .set("LOG__KAFKA__CA", broker.ca.display());
    refused(
        &engines.command(&["topics", "check"]),
        &["does not let us in", "certificate verify failed"],
    );
    refused(
        &engines.command(&["doctor"]),
        &["the brokers' names are the ones in them"],
    );
    engines
}

fn showing(engines: Engines, client: &ClientCertificate, password: &str) -> Engines {
    engines
        .set("LOG__KAFKA__CERTIFICATE", client.certificate.display())
        .set("LOG__KAFKA__KEY", client.key.display())
        .set("LOG__KAFKA__KEY_PASSWORD", password)
}

/// The broker wants to see one.
fn own_certificate(engines: Engines, broker: &SecuredBroker, directory: &Path) -> Engines {
    let engines = engines
        .set("LOG__KAFKA__BROKERS", &broker.mutual)
        .set("LOG__KAFKA__PROTOCOL", "ssl")
        .unset("LOG__KAFKA__SASL_MECHANISM")
        .unset("LOG__KAFKA__USERNAME")
        .unset("LOG__KAFKA__PASSWORD");
    let foreign = &["does not let us in", "SSL alert number"];
    refused(&engines.command(&["topics", "check"]), foreign);
    let engines = showing(engines, &broker.stranger, SecuredBroker::KEY_PASSWORD);
    refused(&engines.command(&["topics", "check"]), foreign);
    refused(
        &engines.command(&["doctor"]),
        &["log.kafka.certificate, where brokers ask for one"],
    );

    let engines = showing(engines, &broker.client, "wrong-horse");
    refused(
        &engines.command(&["topics", "check"]),
        &["client.key is none in PEM, or its password is another"],
    );
    let nowhere = directory.join("nowhere.pem");
    let engines = engines.set("LOG__KAFKA__CERTIFICATE", nowhere.display());
    refused(
        &engines.command(&["doctor"]),
        &["nowhere.pem cannot be read", "change the configuration"],
    );

    let engines = showing(engines, &broker.client, SecuredBroker::KEY_PASSWORD);
    let told = engines.command(&["topics", "check"]).ok();
    assert!(told.contains("as they must be"), "{told}");
    engines
}

fn passwords(mut engines: Engines, broker: &SecuredBroker) -> Engines {
    for mechanism in ["plain", "scram-sha-256", "scram-sha-512"] {
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

/// Neither the configuration as it is printed nor a log at its most talkative shows a password.
fn hidden(engines: &Engines) {
    let printed = engines.command(&["config"]).ok();
    assert!(printed.contains("password = \"***\""), "{printed}");
    assert!(!printed.contains("horse"), "{printed}");
}

async fn delivers(engines: &Engines, uid: &str) {
    let (server, api) = match engines.path().join("data").exists() {
        true => engines.serve_again().await,
        false => engines.serve().await,
    };
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let app = api.create_app(uid).await.unwrap();
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
    refused(
        &engines.command(&["topics", "check"]),
        &["certificate verify failed"],
    );
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
