//! Error answers, in the dialect's shapes.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_access::Denied;
use postrider_registry::AuthError;
use postrider_store::StoreError;
use serde::Serialize;

/// One thing that is wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The way to it: `["body", "eventType"]`, `["query", "limit"]`, `["header", "ce-id"]`.
    pub loc: Vec<Cow<'static, str>>,
    /// What is wrong, and what would be right.
    pub msg: String,
    /// A word for programs, such as `value_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Fault {
    /// A value that is not allowed, in `place` (`body`, `query`, `header`, `path`) under `field`.
    pub fn new(
        place: &'static str,
        field: impl Into<Cow<'static, str>>,
        msg: impl ToString,
    ) -> Self {
        Self {
            loc: vec![place.into(), field.into()],
            msg: msg.to_string(),
            kind: "value_error",
        }
    }
}

/// Why a request is not answered with what it asked for, by what the client does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// 400: the request cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// 401: send another token.
    #[error("{0}")]
    Unauthorized(Denied),
    /// 403: the token is good, but not for this.
    #[error("{0}")]
    Forbidden(Denied),
    /// 404. The same words for what is missing and for what is another's.
    #[error("Entity not found")]
    NotFound,
    /// 409: something of that name is there, or the state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// 409 with `Retry-After`: the same request is being carried out at present.
    #[error(
        "a request with the same idempotency key or eventId is being carried out: ask again in a moment"
    )]
    InProgress,
    /// 413: send less.
    #[error("{0}")]
    TooLarge(String),
    /// 415: send it in another form.
    #[error("{0}")]
    UnsupportedMedia(String),
    /// 422: correct the request.
    #[error("the request is not valid")]
    Invalid(Vec<Fault>),
    /// 500: a fault on our side, which asking again does not mend.
    #[error("{0}")]
    Broken(String),
    /// 503 with `Retry-After`: ask again; nothing was done.
    #[error("{0}")]
    Unavailable(String),
    /// 503 with `Retry-After`: ask again, under the same idempotency key; it may have been done.
    #[error("{0}")]
    Uncertain(String),
    /// 507 with `Retry-After`: there is no space; nothing was done.
    #[error("{0}")]
    Full(String),
}

/// The `code` of a fault on our side.
pub(crate) const INTERNAL: &str = "internal_error";
/// Seconds after which the client of a 503 or of a held key asks again.
const RETRY_SOON_S: u64 = 1;
/// Seconds after which it asks again when space is missing, which seldom comes back at once.
const RETRY_FULL_S: u64 = 10;

impl HttpError {
    /// One value in the body that is not allowed.
    pub fn body(field: impl Into<Cow<'static, str>>, msg: impl ToString) -> Self {
        Self::Invalid(vec![Fault::new("body", field, msg)])
    }

    /// One parameter of the query that is not allowed.
    pub fn query(name: impl Into<Cow<'static, str>>, msg: impl ToString) -> Self {
        Self::Invalid(vec![Fault::new("query", name, msg)])
    }

    /// One header that is not allowed.
    pub fn header(name: impl Into<Cow<'static, str>>, msg: impl ToString) -> Self {
        Self::Invalid(vec![Fault::new("header", name, msg)])
    }

    /// The status that this is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict(_) | Self::InProgress => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) | Self::Uncertain(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "bad_request",
            Self::Unauthorized(_) => "authentication_failed",
            Self::Forbidden(_) => "permission_denied",
            Self::NotFound => "not_found",
            Self::Conflict(_) => "conflict",
            Self::InProgress => "in_progress",
            Self::TooLarge(_) => "payload_too_large",
            Self::UnsupportedMedia(_) => "unsupported_media_type",
            Self::Invalid(_) => "validation",
            Self::Broken(_) => INTERNAL,
            Self::Unavailable(_) | Self::Uncertain(_) => "unavailable",
            Self::Full(_) => "insufficient_storage",
        }
    }

    /// Seconds after which asking again makes sense.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::InProgress | Self::Unavailable(_) | Self::Uncertain(_) => Some(RETRY_SOON_S),
            Self::Full(_) => Some(RETRY_FULL_S),
            _ => None,
        }
    }
}

/// The answer `{code, detail}` with this status.
pub(crate) fn answer(status: StatusCode, code: &'static str, detail: &str) -> Response {
    #[derive(Serialize)]
    struct Out<'a> {
        code: &'a str,
        detail: &'a str,
    }
    (status, Json(Out { code, detail })).into_response()
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Faults<'a> {
            detail: &'a [Fault],
        }
        let mut response = match &self {
            Self::Invalid(detail) => (self.status(), Json(Faults { detail })).into_response(),
            other => answer(self.status(), self.code(), &other.to_string()),
        };
        if let Some(seconds) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::TooLarge(_)) {
            // The rest of the body is not read, so the connection cannot be used again. A client that is not told
            // sends its next request into a closed one.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

impl From<Denied> for HttpError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken
            | Denied::NotBearer
            | Denied::Malformed
            | Denied::Unknown
            | Denied::Revoked
            | Denied::Expired => Self::Unauthorized(denied),
            Denied::OperatorOnly => Self::Forbidden(denied),
            Denied::OtherApplication => Self::NotFound,
        }
    }
}

impl From<AuthError> for HttpError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Denied(denied) => denied.into(),
            AuthError::Unavailable => Self::Unavailable(error.to_string()),
        }
    }
}

/// A store that does not answer may have done what it was asked. Reads, which change nothing, use [`unavailable`].
impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(detail) => Self::Conflict(detail),
            StoreError::NotFound(_) => Self::NotFound,
            StoreError::Refused(detail) => Self::Unreadable(detail),
            StoreError::Unreadable(cause) => {
                tracing::error!(%cause, "what a request asked for cannot be read in the store");
                Self::Broken(STORE_UNREADABLE.to_owned())
            }
            StoreError::Unavailable(cause) => {
                tracing::warn!(%cause, "a request was refused because the store does not answer");
                Self::Uncertain(STORE_DOWN.to_owned())
            }
            StoreError::Damaged(cause) => {
                tracing::error!(%cause, "a request cannot be answered because the store is damaged");
                Self::Broken(STORE_DAMAGED.to_owned())
            }
        }
    }
}

const STORE_UNREADABLE: &str =
    "this is in the store and cannot be read there: the server's log says which column and why";
const STORE_DAMAGED: &str = "the store is damaged, and asking again does not help: its operator has to restore it, and the \
     server's log says which file it is and what to do";
const STORE_DOWN: &str = "the store does not answer at present: try again in a moment";

/// The same for a call after which certainly nothing was done.
pub fn unavailable(error: StoreError) -> HttpError {
    match HttpError::from(error) {
        HttpError::Uncertain(detail) => HttpError::Unavailable(detail),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_cannot_read_is_our_fault_and_what_it_refuses_is_the_clients() {
        let unreadable = HttpError::from(StoreError::Unreadable("url: no URL".to_owned()));
        assert_eq!(unreadable.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(unreadable.code(), "internal_error");
        assert!(unreadable.to_string().contains("cannot be read there"));
        assert!(
            !unreadable.to_string().contains("no URL"),
            "only the log has it"
        );
        let damaged = unavailable(StoreError::Damaged("/data/store.db".to_owned()));
        assert_eq!(damaged.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(damaged.retry_after(), None);
        assert!(damaged.to_string().contains("the store is damaged"));
        assert!(
            !damaged.to_string().contains("/data"),
            "only the log has it"
        );
        let refused = HttpError::from(StoreError::Refused("too large".to_owned()));
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
}
