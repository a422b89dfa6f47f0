//! One HTTP try, and how it ended.

use std::time::Duration;

use bytes::Bytes;

use crate::codec::{self, Malformed};
use crate::wire::{Fields, Sink};
use crate::{
    AppId, AttemptId, DeliveryId, EndpointId, EventId, EventType, NewRecord, Timestamp, Trigger,
    proto, topics,
};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// 2xx.
    Succeeded,
    /// 410: failed, and the endpoint is disabled.
    Gone,
    /// 3xx: failed, not followed.
    Redirected,
    /// 429, 502, 503, 504: failed, and the lane slows down.
    Throttled,
    /// Any other status: failed, retried.
    Refused,
    /// A status that the endpoint's policy lists as final.
    Final,
    /// No complete answer within the timeout: failed, and the lane slows down.
    TimedOut,
    /// No connection, a broken one, or no HTTP on it.
    Unreachable,
    /// The address is not one that may be called.
    Forbidden,
    /// Our own side failed before anything was sent. Never charged to the endpoint.
    OwnFault,
}

impl Outcome {
    /// Every outcome, for metrics and tables.
    pub const ALL: [Self; 10] = [
        Self::Succeeded,
        Self::Gone,
        Self::Redirected,
        Self::Throttled,
        Self::Refused,
        Self::Final,
        Self::TimedOut,
        Self::Unreachable,
        Self::Forbidden,
        Self::OwnFault,
    ];

    /// The outcome as a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Gone => "gone",
            Self::Redirected => "redirected",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Final => "final",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::OwnFault => "own_fault",
        }
    }

    /// True for 2xx.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// What it says of the endpoint's health. The only place that decides it: its breaker and who disables it go by it.
    pub const fn health(self) -> Health {
        match self {
            Self::Succeeded | Self::Final => Health::Well,
            Self::Gone
            | Self::Redirected
            | Self::Throttled
            | Self::Refused
            | Self::TimedOut
            | Self::Unreachable => Health::Failing,
            Self::Forbidden => Health::Barred,
            Self::OwnFault => Health::Unknown,
        }
    }
}

/// What an outcome says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does its work: it took the delivery, or answered what its owner calls final.
    Well,
    /// It was asked and failed.
    Failing,
    /// It was not asked, because of the address that it has: nothing is spared by asking seldom, and it gets nothing.
    Barred,
    /// Nothing.
    Unknown,
}

impl Health {
    /// True if an endpoint of which nothing else is heard is to be disabled in the end.
    pub const fn is_charged(self) -> bool {
        match self {
            Self::Failing | Self::Barred => true,
            Self::Well | Self::Unknown => false,
        }
    }
}

/// One HTTP try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Derived from (delivery, generation, number).
    pub id: AttemptId,
    /// What was tried.
    pub delivery_id: DeliveryId,
    /// Which run through the schedule.
    pub generation: u64,
    /// 1 for the first try of a generation.
    pub number: u32,
    /// The event.
    pub event_id: EventId,
    /// Whose it is.
    pub app_id: AppId,
    /// Where it went.
    pub endpoint_id: EndpointId,
    /// The event's type.
    pub event_type: EventType,
    /// The endpoint's version whose URL, secret and policy were used.
    pub endpoint_version: u64,
    /// The URL that was called.
    pub url: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer's status, if there was one.
    pub status_code: Option<u16>,
    /// The beginning of the answer's body, raw.
    pub response_body: Bytes,
    /// What went wrong, in words, where there was no answer; else empty.
    pub error: String,
    /// When the next attempt is due, if there is one.
    pub next_attempt_at: Option<Timestamp>,
    /// What asked for it.
    pub trigger: Trigger,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// True when the delivery became a dead letter with this attempt.
    pub exhausted: bool,
}

impl Attempt {
    /// The same without the answer's body, for a log that takes no record of its size.
    pub fn without_answer(self) -> Self {
        Self {
            response_body: Bytes::new(),
            ..self
        }
    }

    /// The record for `attempts`.
    pub fn to_record(&self) -> NewRecord {
        self.record(topics::ATTEMPTS, self.endpoint_id)
    }

    /// The attempt in a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Malformed> {
        let given: proto::Attempt = codec::decode("attempt", value)?;
        Ok(Self {
            id: codec::id("id", &given.id)?,
            delivery_id: codec::id("delivery_id", &given.delivery_id)?,
            generation: given.generation,
            number: given.number,
            event_id: codec::id("event_id", &given.event_id)?,
            app_id: codec::id("app_id", &given.app_id)?,
            endpoint_id: codec::id("endpoint_id", &given.endpoint_id)?,
            event_type: given
                .event_type
                .parse()
                .map_err(|error| Malformed::field("event_type", error))?,
            endpoint_version: given.endpoint_version,
            started_at: Timestamp::from_millis(given.started_at_ms),
            duration: Duration::from_millis(given.duration_ms.into()),
            outcome: given.outcome().into(),
            status_code: status("status_code", given.status_code)?,
            next_attempt_at: (given.next_attempt_at_ms != 0)
                .then(|| Timestamp::from_millis(given.next_attempt_at_ms)),
            trigger: given.trigger().into(),
            accepted_at: Timestamp::from_millis(given.accepted_at_ms),
            exhausted: given.exhausted,
            url: given.url,
            response_body: given.response_body,
            error: given.error,
        })
    }
}

impl Fields for Attempt {
    fn write(&self, to: &mut impl Sink) {
        to.id(1, self.id);
        to.id(2, self.delivery_id);
        to.number(3, self.generation);
        to.number(4, self.number);
        to.id(5, self.event_id);
        to.id(6, self.app_id);
        to.id(7, self.endpoint_id);
        to.text(8, self.event_type.as_str());
        to.number(9, self.endpoint_version);
        to.text(10, &self.url);
        to.millis(11, self.started_at.as_millis());
        let duration_ms = u32::try_from(self.duration.as_millis());
        to.number(12, duration_ms.unwrap_or(u32::MAX));
        to.choice(13, proto::Outcome::from(self.outcome));
        to.number(14, self.status_code.unwrap_or(0));
        to.bytes(15, &self.response_body);
        to.text(16, &self.error);
        to.millis(17, self.next_attempt_at.map_or(0, Timestamp::as_millis));
        to.choice(18, proto::Trigger::from(self.trigger));
        to.millis(19, self.accepted_at.as_millis());
        to.number(20, self.exhausted);
    }
}

/// The status in a number field, 0 for none.
pub(crate) fn status(field: &'static str, given: u32) -> Result<Option<u16>, Malformed> {
    let code = u16::try_from(given)
        .map_err(|_| Malformed::field(field, format!("{given} is no HTTP status")))?;
    Ok((code != 0).then_some(code))
}

impl From<Outcome> for proto::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Gone => Self::Gone,
            Outcome::Redirected => Self::Redirected,
            Outcome::Throttled => Self::Throttled,
            Outcome::Refused => Self::Refused,
            Outcome::Final => Self::Final,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Unreachable => Self::Unreachable,
            Outcome::Forbidden => Self::Forbidden,
            Outcome::OwnFault => Self::OwnFault,
        }
    }
}

/// An outcome that this version does not know reads as our own fault: it is charged to nobody.
impl From<proto::Outcome> for Outcome {
    fn from(outcome: proto::Outcome) -> Self {
        match outcome {
            proto::Outcome::Succeeded => Self::Succeeded,
            proto::Outcome::Gone => Self::Gone,
            proto::Outcome::Redirected => Self::Redirected,
            proto::Outcome::Throttled => Self::Throttled,
            proto::Outcome::Refused => Self::Refused,
            proto::Outcome::Final => Self::Final,
            proto::Outcome::TimedOut => Self::TimedOut,
            proto::Outcome::Unreachable => Self::Unreachable,
            proto::Outcome::Forbidden => Self::Forbidden,
            proto::Outcome::OwnFault | proto::Outcome::Unspecified => Self::OwnFault,
        }
    }
}
