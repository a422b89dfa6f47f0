//! Answers.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_http::HttpError;
use serde::Serialize;

/// What handlers return.
pub(crate) type Answer = Result<Reply, HttpError>;

/// A status and a JSON body, or none. Written out, so that it can be kept as the first answer to a repeated request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Bytes,
}

impl Reply {
    /// This status, with `body` in JSON.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
        let body = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "an answer could not be written");
            HttpError::Uncertain("the answer could not be written".to_owned())
        })?;
        Ok(Self {
            status,
            body: body.into(),
        })
    }

    /// 200 with `body` in JSON.
    pub(crate) fn ok(body: &impl Serialize) -> Answer {
        Self::json(StatusCode::OK, body)
    }

    /// 204.
    pub(crate) const fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Bytes::new(),
        }
    }

    /// The reply as it is kept under an idempotency key.
    pub(crate) fn to_kept(&self) -> Bytes {
        let status = self.status.as_u16().to_be_bytes();
        [&status[..], &self.body].concat().into()
    }

    /// The reply that was kept.
    pub(crate) fn from_kept(kept: &Bytes) -> Option<Self> {
        let (status, _) = kept.split_first_chunk::<2>()?;
        Some(Self {
            status: StatusCode::from_u16(u16::from_be_bytes(*status)).ok()?,
            body: kept.slice(2..),
        })
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        if self.body.is_empty() {
            return self.status.into_response();
        }
        (
            self.status,
            [(header::CONTENT_TYPE, "application/json")],
            self.body,
        )
            .into_response()
    }
}
