//! One request under one key is carried out once; its repeats get the first answer.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use postrider_model::{Clock, TokenId};
use postrider_store::{Claim, Claims};
use tokio::time::Instant;

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
    /// After an error that certainly did nothing the keys are free again; after [`HttpError::Uncertain`] they stay held until
    /// the lease ends.
    pub async fn once(
        &self,
        keys: &[KeyClaim],
        run: impl Future<Output = Result<Bytes, HttpError>>,
    ) -> Result<Bytes, HttpError> {
        if keys.is_empty() {
            return run.await;
        }
        let holder = TokenId::new().to_string();
        for (index, key) in keys.iter().enumerate() {
            let held = &keys[..index];
            match self.acquire(key, &holder).await {
                Ok(None) => {}
                Ok(Some(first_answer)) => {
                    self.confirm(held, &holder, &first_answer).await;
                    return Ok(first_answer);
                }
                Err(error) => {
                    self.release(held, &holder).await;
                    return Err(error);
                }
            }
        }
        let result = run.await;
        match &result {
            Ok(answer) => self.confirm(keys, &holder, answer).await,
            Err(HttpError::Uncertain(_)) => {}
            Err(_) => self.release(keys, &holder).await,
        }
        result
    }

    /// Claims one key; the first answer if it was carried out before.
    async fn acquire(&self, key: &KeyClaim, holder: &str) -> Result<Option<Bytes>, HttpError> {
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
                Claim::Ours => return Ok(None),
                Claim::Held { fingerprint, .. } | Claim::Done { fingerprint, .. }
                    if fingerprint != key.fingerprint =>
                {
                    return Err(HttpError::Conflict(key.taken.to_owned()));
                }
                Claim::Done { answer, .. } => return Ok(Some(answer)),
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
