//! The types of values that only the log on Kafka has.

use std::collections::BTreeMap;
use std::fmt;

use super::kinds::choice;
use super::value::{Value, quoted};

/// `HOST:PORT` of some brokers; empty where there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brokers(Vec<String>);

impl Brokers {
    /// True if none is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Value for Brokers {
    const EXPECTED: &'static str = "brokers such as kafka-1:9092,kafka-2:9092";

    fn read(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let broker = |part: &str| match part.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(part.to_owned())
            }
            _ => Err(format!("\"{part}\" is no host with a port")),
        };
        parts.map(broker).collect::<Result<_, _>>().map(Self)
    }

    fn toml(&self) -> String {
        let brokers = self.0.iter().map(|broker| quoted(broker));
        format!("[{}]", brokers.collect::<Vec<_>>().join(", "))
    }
}

/// What stands before the names of topics and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPrefix(pub(crate) String);

impl Value for TopicPrefix {
    const EXPECTED: &'static str = "up to 100 of a-z, A-Z, 0-9, '.', '_' and '-'";

    fn read(text: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text.len() <= 100 && text.chars().all(legal) {
            true => Ok(Self(text.to_owned())),
            false => Err(String::new()),
        }
    }

    fn toml(&self) -> String {
        quoted(&self.0)
    }
}

/// A name without blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) String);

/// Empty text is none.
impl Value for Option<Word> {
    const EXPECTED: &'static str = "a name without blanks, or nothing";

    fn read(text: &str) -> Result<Self, String> {
        match text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            true => Err(String::new()),
            false => Ok((!text.is_empty()).then(|| Word(text.to_owned()))),
        }
    }

    fn toml(&self) -> String {
        quoted(self.as_ref().map_or("", |word| &word.0))
    }
}

choice! {
    /// How connections are secured.
    SecurityProtocol: "plaintext, ssl, sasl_plaintext or sasl_ssl" {
        /// Not at all.
        Plaintext = "plaintext",
        /// TLS.
        Ssl = "ssl",
        /// A name and a password.
        SaslPlaintext = "sasl_plaintext",
        /// Both.
        SaslSsl = "sasl_ssl",
    }
}

impl SecurityProtocol {
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    pub(crate) fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

choice! {
    /// How a password is proved.
    SaslMechanism: "plain, scram-sha-256 or scram-sha-512" {
        /// It is sent.
        Plain = "plain",
        /// SCRAM with SHA-256.
        ScramSha256 = "scram-sha-256",
        /// SCRAM with SHA-512.
        ScramSha512 = "scram-sha-512",
    }
}

choice! {
    /// How members of a group find each other.
    GroupKind: "consumer or classic" {
        /// KIP-848.
        Consumer = "consumer",
        /// The older one.
        Classic = "classic",
    }
}

/// Properties of librdkafka by name. None of them is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

/// What is set in the place of a property that has a key of its own, or may hold a secret: properties stand where everybody
/// may read them, such as in a ConfigMap.
fn instead_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "security.protocol" => "log.kafka.protocol is its key",
        "sasl.password" => "log.kafka.password is its key",
        "ssl.key.password" => "log.kafka.key_password is its key",
        "ssl.key.pem" => "write it into a file, and name that in log.kafka.key",
        "ssl.keystore.password" | "ssl.keystore.location" => {
            "write the store's certificate and key into files (openssl pkcs12), and name those in log.kafka.certificate \
             and log.kafka.key"
        }
        _ if name.contains("oauthbearer") => {
            "log.kafka.sasl_mechanism takes plain, scram-sha-256 and scram-sha-512"
        }
        _ if is_secret(name) => "it may hold a secret, for which there is no key",
        _ => return None,
    })
}

/// Whether a property's value may be a secret, by its name.
fn is_secret(name: &str) -> bool {
    ["password", "passphrase", "secret", "token", "private"]
        .iter()
        .any(|part| name.contains(part))
}

impl Value for Properties {
    const EXPECTED: &'static str =
        "properties such as client.rack=a;socket.timeout.ms=30000, separated by semicolons";
    // What is refused may be one.
    const SECRET: bool = true;
    const TABLE: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let mut properties = BTreeMap::new();
        for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(String::new)?;
            let (name, value) = (name.trim(), value.trim());
            if let Some(instead) = instead_of(name) {
                return Err(format!("{name} is not set here: {instead}"));
            }
            properties.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self(properties))
    }

    fn toml(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        quoted(&pairs.collect::<Vec<_>>().join(";"))
    }
}
