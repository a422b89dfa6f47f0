//! The port to the log: partitioned, keyed, ordered records; consumer groups; commits with metadata.
//!
//! **In → out.** Services append [`NewRecord`]s and read [`Record`]s by group; what they finish and what follows from
//! it go back together, by [`Committer::complete`].
//!
//! **Invariants.** Records of one key keep their order. A position never goes back and never names two records.
//! The outputs of a completion are durable before, or in the same commit as, the positions that they finish.
//! `Ordered` records become durable in the order in which they were written.
//!
//! **Authority.** The log is the truth of everything in flight. A kill of the process loses nothing that was
//! acknowledged; loss of power loses at most a suffix of what was `Ordered`.
//!
//! **Failure.** [`LogError`] is divided by what the caller does next. A log that cannot write says so and stops; it
//! never tries a failed fsync again. Every wait here can be cancelled without losing a record.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod attentive;
mod batch;
mod epochs;
mod error;
mod gather;
mod lately;
mod oversize;
mod patience;
mod port;
mod portion;
mod rejected;
#[cfg(feature = "testing")]
pub mod testing;
mod turns;

pub use attentive::Attentive;
pub use batch::Batch;
pub use epochs::Epochs;
pub use error::LogError;
pub use gather::{Gatherer, Gathering};
pub use lately::Lately;
pub use oversize::shrink;
pub use patience::{
    complete_or_less, complete_patiently, patiently, patiently_unless, sync_patiently,
};
pub use port::{
    Assignment, BatchLimit, Committed, Committer, Completion, Durability, Followed, Follower, Lag,
    Limits, Log, Polled, Progress, Purpose, Reader, Subscription, Tenure, Weighted,
};
pub use portion::Portion;
pub use postrider_model::topics::{Keep, TopicSpec};
pub use postrider_model::{
    Backoff, Group, Headers, NewRecord, Partition, Position, Record, Topic, TopicPartition,
};
pub use rejected::{fits, rejected, rejected_event};
pub use turns::Turns;
