//! A Kafka broker that wants to know who we are, and says who it is: listeners with TLS, and with passwords over TLS.
//!
//! Its certificate is signed by an authority made for it; both by `keytool`, which comes with Java.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::Broker;

const STORE_PASSWORD: &str = "of the keys";

/// One node with several listeners. Killed when it is dropped.
#[derive(Debug)]
pub struct SecuredBroker {
    _broker: Broker,
    /// `HOST:PORT` that speaks TLS.
    pub tls: String,
    /// `HOST:PORT` that speaks TLS and wants [`SecuredBroker::USER`] with [`SecuredBroker::PASSWORD`], by PLAIN or
    /// SCRAM-SHA-512.
    pub passwords: String,
    /// The certificate (PEM) of who signed the broker's.
    pub ca: PathBuf,
    /// That of somebody else.
    pub other_ca: PathBuf,
}

impl SecuredBroker {
    /// Who is known to it.
    pub const USER: &'static str = "anna";
    /// What proves it.
    pub const PASSWORD: &'static str = "correct-horse-battery";

    /// Starts it, with its data in `dir`, which is wiped.
    ///
    /// # Errors
    /// As [`Broker::start`], or if `keytool` is missing.
    pub async fn start(dir: &Path) -> Result<Self> {
        let keys = dir.join("keys");
        fs::create_dir_all(&keys)?;
        let ca = authority(&keys, "ca")?;
        let other_ca = authority(&keys, "other")?;
        certificate(&keys)?;
        let user = format!(
            "SCRAM-SHA-512=[name={},password={}]",
            Self::USER,
            Self::PASSWORD
        );
        let (broker, addresses) = Broker::start_with_ways_in(
            dir,
            &["TLS:SSL", "PASSWORDS:SASL_SSL"],
            &properties(&keys.join("broker.p12")),
            &["--add-scram", &user],
        )
        .await?;
        let [tls, passwords] = addresses.as_slice() else {
            bail!("two ways in were asked for");
        };
        Ok(Self {
            _broker: broker,
            tls: tls.to_string(),
            passwords: passwords.to_string(),
            ca,
            other_ca,
        })
    }
}

fn properties(store: &Path) -> String {
    let modules = "org.apache.kafka.common.security";
    format!(
        "ssl.keystore.type=PKCS12\n\
         ssl.keystore.location={}\n\
         ssl.keystore.password={STORE_PASSWORD}\n\
         ssl.key.password={STORE_PASSWORD}\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
         listener.name.passwords.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{}=\"{}\";\n\
         listener.name.passwords.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n",
        store.display(),
        SecuredBroker::USER,
        SecuredBroker::PASSWORD,
    )
}

/// Makes an authority by this name; the file of its certificate.
fn authority(keys: &Path, name: &str) -> Result<PathBuf> {
    let store = format!("{name}.p12");
    keytool(
        keys,
        &store,
        &[
            "-genkeypair",
            "-alias",
            name,
            "-dname",
            &format!("CN={name}"),
            "-keyalg",
            "EC",
            "-ext",
            "bc:c=ca:true",
        ],
    )?;
    let file = format!("{name}.pem");
    keytool(
        keys,
        &store,
        &["-exportcert", "-rfc", "-alias", name, "-file", &file],
    )?;
    Ok(keys.join(file))
}

/// Makes the broker's key, and has its certificate signed by the authority `ca`.
fn certificate(keys: &Path) -> Result<()> {
    let own = "broker.p12";
    let names = ["-ext", "san=ip:127.0.0.1,dns:localhost"];
    keytool(
        keys,
        own,
        &[
            "-genkeypair",
            "-alias",
            "broker",
            "-dname",
            "CN=broker",
            "-keyalg",
            "EC",
        ],
    )?;
    keytool(
        keys,
        own,
        &["-certreq", "-alias", "broker", "-file", "broker.csr"],
    )?;
    let sign = [
        "-gencert",
        "-rfc",
        "-alias",
        "ca",
        "-infile",
        "broker.csr",
        "-outfile",
        "broker.pem",
    ];
    keytool(keys, "ca.p12", &[&sign[..], &names].concat())?;
    keytool(
        keys,
        own,
        &[
            "-importcert",
            "-noprompt",
            "-alias",
            "ca",
            "-file",
            "ca.pem",
        ],
    )?;
    keytool(
        keys,
        own,
        &[
            "-importcert",
            "-noprompt",
            "-alias",
            "broker",
            "-file",
            "broker.pem",
        ],
    )
}

fn keytool(keys: &Path, store: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new("keytool")
        .args(arguments)
        .args(["-keystore", store, "-storetype", "PKCS12"])
        .args(["-storepass", STORE_PASSWORD])
        .current_dir(keys)
        .stdin(Stdio::null())
        .output()
        .context("starting keytool, which comes with Java")?;
    // It says what is wrong on standard output.
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "keytool {arguments:?}: {said}");
    Ok(())
}
