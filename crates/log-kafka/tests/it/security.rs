//! Brokers that want to know who we are.

use std::time::{Duration, Instant};

use postrider_log::testing::conformance::{A, append, numbered, topics};
use postrider_log_kafka::{KafkaLog, Mechanism, OpenError, Sasl, ensure_topics};
use postrider_testkit::Broker;
use secrecy::SecretString;

use crate::brokers::ONE;
use crate::support::{open, options};

/// Makes the broker's one listener ask for a password.
fn with_passwords(properties: &str) -> String {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                username=\"broker\" password=\"broker\" user_broker=\"broker\" user_anna=\"correct\";";
    let asking = properties.replace("PLAINTEXT:PLAINTEXT\n", "PLAINTEXT:SASL_PLAINTEXT\n");
    format!(
        "{asking}\nsasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
         listener.name.plaintext.plain.sasl.jaas.config={jaas}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_ends_the_start_with_words_and_the_right_one_works() {
    let _one = ONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path()).await.unwrap();
    broker.stop().await.unwrap();
    let file = dir.path().join("broker-1/server.properties");
    let properties = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, with_passwords(&properties)).unwrap();
    broker.restart().await.unwrap();

    let mut options = options(&broker.address(), topics());
    let anna = |password: &str| Sasl {
        mechanism: Mechanism::Plain,
        username: "anna".to_owned(),
        password: SecretString::from(password.to_owned()),
    };
    options.security.sasl = Some(anna("wrong"));
    let begun = Instant::now();
    let made = ensure_topics(&options).await.unwrap_err();
    let opened = KafkaLog::open(options.clone()).await.err().unwrap();
    for refused in [made, opened] {
        assert!(matches!(refused, OpenError::Refused { .. }), "{refused:?}");
        let words = refused.to_string();
        assert!(words.contains("does not let us in"), "{words}");
        assert!(!words.contains("wrong"), "{words}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it was waited for"
    );

    options.security.sasl = Some(anna("correct"));
    let log = open(&options).await;
    append(&*log, numbered(A, 3, 0, 10)).await;
}
