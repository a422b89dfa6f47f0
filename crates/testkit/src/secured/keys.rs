//! Authorities, and what they sign.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::ClientCertificate;

/// Of every store.
pub(super) const STORE_PASSWORD: &str = "of the keys";

/// A folder of stores: one for each name, with one key in it.
pub(super) struct Keys {
    folder: PathBuf,
}

impl Keys {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of a store.
    pub(super) fn store(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.p12"))
    }

    /// Makes an authority by this name; the file of its certificate.
    pub(super) fn authority(&self, name: &str) -> Result<PathBuf> {
        self.generate(name, &["-ext", "bc:c=ca:true"])?;
        let file = format!("{name}.pem");
        self.keytool(
            name,
            &["-exportcert", "-rfc", "-alias", name, "-file", &file],
        )?;
        Ok(self.folder.join(file))
    }

    /// Makes a key for a server, with a certificate of the authority `ca` for these hosts.
    pub(super) fn server(&self, name: &str, hosts: &str) -> Result<()> {
        self.generate(name, &[])?;
        self.sign(name, "ca", &["-ext", hosts])?;
        self.trusted(name, "ca")?;
        let signed = format!("{name}.pem");
        self.import(name, name, &signed)
    }

    /// Has the store `name` trust `authority`.
    pub(super) fn trusted(&self, name: &str, authority: &str) -> Result<()> {
        self.import(name, authority, &format!("{authority}.pem"))
    }

    /// Makes a key for a client, encrypted with `password`, and a certificate of `authority`.
    pub(super) fn client(
        &self,
        name: &str,
        authority: &str,
        password: &str,
    ) -> Result<ClientCertificate> {
        self.generate(name, &[])?;
        self.sign(name, authority, &[])?;
        let key = format!("{name}.key");
        // keytool gives no key away.
        let output = Command::new("openssl")
            .args(["pkcs12", "-nocerts", "-in"])
            .arg(self.store(name))
            .args(["-passin", &format!("pass:{STORE_PASSWORD}")])
            .args(["-passout", &format!("pass:{password}"), "-out", &key])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .context("starting openssl, which this test needs (apt-get install openssl)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl pkcs12 of {name}: {said}");
        Ok(ClientCertificate {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(key),
        })
    }

    fn generate(&self, name: &str, more: &[&str]) -> Result<()> {
        let subject = format!("CN={name}");
        let common = [
            "-genkeypair",
            "-alias",
            name,
            "-dname",
            &subject,
            "-keyalg",
            "EC",
        ];
        self.keytool(name, &[&common[..], more].concat())
    }

    /// Leaves the signed certificate in `NAME.pem`.
    fn sign(&self, name: &str, authority: &str, more: &[&str]) -> Result<()> {
        let (request, signed) = (format!("{name}.csr"), format!("{name}.pem"));
        self.keytool(name, &["-certreq", "-alias", name, "-file", &request])?;
        let sign = [
            "-gencert", "-rfc", "-alias", authority, "-infile", &request, "-outfile", &signed,
        ];
        self.keytool(authority, &[&sign[..], more].concat())
    }

    fn import(&self, name: &str, alias: &str, file: &str) -> Result<()> {
        self.keytool(
            name,
            &["-importcert", "-noprompt", "-alias", alias, "-file", file],
        )
    }

    /// Runs it on the store `name`.
    fn keytool(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let output = Command::new("keytool")
            .args(arguments)
            .arg("-keystore")
            .arg(self.store(name))
            .args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .context("starting keytool, which comes with Java")?;
        // It says what is wrong on standard output.
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "keytool {arguments:?}: {said}");
        Ok(())
    }
}
