//! The delivery worker: makes every delivery's attempts, signed, and never lets one endpoint delay another.
//!
//! **In → out.** Records of the `deliveries` topics come in. Out go attempts over HTTP, and with each finished record,
//! in one [`Completion`](postrider_log::Completion), what follows from it: an attempt, and a retry, a parked delivery or
//! a dead letter where there is one. The chain, in the order in which a record meets it: `reader` → `dispatcher::admit`
//! → `lane` → `dispatcher::start` → `attempt` → `sender` (`http`) → `classify` → `dispatcher::settle` → `finisher`.
//!
//! **Invariants.** The reader never waits for a lane; what a lane cannot take within seconds is parked in the log, which
//! costs no attempt. An attempt starts only while its partition's lease lasts, its outcome can be written, and its
//! deadline has not passed. An endpoint is judged by a snapshot at least as new as the delivery; unknown or disabled is a
//! verdict only on a fresh one. Memory, sockets and unfinished records are bounded, with a share of the sockets kept for
//! endpoints that answer. An idle endpoint costs nothing.
//!
//! **Authority and crashes.** The log is the truth: a record is finished when what follows from it is written. After a
//! kill, what was in flight is sent again, and what was answered within the last milliseconds before it (50 at most,
//! more on an overloaded machine), which no commit said yet: its metadata names what is finished above the watermark.
//! Where a log writes outputs before positions, what somebody's crash wrote twice is passed over (`repeats`). Breakers
//! and reserved slots are published every second and restored: on one machine always, on several if their owner handed
//! them over, states first and the last commit after, with one nonce in both. What was not handed over starts
//! cautiously, and nothing is kept or published of an endpoint whose partition is gone.
//!
//! **Failing and stopping.** While the log takes nothing (busy, full) nothing is started and reading pauses; when it
//! ends, so does the worker, with [`DeliveryError`]. Told to stop, it starts nothing, lets attempts end up to
//! [`Options::drain`], writes what they came to, and returns. What the log does not take by then is done again after the
//! next start.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod attempt;
mod breaker;
mod classify;
mod concurrency;
mod dispatcher;
mod emptied;
mod endpoints;
mod failures;
mod faults;
mod finished;
mod finished_map;
mod finisher;
mod handover;
mod http;
mod judging;
mod lane;
mod metrics;
mod now;
mod options;
mod pace;
mod parked;
mod parking;
mod partitions;
mod pool;
mod proven;
mod queue;
mod rate;
mod reader;
mod repeats;
mod retry_after;
mod sender;
mod set_back;
mod skips;
mod sockets;
mod state;
mod target;
mod traced;
mod tracker;
mod turnover;
mod worker;

pub use breaker::{Admission, Breaker, BreakerPolicy};
pub use classify::{LONGEST_RETRY_AFTER, Verdict, outcome, verdict};
pub use concurrency::Concurrency;
pub use endpoints::{Endpoints, Freshness};
pub use handover::Owner;
pub use http::{HttpOptions, HttpSender, NoClient};
pub use lane::{Lane, LaneLimits, Next, Offered, Standing, Terms};
pub use metrics::{ByDeath, ByOutcome, DeliveryMetrics, ParkReason};
pub use now::Now;
pub use options::Options;
pub use parked::Parked;
pub use parking::Parking;
pub use queue::{Queue, Waiting};
pub use rate::RateLimiter;
pub use sender::{Answer, Failure, Outgoing, Sender};
pub use target::{NotReady, Target};
pub use tracker::Tracker;
pub use worker::{DeliveryError, Worker};
