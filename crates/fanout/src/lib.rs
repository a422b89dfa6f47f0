//! Fan-out: joins events against who wants them, and emits a delivery for each.
//!
//! **In → out.** `events` in; `deliveries` and one record in `fanouts` for each event out, and `events.rejected` for what
//! cannot be read or belongs to nobody.
//!
//! **Invariants.** The registry is brought up to date after a batch was read and before it is matched, so an endpoint made
//! before an event was accepted gets it. A delivery's id derives from (event, endpoint). An event's position is finished
//! in the same commit as its deliveries, or after them. An event with many matches goes out in parts, each behind what
//! else waits.
//!
//! **Authority.** The log: nothing is kept here, and a crash repeats nothing that was committed.
//!
//! **Failure.** With the store down it goes on with the snapshot that it has, and leaves a record that matches the event
//! once more when the store is back. With the log full or busy it waits. A bad record is set aside with its reason and
//! stops nobody. At shutdown the batch in hand is finished.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod matching;
mod metrics;
mod options;
mod pending;
mod service;
#[cfg(test)]
mod tests;

pub use metrics::{FanoutMetrics, Rejected};
pub use options::Options;
pub use service::{FanoutError, run};
