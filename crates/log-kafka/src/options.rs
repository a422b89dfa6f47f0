//! How a log is opened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use postrider_log::{Topic, TopicSpec};
use secrecy::SecretString;

use crate::{LogMetrics, OpenError, fixed};

/// How a log is opened. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// `HOST:PORT,HOST:PORT`: some of the brokers; the others are found by these.
    pub brokers: String,
    /// Stands before the name of every topic and group, so that several installations can share a cluster.
    pub topic_prefix: String,
    /// Every topic.
    pub topics: Vec<TopicSpec>,
    /// How topics are created, and what is expected of them.
    pub layout: Layout,
    /// How connections are secured.
    pub security: Security,
    /// Further properties of librdkafka by their names. Those that the log's promises rest on are refused.
    pub properties: BTreeMap<String, String>,
    /// How members of a group find each other.
    pub membership: Membership,
    /// A partition may be worked on for so long after its last acknowledged commit was sent. Well below the session
    /// timeout: at most half of it is sound.
    pub lease: Duration,
    /// The largest record: key, headers and value.
    pub record_bytes: usize,
    /// What may be on its way to the brokers; beyond it callers wait, and beyond four times as much they are refused.
    pub queue_bytes: usize,
    /// How long a caller waits for room before it is refused as busy.
    pub queue_wait: Duration,
    /// How long a record may be on its way before it counts as not written.
    pub delivery_timeout: Duration,
    /// How long a record waits for others to share its request.
    pub linger: Duration,
    /// What one member may hold in memory of records that it was sent and has not yet read.
    pub fetch_bytes: usize,
    /// What is counted.
    pub metrics: LogMetrics,
}

/// How topics are created, and what is expected of those that exist.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Partitions of each topic. Ownership of endpoints depends on it: it is not changed while anything runs.
    pub partitions: u32,
    /// Other numbers for single topics. Topics that are read together must have the same.
    pub partitions_of: BTreeMap<&'static str, u32>,
    /// Copies of each partition.
    pub replication: u32,
    /// How many copies must be in sync before a record is acknowledged.
    pub min_insync_replicas: u32,
    /// How long records are kept that groups have to finish: twice the longest wait in a topic plus the longest outage.
    pub retention: Duration,
}

impl Layout {
    /// How many partitions `topic` is to have.
    pub fn partitions_of(&self, topic: Topic) -> u32 {
        let own = self.partitions_of.get(topic.0).copied();
        own.unwrap_or(self.partitions)
    }
}

impl Default for Layout {
    /// 16 partitions, three copies of which two must be in sync, seven days.
    fn default() -> Self {
        Self {
            partitions: 16,
            partitions_of: BTreeMap::new(),
            replication: 3,
            min_insync_replicas: 2,
            retention: Duration::from_secs(7 * 86400),
        }
    }
}

/// How connections are secured.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS; none for plain connections.
    pub tls: Option<Tls>,
    /// A user's name and password; none for anonymous connections.
    pub sasl: Option<Sasl>,
}

/// TLS to the brokers.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Certificates (PEM) of those who are trusted to sign the brokers'; none for the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), where brokers ask for one.
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// What the key is encrypted with.
    pub key_password: Option<SecretString>,
}

/// Who we are.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// How it is proved.
    pub mechanism: Mechanism,
    /// The name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// It is sent as it is: only with TLS.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

/// How members of a group find each other.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Which protocol they speak.
    pub protocol: GroupProtocol,
    /// A name for this process that is the same after a restart and nobody else's: up to 200 of a-z, A-Z, 0-9, '.', '_' and
    /// '-'. With it a short restart moves no partition; without a stable name leave it out. Each member adds the first topic
    /// that it reads.
    pub instance_id: Option<String>,
}

/// The protocol of a group. All members must speak the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// KIP-848. The brokers decide on the session timeout (`group.consumer.session.timeout.ms`).
    Consumer,
    /// The older protocol; every change of members stops all of them for a moment.
    Classic {
        /// A member that was silent for so long has left.
        session_timeout: Duration,
        /// How often a member says that it is there.
        heartbeat: Duration,
    },
}

impl Options {
    /// The defaults: KIP-848, a lease of 3 s, records up to 2 MiB, 8 MiB on their way, 2 s for room and 8 s for the way
    /// (together the 10 s that a claim of an idempotency key allows), 1 ms of linger, 16 MiB for each member.
    pub fn new(brokers: impl Into<String>, topics: Vec<TopicSpec>, metrics: LogMetrics) -> Self {
        Self {
            brokers: brokers.into(),
            topic_prefix: "postrider.".to_owned(),
            topics,
            layout: Layout::default(),
            security: Security::default(),
            properties: BTreeMap::new(),
            membership: Membership {
                protocol: GroupProtocol::Consumer,
                instance_id: None,
            },
            lease: Duration::from_secs(3),
            record_bytes: 2 << 20,
            queue_bytes: 8 << 20,
            queue_wait: Duration::from_secs(2),
            delivery_timeout: Duration::from_secs(8),
            linger: Duration::from_millis(1),
            fetch_bytes: 16 << 20,
            metrics,
        }
    }

    /// Says what contradicts what, all at once.
    ///
    /// # Errors
    /// [`OpenError::Options`].
    pub fn check(&self) -> Result<(), OpenError> {
        let mut faults = Vec::new();
        let mut refuse = |wrong: bool, fault: String| {
            if wrong {
                faults.push(fault);
            }
        };
        refuse(self.brokers.is_empty(), "no brokers are given".to_owned());
        refuse(self.topics.is_empty(), "no topics are given".to_owned());
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        refuse(
            !self.topic_prefix.chars().all(legal) || self.topic_prefix.len() > 100,
            format!(
                "topic prefix {:?}: up to 100 of a-z, A-Z, 0-9, '.', '_' and '-' are possible",
                self.topic_prefix
            ),
        );
        if let Some(id) = &self.membership.instance_id {
            refuse(
                !id.chars().all(legal) || !(1..=200).contains(&id.len()),
                format!(
                    "instance id {id:?}: up to 200 of a-z, A-Z, 0-9, '.', '_' and '-' are possible"
                ),
            );
        }
        refuse(
            self.record_bytes < 1024 || self.record_bytes > 64 << 20,
            format!(
                "records of {} bytes: 1 KiB to 64 MiB are possible",
                self.record_bytes
            ),
        );
        refuse(
            self.queue_bytes < 1024 || self.queue_bytes > 1 << 30,
            format!(
                "a queue of {} bytes: 1 KiB to 1 GiB are possible",
                self.queue_bytes
            ),
        );
        let lease = Duration::from_millis(1500)..=Duration::from_secs(60);
        refuse(
            !lease.contains(&self.lease),
            format!(
                "a lease of {:?}: {lease:?} is possible, since it is renewed every second",
                self.lease
            ),
        );
        if let GroupProtocol::Classic {
            session_timeout, ..
        } = self.membership.protocol
        {
            refuse(
                self.lease * 3 / 2 > session_timeout,
                format!(
                    "a lease of {:?} is too long for a session of {session_timeout:?}: two thirds of it at most",
                    self.lease
                ),
            );
        }
        self.check_layout(&mut refuse);
        for property in self.properties.keys().filter(|name| fixed(name)) {
            refuse(
                true,
                format!(
                    "the property \"{property}\" cannot be set: the log's promises rest on it, or it has an option of its own"
                ),
            );
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(OpenError::Options(faults.join("; "))),
        }
    }

    fn check_layout(&self, refuse: &mut impl FnMut(bool, String)) {
        let layout = &self.layout;
        let counts = layout.partitions_of.values().chain([&layout.partitions]);
        for count in counts {
            refuse(
                *count == 0 || *count > 10_000,
                format!("{count} partitions: 1 to 10,000 are possible"),
            );
        }
        refuse(
            layout.replication == 0 || layout.replication > 16,
            format!(
                "{} copies of a partition: 1 to 16 are possible",
                layout.replication
            ),
        );
        refuse(
            layout.min_insync_replicas == 0 || layout.min_insync_replicas > layout.replication,
            format!(
                "{} copies in sync of {}: at least one, and no more than there are",
                layout.min_insync_replicas, layout.replication
            ),
        );
    }
}
