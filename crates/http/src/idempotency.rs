//! One request under one key is carried out once; its repeats get the first answer.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use postrider_failpoint::fail_point;
use postrider_model::{Clock, Timestamp, TokenId};
use postrider_store::{Claim, Claims};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{HttpError, unavailable};

/// How long a claim holds against others. Longer than anything that is done under it may take (the append of an event: 10 s),
/// so that when another takes over the first has certainly ended.
const LEASE: Duration = Duration::from_secs(20);
/// How long a repeat waits for the first to end before it is sent away with 409.
const WAIT: Duration = Duration::from_secs(5);
/// How often it looks meanwhile, at first and at last.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// A key and what was asked under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyClaim {
    /// Names the operation, whose it is, and what the client chose.
    pub key: String,
    /// Equal for equal requests.
    pub fingerprint: [u8; 32],
    /// What the client is told when the key was used for another request.
    pub taken: &'static str,
}

/// What became of one key.
enum Acquired {
    /// It is ours, and claimed since then.
    Ours(Timestamp),
    /// It was carried out before, with this answer.
    Done(Bytes),
}

/// Claims keys in the store.
#[derive(Clone)]
pub struct Idempotency {
    claims: Arc<dyn Claims>,
    clock: Arc<dyn Clock>,
}

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 256;

/// The value of `Idempotency-Key`, if there is one.
pub fn key_header(headers: &HeaderMap) -> Result<Option<&str>, HttpError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value.to_str().ok();
    let fits = text.filter(|text| (1..=MAX_KEY).contains(&text.len()));
    fits.map(Some).ok_or_else(|| {
        HttpError::header(
            "idempotency-key",
            format!("expected 1 to {MAX_KEY} printable ASCII characters"),
        )
    })
}

impl Idempotency {
    /// Claims in this store, with leases by this clock.
    pub fn new(claims: Arc<dyn Claims>, clock: Arc<dyn Clock>) -> Self {
        Self { claims, clock }
    }

    /// The answer to the request that `keys` stand for: the first one if it was carried out before, else that of `run`, whose
    /// result is then kept. Without keys the store is not asked.
    ///
    /// `run` is told since when the first key is claimed (without keys: the present). Who takes a key over after another's
    /// lease ended is told the same, so what follows from it and the key is the same; a key that was forgotten starts anew.
    ///
    /// Once this was polled all of it is carried out to its end, also if the future is dropped because the client went
    /// away: what was begun is confirmed or released. A panic in `run` comes out of here, and the keys stay held until
    /// the lease ends.
    ///
    /// After an error that certainly did nothing the keys are free again; after [`HttpError::Uncertain`] they stay held until
    /// the lease ends.
    pub async fn once<W>(
        &self,
        keys: Vec<KeyClaim>,
        run: impl FnOnce(Timestamp) -> W + Send + 'static,
    ) -> Result<Bytes, HttpError>
    where
        W: Future<Output = Result<Bytes, HttpError>> + Send + 'static,
    {
        if keys.is_empty() {
            return run(self.clock.now()).await;
        }
        let this = self.clone();
        let work = async move { this.claim_and_run(&keys, run).await };
        let ended = tokio::spawn(work.in_current_span()).await;
        ended.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(cause) => resume_unwind(cause),
            Err(_) => Err(HttpError::Uncertain(
                "the process is stopping; it may have been done: ask again in a moment".to_owned(),
            )),
        })
    }

    async fn claim_and_run<W>(
        &self,
        keys: &[KeyClaim],
        run: impl FnOnce(Timestamp) -> W,
    ) -> Result<Bytes, HttpError>
    where
        W: Future<Output = Result<Bytes, HttpError>>,
    {
        let holder = TokenId::new().to_string();
        let mut first_since = None;
        fail_point!("idempotency.claim.before");
        for (index, key) in keys.iter().enumerate() {
            let held = &keys[..index];
            match self.acquire(key, &holder).await {
                Ok(Acquired::Ours(since)) => first_since = first_since.or(Some(since)),
                Ok(Acquired::Done(first_answer)) => {
                    self.confirm(held, &holder, &first_answer).await;
                    return Ok(first_answer);
                }
                Err(error) => {
                    self.release(held, &holder).await;
                    return Err(error);
                }
            }
        }
        let since = first_since.unwrap_or_else(|| self.clock.now());
        fail_point!("idempotency.claim.after");
        let result = run(since).await;
        match &result {
            Ok(answer) => {
                fail_point!("idempotency.confirm.before");
                self.confirm(keys, &holder, answer).await;
                fail_point!("idempotency.confirm.after");
            }
            Err(HttpError::Uncertain(_)) => {}
            Err(_) => self.release(keys, &holder).await,
        }
        result
    }

    /// Claims one key, waiting for another who holds it.
    async fn acquire(&self, key: &KeyClaim, holder: &str) -> Result<Acquired, HttpError> {
        let deadline = Instant::now() + WAIT;
        let (mut pause, longest) = LOOK_AGAIN;
        loop {
            let now = self.clock.now();
            let claim = self
                .claims
                .claim(&key.key, holder, &key.fingerprint, now, now.plus(LEASE))
                .await
                .map_err(unavailable)?;
            match claim {
                Claim::Ours { since } => return Ok(Acquired::Ours(since)),
                Claim::Held { fingerprint, .. } | Claim::Done { fingerprint, .. }
                    if fingerprint != key.fingerprint =>
                {
                    return Err(HttpError::Conflict(key.taken.to_owned()));
                }
                Claim::Done { answer, .. } => return Ok(Acquired::Done(answer)),
                Claim::Held { .. } if Instant::now() + pause > deadline => {
                    return Err(HttpError::InProgress);
                }
                Claim::Held { .. } => {
                    tokio::time::sleep(pause).await;
                    pause = longest.min(pause * 2);
                }
            }
        }
    }

    /// Keeps the answer. What was carried out stays so if this fails; then a repeat is carried out again after the lease.
    async fn confirm(&self, keys: &[KeyClaim], holder: &str, answer: &[u8]) {
        for key in keys {
            let now = self.clock.now();
            if let Err(error) = self.claims.confirm(&key.key, holder, answer, now).await {
                tracing::warn!(%error, "the answer to a request under an idempotency key was not kept");
            }
        }
    }

    async fn release(&self, keys: &[KeyClaim], holder: &str) {
        for key in keys {
            if let Err(error) = self.claims.release(&key.key, holder).await {
                tracing::warn!(%error, "an idempotency key stays held until its lease ends");
            }
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
mod tests;
