//! The log on Apache Kafka, by `rdkafka`, for any number of processes.
//!
//! **In → out.** Appends go through one idempotent producer, acknowledged by all in-sync replicas. Each subscription is
//! one member of a consumer group with a thread of its own, which polls without a break; records go from librdkafka's
//! queue of their partition straight to the reader. A completion's outputs are acknowledged first, its positions
//! committed after, with their metadata; whatever waits to be committed goes in one commit.
//!
//! **Invariants.** A record's partition is computed from its key and the configured number of partitions. Partition n of
//! all topics of a subscription is owned by one member, and told of only once its first commit was acknowledged. A
//! partition may be worked on only while its lease lasts: [`Options::lease`] after the sending of its last acknowledged
//! commit, on a clock that counts suspension; every partition is committed every second, changed or not. A rebalance's
//! callback only marks; partitions go back to the group when they were released.
//!
//! **Authority.** Kafka: its records, its groups' positions. What is acknowledged is on all in-sync replicas, not on
//! their disks. Nothing is kept here but what is on its way; outputs whose positions were not committed are written
//! again by the next owner, who drops what it knows.
//!
//! **Failure.** Brokers that do not answer make callers wait, and refuse them past a bound in bytes and time
//! ([`LogError::Busy`]); what was taken and not acknowledged in time may be there or not ([`LogError::Unacknowledged`]);
//! everything is tried again for ever. A stale epoch is ordinary and is committed again; a member that was
//! fenced or forgotten, or whose commits are not acknowledged, loses its partitions ([`Polled::Lost`]) and joins anew.
//! Records that were removed before they were read are counted and told of ([`LogError::Trimmed`]), and reading goes on
//! behind them. While a member drains, what it keeps is read on, by a client that knows of no group.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod access;
mod ages;
mod asking;
mod brokers;
mod catalog;
mod clock;
mod config;
mod error;
mod follower;
mod inspector;
mod lags;
mod log;
mod member;
mod metrics;
mod newest;
mod onlooker;
mod options;
mod partitioner;
mod peek;
mod producer;
mod progress;
mod record;
mod room;
mod shared;
mod skew;
mod surplus;
mod topics;

pub use access::{Access, check_access};
pub use asking::reach;
pub use brokers::check_brokers;
pub use error::OpenError;
pub use log::KafkaLog;
pub use metrics::{LogMetrics, Misplaced};
pub use newest::newest_records;
pub use options::{GroupProtocol, Layout, Mechanism, Membership, Options, Sasl, Security, Tls};
pub use partitioner::partition_of;
pub use topics::{check_topics, ensure_topics, is_bearable, missing_topics};

use config::fixed;
#[cfg(doc)]
use postrider_log::{LogError, Polled};
