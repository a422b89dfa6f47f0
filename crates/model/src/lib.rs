//! The words that all of Postrider shares: ids, events, endpoints, deliveries, attempts, dead letters.
//!
//! **In → out.** Bytes of a record in, typed values out, and back; nothing here waits, reads or writes, but that
//! [`is_held`] looks at a lock.
//!
//! **Invariants.** An id of one kind is never taken for another. A delivery changes only through its named
//! constructors. Writing an attempt or a dead letter twice is harmless, because their ids are derived.
//!
//! **Authority.** `proto/` is the authority for what travels between services; [`topics`] for where it travels.
//! What a newer version wrote is read by an older one: unknown fields are skipped, unknown enum values have a
//! defined reading.
//!
//! **Failure.** Decoding returns a [`Malformed`] that says which field was wrong. Nothing panics.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod attempt;
mod backoff;
mod clock;
mod cloudevent;
mod codec;
#[cfg(test)]
mod codec_tests;
mod dead_letter;
mod delivery;
mod endpoint;
mod endpoint_state;
mod event;
mod fanout;
mod id;
mod incoming;
mod json;
mod lock;
mod names;
mod options;
mod record;
mod refused;
mod rejected_id;
mod schedule;
mod tiers;
mod time;
pub mod topics;
mod trace;
mod wire;

/// The generated types of `proto/postrider/v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/postrider.v1.rs"));
}

pub use attempt::{Attempt, Health, Outcome};
pub use backoff::Backoff;
pub use clock::{Clock, SystemClock, TestClock};
pub use cloudevent::{CloudEvent, Published, StructuredEvent};
pub use codec::Malformed;
pub use dead_letter::{DeadLetter, DeathReason};
pub use delivery::{Class, Delivery, Trigger};
pub use endpoint::{Disabled, Endpoint, EndpointPolicy, EndpointSecret, SecretText};
pub use endpoint_state::{BreakerState, EndpointState};
pub use event::{Event, EventOrigin, Rematch};
pub use fanout::Fanout;
pub use id::{
    AppId, AttemptId, DeadLetterId, DeliveryId, EndpointId, EventId, Id, IdError, IdKind, ReplayId,
    TokenId,
};
pub use incoming::{Foreign, Incoming, IntakeLimits, RECORD_ID, again, record_id, waiting};
pub use json::is_within_depth;
pub use lock::is_held;
pub use names::{Channel, EventType, NameError, Uid};
pub use options::{OptionsError, out_of_range};
pub use record::{
    CUT, Group, Headers, NULL_VALUE, NewRecord, Partition, Position, Record, Topic, TopicPartition,
    VALUE_LEFT_OUT,
};
pub use refused::{Refused, RefusedFor};
pub use rejected_id::RejectedId;
pub use schedule::{Schedule, ScheduleError};
pub use tiers::{MAX_HOPS, tier_for};
pub use time::Timestamp;
pub use trace::TraceContext;
