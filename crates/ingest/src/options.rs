//! What the configuration decides.

use std::time::Duration;

use postrider_http::BodyBudget;
use postrider_log::Limits;

/// What a record of an internal topic holds beside the payload, at most: ids, headers, URL, an answer's beginning.
const ENVELOPE_BYTES: usize = 128 << 10;

/// What the configuration decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest payload, in bytes.
    pub payload_bytes: usize,
    /// How deep the payload's JSON may be nested.
    pub json_depth: usize,
    /// Refuse events of a type that nobody registered.
    pub strict_event_types: bool,
    /// How long the log may take to acknowledge. At most 10 s: a claim on an idempotency key is longer.
    pub append_within: Duration,
    /// How long a body may take to come.
    pub body_within: Duration,
    /// What bodies that have come in part may hold together.
    pub bodies: BodyBudget,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            json_depth: 100,
            strict_event_types: false,
            append_within: Duration::from_secs(10),
            body_within: Duration::from_secs(30),
            bodies: BodyBudget::default(),
        }
    }
}

/// Why the options cannot be. For start: whoever gets one stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// An event of that size could be accepted and never delivered.
    #[error(
        "a payload limit of {payload} bytes needs records of {needed} bytes, and the log takes {record}: lower the payload limit to {fits} or raise the log's record limit"
    )]
    PayloadLimit {
        /// The limit asked for.
        payload: usize,
        /// The record size that it needs.
        needed: usize,
        /// What the log takes.
        record: usize,
        /// The largest payload limit that would fit.
        fits: usize,
    },
    /// A claim could end while its event is still being written.
    #[error("the log may be given 10 s at most to acknowledge an event, not {0:?}")]
    AppendTooLong(Duration),
}

impl Options {
    /// Checks the options against the log that they are for.
    pub(crate) fn check(&self, log: Limits) -> Result<(), OptionsError> {
        let needed = self.payload_bytes.saturating_add(ENVELOPE_BYTES);
        if needed > log.record_bytes {
            return Err(OptionsError::PayloadLimit {
                payload: self.payload_bytes,
                needed,
                record: log.record_bytes,
                fits: log.record_bytes.saturating_sub(ENVELOPE_BYTES),
            });
        }
        if self.append_within > Duration::from_secs(10) {
            return Err(OptionsError::AppendTooLong(self.append_within));
        }
        Ok(())
    }
}
