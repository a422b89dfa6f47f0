//! Where a delivery stands, in the dialect's words.

use std::collections::HashSet;

use postrider_http::{HttpError, Query};
use postrider_model::{
    Attempt, DeadLetterId, Delivery, DeliveryId, EndpointId, EventId, Timestamp,
};
use postrider_store::StatusFilter;
use serde::Serialize;
use serde::ser::Serializer;

/// The dialect's status. It has a fourth, `sending` (3), which says that an attempt is in flight: only the worker knows that,
/// so such a delivery is answered as pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// An attempt succeeded.
    Success,
    /// No attempt yet, or another will follow.
    Pending,
    /// Failed for good.
    Fail,
}

impl Status {
    /// How the newest attempt of such a delivery ended, as far as attempts tell.
    pub(crate) const fn of_newest(self) -> StatusFilter {
        match self {
            Self::Success => StatusFilter::Succeeded,
            Self::Pending => StatusFilter::Pending,
            Self::Fail => StatusFilter::Failed,
        }
    }

    /// How one attempt ended. A failed one has failed, whatever follows it.
    pub(crate) fn of_attempt(attempt: &Attempt) -> Self {
        if attempt.outcome.is_success() {
            Self::Success
        } else {
            Self::Fail
        }
    }

    /// The `status` that a query asks for.
    pub(crate) fn asked(query: &Query) -> Result<Option<Self>, HttpError> {
        Ok(match query.filter("status")? {
            None => None,
            Some("0") => Some(Self::Success),
            Some("1" | "3") => Some(Self::Pending),
            Some("2") => Some(Self::Fail),
            Some(_) => {
                let expected = "expected 0 (success), 1 (pending), 2 (fail) or 3 (sending)";
                return Err(HttpError::query("status", expected));
            }
        })
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Pending => "pending",
            Self::Fail => "fail",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Success => 0,
            Self::Pending => 1,
            Self::Fail => 2,
        })
    }
}

/// `status` and `statusText`, for flattening into answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusOut {
    status: Status,
    status_text: &'static str,
}

impl From<Status> for StatusOut {
    fn from(status: Status) -> Self {
        Self {
            status,
            status_text: status.text(),
        }
    }
}

/// A delivery, and the newest that is recorded of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    delivery: DeliveryId,
    newest: Option<&'a Attempt>,
}

impl<'a> Standing<'a> {
    /// The delivery of `event` to `endpoint`, with its newest attempt.
    pub(crate) fn of(event: EventId, endpoint: EndpointId, newest: Option<&'a Attempt>) -> Self {
        Self {
            delivery: Delivery::id_of(event, endpoint),
            newest,
        }
    }

    /// The delivery whose newest attempt this is.
    pub(crate) fn tried(newest: &'a Attempt) -> Self {
        Self::of(newest.event_id, newest.endpoint_id, Some(newest))
    }

    /// The dead letter that it would have become without a further attempt.
    pub(crate) fn dead_letter(&self) -> DeadLetterId {
        let generation = self.newest.map_or(0, |attempt| attempt.generation);
        Delivery::dead_letter_id_of(self.delivery, generation)
    }

    /// True if its attempts say that another follows, or that none was made yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.newest.is_none_or(|attempt| {
            !attempt.outcome.is_success() && attempt.next_attempt_at.is_some()
        })
    }

    /// Where it stands. A delivery can be given up without a further attempt, which only its dead letter tells.
    pub(crate) fn status(&self, given_up: &HashSet<DeadLetterId>) -> Status {
        match self.newest {
            Some(attempt) if attempt.outcome.is_success() => Status::Success,
            _ if self.is_waiting() && !given_up.contains(&self.dead_letter()) => Status::Pending,
            Some(_) | None => Status::Fail,
        }
    }

    /// As it is answered.
    pub(crate) fn out(
        &self,
        given_up: &HashSet<DeadLetterId>,
        now: Timestamp,
    ) -> DeliveryStatusOut {
        let status = self.status(given_up);
        let waiting = self.newest.filter(|_| status == Status::Pending);
        DeliveryStatusOut {
            status: status.into(),
            next_attempt: waiting.and_then(|attempt| next_attempt(attempt, now)),
        }
    }
}

/// When the attempt is due that follows this one. None once that time has passed: then the delivery waits for its endpoint,
/// behind a breaker or a limit, and only the worker knows how long; or it has been tried again.
pub(crate) fn next_attempt(attempt: &Attempt, now: Timestamp) -> Option<Timestamp> {
    attempt.next_attempt_at.filter(|due| *due > now)
}

/// Where a delivery stands and when it is tried next, for flattening into answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryStatusOut {
    #[serde(flatten)]
    status: StatusOut,
    next_attempt: Option<Timestamp>,
}
