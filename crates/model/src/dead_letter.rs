//! A delivery that was given up.

use bytes::Bytes;

use crate::attempt::status;
use crate::codec::{self, Malformed};
use crate::wire::{Fields, Sink};
use crate::{DeadLetterId, Delivery, NewRecord, Outcome, Timestamp, proto, topics};

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// Every attempt of the schedule failed.
    Exhausted,
    /// The deadline passed first.
    Expired,
    /// A final answer: 410, or a status that the policy lists.
    Refused,
    /// The endpoint was deleted or disabled.
    EndpointGone,
    /// More bytes were parked for the endpoint than it may hold.
    ParkedOverflow,
    /// The log takes no record of the delivery's size.
    TooLarge,
}

impl DeathReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Exhausted,
        Self::Expired,
        Self::Refused,
        Self::EndpointGone,
        Self::ParkedOverflow,
        Self::TooLarge,
    ];

    /// The reason as a label, in the API and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::EndpointGone => "endpoint_gone",
            Self::ParkedOverflow => "parked_overflow",
            Self::TooLarge => "too_large",
        }
    }

    /// The reason of that label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
    }
}

/// A delivery that was given up, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Derived from (delivery, generation).
    pub id: DeadLetterId,
    /// What was given up.
    pub delivery: Delivery,
    /// Why.
    pub reason: DeathReason,
    /// When.
    pub died_at: Timestamp,
    /// How the last attempt ended, if there was one.
    pub last_outcome: Option<Outcome>,
    /// Its status, if there was an answer.
    pub last_status_code: Option<u16>,
    /// What went wrong in it, in words; else empty.
    pub last_error: String,
    /// The log took it only without the delivery's payload; the archive of events may have that. It cannot be replayed.
    pub payload_left_out: bool,
    /// Fields that a newer version gave it and this one does not know, as they came: they are kept with it.
    pub newer: Box<[u8]>,
}

include!(concat!(env!("OUT_DIR"), "/DeadLetter.rs"));

impl DeadLetter {
    /// `delivery`, given up at `now` without a word on its last attempt.
    pub fn of(delivery: Delivery, reason: DeathReason, now: Timestamp) -> Self {
        Self {
            id: delivery.dead_letter_id(),
            delivery,
            reason,
            died_at: now,
            last_outcome: None,
            last_status_code: None,
            last_error: String::new(),
            payload_left_out: false,
            newer: Box::default(),
        }
    }

    /// The same without the payload, and without whatever else may be long, for a log that takes no record of its size.
    pub fn without_payload(self) -> Self {
        /// In bytes; far below what any log takes.
        const KEPT: usize = 500;
        let cut = |text: &str| text[..text.floor_char_boundary(KEPT)].to_owned();
        Self {
            last_error: cut(&self.last_error),
            payload_left_out: true,
            delivery: Delivery {
                payload: Bytes::new(),
                content_type: cut(&self.delivery.content_type),
                ..self.delivery
            },
            ..self
        }
    }

    /// The same, with how its last attempt ended.
    pub fn after(
        self,
        outcome: Outcome,
        status_code: Option<u16>,
        error: impl Into<String>,
    ) -> Self {
        Self {
            last_outcome: Some(outcome),
            last_status_code: status_code,
            last_error: error.into(),
            ..self
        }
    }

    /// The record for `dead-letters`.
    pub fn to_record(&self) -> NewRecord {
        self.record(topics::DEAD_LETTERS, self.delivery.endpoint_id)
    }

    /// The dead letter in a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Malformed> {
        let given: proto::DeadLetter = codec::decode("dead letter", value)?;
        let (reason, last_outcome) = (given.reason().into(), given.last_outcome());
        let is_all = codec::is_all(&given, value);
        let delivery = given.delivery.ok_or(Malformed::Missing("delivery"))?;
        let mut delivery = Delivery::from_proto(delivery)?;
        let mut newer = Box::default();
        if !is_all {
            newer = codec::fields_above(NEWEST_FIELD, value);
            delivery.newer = Delivery::newer_in(&codec::message_in(1, value));
        }
        Ok(Self {
            id: delivery.dead_letter_id(),
            delivery,
            reason,
            died_at: Timestamp::from_millis(given.died_at_ms),
            last_outcome: (last_outcome != proto::Outcome::Unspecified)
                .then(|| last_outcome.into()),
            last_status_code: status("last_status_code", given.last_status_code)?,
            last_error: given.last_error,
            payload_left_out: given.payload_left_out,
            newer,
        })
    }
}

impl Fields for DeadLetter {
    fn write(&self, to: &mut impl Sink) {
        to.message(1, &self.delivery);
        to.choice(2, proto::DeathReason::from(self.reason));
        to.millis(3, self.died_at.as_millis());
        let unknown = proto::Outcome::Unspecified;
        to.choice(4, self.last_outcome.map_or(unknown, Into::into));
        to.number(5, self.last_status_code.unwrap_or(0));
        to.text(6, &self.last_error);
        to.number(7, self.payload_left_out);
        to.raw(&self.newer);
    }
}

impl From<DeathReason> for proto::DeathReason {
    fn from(reason: DeathReason) -> Self {
        match reason {
            DeathReason::Exhausted => Self::Exhausted,
            DeathReason::Expired => Self::Expired,
            DeathReason::Refused => Self::Refused,
            DeathReason::EndpointGone => Self::EndpointGone,
            DeathReason::ParkedOverflow => Self::ParkedOverflow,
            DeathReason::TooLarge => Self::TooLarge,
        }
    }
}

/// A reason that this version does not know reads as exhausted.
impl From<proto::DeathReason> for DeathReason {
    fn from(reason: proto::DeathReason) -> Self {
        match reason {
            proto::DeathReason::Exhausted | proto::DeathReason::Unspecified => Self::Exhausted,
            proto::DeathReason::Expired => Self::Expired,
            proto::DeathReason::Refused => Self::Refused,
            proto::DeathReason::EndpointGone => Self::EndpointGone,
            proto::DeathReason::ParkedOverflow => Self::ParkedOverflow,
            proto::DeathReason::TooLarge => Self::TooLarge,
        }
    }
}
