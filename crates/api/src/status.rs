//! Where a delivery stands, in the dialect's words.

use postrider_http::{HttpError, Query};
use postrider_model::{Attempt, Timestamp};
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
    /// Where the delivery stands whose newest attempt this is.
    pub(crate) fn of_delivery(newest: Option<&Attempt>) -> Self {
        match newest {
            Some(attempt) if attempt.outcome.is_success() => Self::Success,
            Some(attempt) if attempt.next_attempt_at.is_none() => Self::Fail,
            Some(_) | None => Self::Pending,
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
        Ok(match query.text("status") {
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

/// Where a delivery stands and when it is tried next, for flattening into answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryStatusOut {
    #[serde(flatten)]
    status: StatusOut,
    next_attempt: Option<Timestamp>,
}

impl DeliveryStatusOut {
    /// Of the delivery whose newest attempt this is.
    pub(crate) fn of(newest: Option<&Attempt>) -> Self {
        Self {
            status: Status::of_delivery(newest).into(),
            next_attempt: newest.and_then(|attempt| attempt.next_attempt_at),
        }
    }
}
