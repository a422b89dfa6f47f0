//! What the tests of services over HTTP have in common: an application, tokens, requests, and answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "for tests only"
)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use postrider_access::Token;
use postrider_model::{AppId, Timestamp, TokenId};
use postrider_store::testing::MemoryStore;
use postrider_store::{Application, TokenRecord, TokenScope, Tokens};
use serde_json::Value;
use tower::ServiceExt;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// The body, of an answer with this status.
    #[track_caller]
    pub fn with(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks a 422: which field, and what is said.
    #[track_caller]
    pub fn refuses(self, field: &str, says: &str) {
        assert_eq!(self.status.as_u16(), 422, "{}", self.text());
        assert!(self.text().contains(says), "{}", self.text());
        assert_eq!(self.json()["detail"][0]["loc"][1], field, "{}", self.text());
    }
}

/// What `routes` answer.
pub async fn answer_of(routes: &Router, request: Request<Body>) -> Answer {
    let response = routes.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: to_bytes(body, usize::MAX).await.unwrap(),
    }
}

/// A request with these headers, and with `token` unless one of them is `authorization`.
pub fn request(
    method: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

/// An application with this uid, named like it.
pub fn application(uid: &str) -> Application {
    let made_at = Timestamp::from_millis(1_700_000_000_000);
    Application {
        id: AppId::new(),
        uid: Some(uid.parse().unwrap()),
        name: uid.to_owned(),
        metadata: Default::default(),
        rate_limit: None,
        version: 0,
        created_at: made_at,
        updated_at: made_at,
    }
}

/// A new token of this scope, which the store knows.
pub async fn add_token(store: &MemoryStore, scope: TokenScope) -> String {
    let token = Token::generate();
    let record = TokenRecord {
        id: TokenId::new(),
        hash: *token.hash().as_bytes(),
        scope,
        name: "test".to_owned(),
        expires_at: None,
        revoked_at: None,
        version: 0,
        created_at: Timestamp::from_millis(0),
    };
    store.insert_token(&record).await.unwrap();
    token.expose().to_owned()
}
