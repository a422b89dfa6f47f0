//! A Kafka broker that asks what each user may do.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::SecuredBroker;
use crate::Broker;
use crate::kafka::required;

/// Adds and removes what its lines say, in one Java process: each start of the broker's own command takes seconds.
const ACLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/Acls.java");

/// One node with two ways in. Killed when it is dropped.
#[derive(Debug)]
pub struct LimitingBroker {
    broker: Broker,
    /// `HOST:PORT` that wants one of its users with [`SecuredBroker::PASSWORD`], by PLAIN and without TLS.
    pub passwords: String,
}

impl LimitingBroker {
    /// Starts it, with its data in `dir`, which is wiped. Its users may do nothing but what they are granted.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start(dir: &Path, users: &[&str]) -> Result<Self> {
        let known = users.iter();
        let known = known.map(|user| format!(" user_{user}=\"{}\"", SecuredBroker::PASSWORD));
        let properties = format!(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.passwords.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required{};\n",
            known.collect::<String>()
        );
        let ways_in = &["PASSWORDS:SASL_PLAINTEXT"];
        let (broker, addresses) =
            Broker::start_with_ways_in(dir, ways_in, &properties, &[]).await?;
        let [passwords] = addresses.as_slice() else {
            bail!("one more way in was asked for");
        };
        Ok(Self {
            broker,
            passwords: passwords.to_string(),
        })
    }

    /// `HOST:PORT` where everybody may do everything.
    #[must_use]
    pub fn open(&self) -> String {
        self.broker.address()
    }

    /// Grants or takes back, line by line: `+` or `-`, a user, an operation (`READ`), `TOPIC` or `GROUP`, and a name, or the
    /// beginning of one with `*` behind it.
    ///
    /// # Errors
    /// If the broker refuses.
    pub async fn change(&self, lines: &str) -> Result<()> {
        let jars = required("POSTRIDER_TEST_KAFKA_JARS")?;
        let mut java = Command::new("java")
            .args(["-cp", &format!("{jars}/*"), ACLS, &self.open()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting java")?;
        let mut input = java.stdin.take().context("no way into java")?;
        input.write_all(lines.as_bytes()).await?;
        drop(input);
        let output = java.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{lines}: {said}");
        Ok(())
    }
}
