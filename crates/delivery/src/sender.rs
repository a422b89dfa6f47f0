//! The port through which an attempt leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_model::{Delivery, Timestamp, TraceContext};

use crate::Target;

/// One attempt, ready to go.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to, and how.
    pub target: Arc<Target>,
    /// What.
    pub delivery: Arc<Delivery>,
    /// The trace context of this attempt; `None`: that which the delivery carries.
    pub trace: Option<Box<TraceContext>>,
    /// The time that is signed.
    pub at: Timestamp,
    /// The whole attempt's time, from the name's resolution to the last byte of the answer.
    pub timeout: Duration,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the endpoint asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, raw.
    pub body: Bytes,
}

/// Why there is no answer, in words that its owner may read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No complete answer within the timeout.
    #[error("{0}")]
    TimedOut(String),
    /// No connection, a broken one, or no HTTP on it.
    #[error("{0}")]
    Unreachable(String),
    /// The address is not one that may be called.
    #[error("{0}")]
    Forbidden(String),
    /// Our own side failed. Nothing was sent.
    #[error("{0}")]
    OwnFault(String),
}

/// Makes one attempt. Ends within the timeout that it is given, whatever the endpoint does.
pub trait Sender: Send + Sync + 'static {
    /// Sends and reads the answer.
    fn send(&self, outgoing: Outgoing) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Lookups of names that wait for their turn.
    fn lookups_waiting(&self) -> usize {
        0
    }
}
