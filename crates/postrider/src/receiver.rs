//! A receiver of webhooks: verifies signatures, tells what came, fails or hangs on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use postrider_signing::{
    HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Received, Secret, Verifier,
};

/// More than any payload that a sender could be configured to send.
const BODY_BYTES: usize = 256 << 20;

/// One request that came.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// `webhook-id`
    pub(crate) id: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) signature: Signature,
    /// How it is answered; `None`: never.
    pub(crate) answer: Option<StatusCode>,
}

impl Arrival {
    /// The type that the payload names, if it is a JSON object with one.
    pub(crate) fn event_type(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Typed {
            r#type: String,
        }
        serde_json::from_slice::<Typed>(&self.body)
            .ok()
            .map(|typed| typed.r#type)
    }
}

/// What a signature proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signature {
    /// No secret was given to check it with.
    Unchecked,
    /// It is by one of the secrets, over this body, lately.
    Verified,
    /// It is not, and why.
    Refused(String),
}

/// What a receiver does with requests.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// Fails that many requests before it answers well; `u64::MAX`: all.
    pub(crate) fail_first: u64,
    /// With what it fails.
    pub(crate) fail_status: StatusCode,
    /// Never answers.
    pub(crate) hang: bool,
    /// Waits that long before it answers.
    pub(crate) delay: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            fail_first: 0,
            fail_status: StatusCode::INTERNAL_SERVER_ERROR,
            hang: false,
            delay: Duration::ZERO,
        }
    }
}

/// A receiver, to be served by [`Receiver::router`].
pub(crate) struct Receiver {
    verifier: Option<Verifier>,
    behaviour: Behaviour,
    came: AtomicU64,
    repaired: AtomicBool,
    tell: Box<dyn Fn(Arrival) + Send + Sync>,
}

impl Receiver {
    /// One that verifies with `secrets`, if there are any, and calls `tell` with each request before it is answered.
    pub(crate) fn new(
        secrets: &[Secret],
        behaviour: Behaviour,
        tell: impl Fn(Arrival) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let verifier =
            (!secrets.is_empty()).then(|| Verifier::new(secrets, Verifier::DEFAULT_TOLERANCE_S));
        Arc::new(Self {
            verifier,
            behaviour,
            came: AtomicU64::new(0),
            repaired: AtomicBool::new(false),
            tell: Box::new(tell),
        })
    }

    /// From now on it fails no more.
    pub(crate) fn repair(&self) {
        self.repaired.store(true, Ordering::SeqCst);
    }

    /// Takes every method on every path.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(receive).with_state(Arc::clone(self))
    }

    fn answer(&self, signature: &Signature) -> Option<StatusCode> {
        let before = self.came.fetch_add(1, Ordering::SeqCst);
        let repaired = self.repaired.load(Ordering::SeqCst);
        if self.behaviour.hang {
            None
        } else if before < self.behaviour.fail_first && !repaired {
            Some(self.behaviour.fail_status)
        } else if matches!(signature, Signature::Refused(_)) {
            Some(StatusCode::UNAUTHORIZED)
        } else {
            Some(StatusCode::NO_CONTENT)
        }
    }

    fn check(&self, headers: &HeaderMap, body: &[u8]) -> Signature {
        let Some(verifier) = &self.verifier else {
            return Signature::Unchecked;
        };
        let text = |name| header(headers, name).unwrap_or_default();
        let received = Received {
            id: text(HEADER_ID),
            timestamp: text(HEADER_TIMESTAMP),
            signature: text(HEADER_SIGNATURE),
        };
        match verifier.verify(received, body, jiff::Timestamp::now().as_second()) {
            Ok(()) => Signature::Verified,
            Err(error) => Signature::Refused(error.to_string()),
        }
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> StatusCode {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let signature = receiver.check(&head.headers, &body);
    let answer = receiver.answer(&signature);
    (receiver.tell)(Arrival {
        method: head.method,
        path: head.uri.path().to_owned(),
        id: header(&head.headers, HEADER_ID).map(str::to_owned),
        body,
        signature,
        answer,
    });
    match answer {
        Some(status) => {
            tokio::time::sleep(receiver.behaviour.delay).await;
            status
        }
        None => std::future::pending().await,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
