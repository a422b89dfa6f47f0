//! A Kafka broker that wants to know who we are, and says who it is: listeners with TLS, with passwords over TLS, and with
//! certificates of those who come. And one that asks what each may do.
//!
//! All certificates are signed by an authority made for it, by `keytool`, which comes with Java.

mod keys;
mod limited;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use self::keys::{Keys, STORE_PASSWORD};
pub use self::limited::LimitingBroker;
use crate::Broker;

/// One node with several listeners. Killed when it is dropped.
#[derive(Debug)]
pub struct SecuredBroker {
    _broker: Broker,
    /// `HOST:PORT` that speaks TLS.
    pub tls: String,
    /// `HOST:PORT` that speaks TLS and wants [`SecuredBroker::USER`] with [`SecuredBroker::PASSWORD`], by PLAIN or SCRAM
    /// (SHA-256 and SHA-512).
    pub passwords: String,
    /// `HOST:PORT` that speaks TLS and wants a certificate that `ca` has signed.
    pub mutual: String,
    /// `HOST:PORT` that speaks TLS with a certificate that `ca` has signed for another host.
    pub elsewhere: String,
    /// The certificate (PEM) of who signed the broker's.
    pub ca: PathBuf,
    /// That of somebody else.
    pub other_ca: PathBuf,
    /// Signed by `ca`. Its key is encrypted with [`SecuredBroker::KEY_PASSWORD`].
    pub client: ClientCertificate,
    /// Signed by `other_ca`; likewise.
    pub stranger: ClientCertificate,
}

/// What a client shows.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The certificate (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM), encrypted.
    pub key: PathBuf,
}

impl SecuredBroker {
    /// Who is known to it.
    pub const USER: &'static str = "anna";
    /// What proves it.
    pub const PASSWORD: &'static str = "correct-horse-battery";
    /// What keys of clients are encrypted with.
    pub const KEY_PASSWORD: &'static str = "staple-horse-key";

    /// Starts it, with its data in `dir`, which is wiped.
    ///
    /// # Errors
    /// As [`Broker::start`], or if `keytool` or `openssl` is missing.
    pub async fn start(dir: &Path) -> Result<Self> {
        let folder = dir.join("keys");
        fs::create_dir_all(&folder)?;
        let keys = Keys::new(folder);
        let ca = keys.authority("ca")?;
        let other_ca = keys.authority("other")?;
        keys.server("broker", "san=ip:127.0.0.1,dns:localhost")?;
        keys.server("elsewhere", "san=dns:elsewhere.example")?;
        keys.trusted("trusted", "ca")?;
        let client = keys.client("client", "ca", Self::KEY_PASSWORD)?;
        let stranger = keys.client("stranger", "other", Self::KEY_PASSWORD)?;
        let scram =
            |hash: &str| format!("{hash}=[name={},password={}]", Self::USER, Self::PASSWORD);
        let (of_256, of_512) = (scram("SCRAM-SHA-256"), scram("SCRAM-SHA-512"));
        let (broker, addresses) = Broker::start_with_ways_in(
            dir,
            &[
                "TLS:SSL",
                "PASSWORDS:SASL_SSL",
                "MUTUAL:SSL",
                "ELSEWHERE:SSL",
            ],
            &properties(&keys),
            &["--add-scram", &of_256, "--add-scram", &of_512],
        )
        .await?;
        let [tls, passwords, mutual, elsewhere] = addresses.as_slice() else {
            bail!("four ways in were asked for");
        };
        Ok(Self {
            _broker: broker,
            tls: tls.to_string(),
            passwords: passwords.to_string(),
            mutual: mutual.to_string(),
            elsewhere: elsewhere.to_string(),
            ca,
            other_ca,
            client,
            stranger,
        })
    }
}

fn properties(keys: &Keys) -> String {
    let modules = "org.apache.kafka.common.security";
    let store = |prefix: &str, kind: &str, name: &str| {
        let file = keys.store(name);
        format!(
            "{prefix}ssl.{kind}.type=PKCS12\n\
             {prefix}ssl.{kind}.location={}\n\
             {prefix}ssl.{kind}.password={STORE_PASSWORD}\n",
            file.display()
        )
    };
    let of_listener = |name: &str| format!("listener.name.{name}.");
    let passwords = of_listener("passwords");
    [
        store("", "keystore", "broker"),
        format!("ssl.key.password={STORE_PASSWORD}\n"),
        store(&of_listener("elsewhere"), "keystore", "elsewhere"),
        format!("{}ssl.key.password={STORE_PASSWORD}\n", of_listener("elsewhere")),
        store(&of_listener("mutual"), "truststore", "trusted"),
        format!("{}ssl.client.auth=required\n", of_listener("mutual")),
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n".to_owned(),
        format!(
            "{passwords}plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{}=\"{}\";\n",
            SecuredBroker::USER,
            SecuredBroker::PASSWORD
        ),
        format!("{passwords}scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n"),
        format!("{passwords}scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n"),
    ]
    .concat()
}
