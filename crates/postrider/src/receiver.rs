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
    pub(crate) at: jiff::Timestamp,
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
        at: jiff::Timestamp::now(),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::Body;
    use postrider_signing::Signer;
    use tower::ServiceExt;

    use super::*;

    const BODY: &[u8] = br#"{"type":"order.created"}"#;

    async fn post(receiver: &Arc<Receiver>, id: &str, secret: &Secret) -> StatusCode {
        let now_s = jiff::Timestamp::now().as_second();
        let request = Request::post("/hook")
            .header(HEADER_ID, id)
            .header(HEADER_TIMESTAMP, now_s)
            .header(
                HEADER_SIGNATURE,
                Signer::new(secret, []).sign("msg_1", now_s, BODY),
            )
            .body(Body::from(BODY))
            .unwrap();
        receiver.router().oneshot(request).await.unwrap().status()
    }

    fn told() -> (
        Arc<Mutex<Vec<Arrival>>>,
        impl Fn(Arrival) + Send + Sync + 'static,
    ) {
        let all: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let tell = Arc::clone(&all);
        (all, move |arrival| tell.lock().unwrap().push(arrival))
    }

    #[tokio::test]
    async fn a_signature_is_verified_and_a_wrong_one_is_refused_with_its_reason() {
        let secret = Secret::generate();
        let (came, tell) = told();
        let receiver = Receiver::new(std::slice::from_ref(&secret), Behaviour::default(), tell);
        assert_eq!(post(&receiver, "msg_1", &secret).await, 204);
        assert_eq!(post(&receiver, "msg_2", &secret).await, 401);
        let came = came.lock().unwrap();
        assert_eq!(came[0].signature, Signature::Verified);
        assert_eq!(came[0].event_type().as_deref(), Some("order.created"));
        assert!(
            matches!(&came[1].signature, Signature::Refused(why) if why.contains("no v1 signature matches"))
        );
    }

    #[tokio::test]
    async fn it_fails_as_often_as_it_was_told_or_until_it_is_repaired() {
        let secret = Secret::generate();
        for (fail_first, repaired_after, fails) in [(2, 9, 2), (u64::MAX, 3, 3)] {
            let behaviour = Behaviour {
                fail_first,
                ..Behaviour::default()
            };
            let receiver = Receiver::new(&[], behaviour, |_| {});
            for number in 0..6 {
                if number == repaired_after {
                    receiver.repair();
                }
                let expected = if number < fails { 500 } else { 204 };
                assert_eq!(post(&receiver, "msg_1", &secret).await, expected);
            }
        }
    }
}
