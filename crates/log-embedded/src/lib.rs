//! The embedded log: SQLite in a file of its own, for one process.
//!
//! **In → out.** Appends and completions of any number of callers go to one writer thread, which commits everything
//! that waits in one transaction; readers are handed the tail of each topic from memory, and read from the file what
//! lies behind it.
//!
//! **Invariants.** One partition a topic; the rowid is the position. A record is seen by readers in the order of its
//! position, never before its commit, and one that was asked to be synced never before its fsync. Outputs and the
//! positions that they finish are one commit. The next position is written in the same commit as a trim, so it does not
//! fall back when no record is left. What is read never has a gap or a repeat where file and memory meet. Values of one
//! append that end alike are written once, and read as they were written.
//!
//! **Authority.** `log.db` with its `-wal`. Everything committed survives a kill of the process; what was `Synced`, and
//! everything before it, survives loss of power. The tails are a copy and are bounded ([`Options::tail_bytes`]).
//! `log.db` never shrinks: pages that a trim frees are used again.
//!
//! **Failure.** A full disk refuses what does not fit ([`LogError::Full`]), says so ([`Log::shortage`]), and passes. Any other error of a commit, an
//! fsync or a checkpoint stops the log for good: every call returns [`LogError::Stopped`], and nothing is tried again.
//! [`Log::close`], or dropping the log, writes what was taken, syncs, and ends the threads.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod catalog;
mod checkpoint;
mod codec;
mod committer;
mod disk;
mod ending;
mod error;
mod follower;
mod inspect;
mod lags;
mod lock;
mod log;
mod metrics;
mod open;
mod options;
mod queue;
mod reader;
mod schema;
mod shared;
mod shortage;
mod sizes;
mod space;
mod state;
mod syncer;
mod tail;
mod transaction;
mod trim;
mod wal;
mod writer;

pub use error::OpenError;
pub use inspect::{Inspected, inspect};
pub use log::EmbeddedLog;
pub use metrics::LogMetrics;
pub use options::Options;
#[cfg(doc)]
use postrider_log::Log;
use postrider_log::LogError;

fn closed() -> LogError {
    LogError::Stopped("it was closed".to_owned())
}
