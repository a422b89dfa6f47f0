//! Which endpoints are to be disabled, judged from the attempts that were recorded.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_model::{Attempt, Disabled, Endpoint, EndpointId, Outcome, Timestamp};
use postrider_store::{EncodedAttempt, EndpointRef, Endpoints, History, StoreError};
use tokio::time::Instant;

use crate::RecorderMetrics;
use crate::failing::{Found, look, moment};
use crate::metrics::DisabledFor;

/// Endpoints whose history is looked into for one batch, at most. Others are judged when they fail again.
const LOOKS: usize = 16;
/// After a look there is none for so many times as long as it took: history is written meanwhile.
const RESTS: u32 = 50;
/// A look that takes longer is given up: an endpoint may have failed by the million without a success.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// Endpoints of which it is remembered that they need not be looked at yet.
const REMEMBERED: usize = 10_000;

/// Judges endpoints. What it remembers only saves it from asking the store in vain.
///
/// Any failure may be the one with which an endpoint has failed for too long: behind an open breaker a busy one gets a few
/// hundred probes a day, nearly each the first attempt of another delivery, and hardly a delivery is ever exhausted.
#[derive(Debug)]
pub(crate) struct Disabling {
    failing_after: Option<Duration>,
    not_before: HashMap<EndpointId, NotBefore>,
    /// Until then nothing is looked into.
    rests_until: Option<Instant>,
}

/// When an endpoint is worth a look: the times at which attempts start.
#[derive(Debug, Clone, Copy)]
struct NotBefore {
    /// … by an attempt that was the last of its delivery.
    exhausted: Timestamp,
    /// … by any other.
    failed: Timestamp,
}

impl NotBefore {
    fn any(at: Timestamp) -> Self {
        Self {
            exhausted: at,
            failed: at,
        }
    }
}

impl Disabling {
    /// `failing_after`: how long an endpoint may fail without a success; `None` for ever.
    pub(crate) fn new(failing_after: Option<Duration>) -> Self {
        Self {
            failing_after,
            not_before: HashMap::new(),
            rests_until: None,
        }
    }

    /// Disables whom these attempts, which are recorded, show to be gone or failing for too long. What the store has and
    /// cannot read is judged by nobody, and counted.
    ///
    /// # Errors
    /// `Unavailable` or `Damaged`: when the store cannot be asked. Judging again is harmless.
    pub(crate) async fn judge<S: History + Endpoints + ?Sized>(
        &mut self,
        store: &S,
        attempts: &[EncodedAttempt],
        now: Timestamp,
        metrics: &RecorderMetrics,
    ) -> Result<(), StoreError> {
        let (mut judged, mut looks) = (HashSet::new(), 0);
        for EncodedAttempt { attempt, .. } in attempts {
            if attempt.outcome == Outcome::Gone {
                if judged.insert((attempt.endpoint_id, attempt.endpoint_version)) {
                    match disable_gone(store, attempt, now).await {
                        Ok(true) => metrics.disabled.of(DisabledFor::Gone).inc(),
                        Ok(false) => {}
                        Err(away @ (StoreError::Unavailable(_) | StoreError::Damaged(_))) => {
                            return Err(away);
                        }
                        Err(error) => unjudged(attempt, &error, metrics),
                    }
                }
            } else if let Some(failing_after) = self.failing_after
                && looks < LOOKS
                && self.may_be_failing(attempt)
            {
                looks += 1;
                self.judge_failing(store, attempt, failing_after, now, metrics)
                    .await?;
            }
        }
        Ok(())
    }

    fn may_be_failing(&self, attempt: &Attempt) -> bool {
        let is_worth_it = |not_before: &NotBefore| {
            let not_before = if attempt.exhausted {
                not_before.exhausted
            } else {
                not_before.failed
            };
            attempt.started_at >= not_before
        };
        attempt.outcome.health().is_charged()
            && self
                .not_before
                .get(&attempt.endpoint_id)
                .is_none_or(is_worth_it)
            && self.rests_until.is_none_or(|until| Instant::now() >= until)
    }

    async fn judge_failing<S: History + Endpoints + ?Sized>(
        &mut self,
        store: &S,
        attempt: &Attempt,
        failing_after: Duration,
        now: Timestamp,
        metrics: &RecorderMetrics,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        let found = tokio::time::timeout(LONGEST_LOOK, look(store, attempt, failing_after)).await;
        let rests = began.elapsed().saturating_mul(RESTS);
        self.rests_until = Some(Instant::now() + rests);

        let again = attempt.started_at.plus(moment(failing_after));
        let mut not_before = NotBefore::any(again);
        match found {
            Ok(Ok(Found::NotBefore(at))) => not_before = NotBefore::any(at),
            Ok(Ok(Found::OnlyJust)) => not_before.exhausted = attempt.started_at,
            Ok(Ok(Found::TooLong(endpoint))) => {
                if disable(store, *endpoint, Disabled::Failing, now).await? {
                    metrics.disabled.of(DisabledFor::Failing).inc();
                    not_before = NotBefore::any(attempt.started_at.plus(failing_after));
                }
            }
            Ok(Err(away @ (StoreError::Unavailable(_) | StoreError::Damaged(_)))) => {
                return Err(away);
            }
            Ok(Err(error)) => unjudged(attempt, &error, metrics),
            Err(elapsed) => unjudged(attempt, &elapsed, metrics),
        }
        if self.not_before.len() >= REMEMBERED {
            self.not_before.clear();
        }
        self.not_before.insert(attempt.endpoint_id, not_before);
        Ok(())
    }
}

fn unjudged(attempt: &Attempt, why: &dyn Display, metrics: &RecorderMetrics) {
    let endpoint = attempt.endpoint_id;
    tracing::error!(%endpoint, %why, "whether an endpoint is to be disabled cannot be judged");
    metrics.unjudged.inc();
}

/// Disables the endpoint that `attempt` went to, unless it is another version by now: then somebody has changed it, and
/// the attempt says nothing about that. Returns whether it did.
async fn disable_gone<S: Endpoints + ?Sized>(
    store: &S,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let by = EndpointRef::Id(attempt.endpoint_id);
    let found = store.endpoint(attempt.app_id, &by).await?;
    match found.filter(|endpoint| {
        endpoint.disabled.is_none() && endpoint.version == attempt.endpoint_version
    }) {
        Some(endpoint) => disable(store, endpoint, Disabled::Gone, now).await,
        None => Ok(false),
    }
}

/// Disables an endpoint if it is still as it was read. Returns whether it did.
async fn disable<S: Endpoints + ?Sized>(
    store: &S,
    endpoint: Endpoint,
    why: Disabled,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let disabled = Endpoint {
        disabled: Some(why),
        updated_at: now,
        ..endpoint
    };
    fail_point!("recorder.disable.before");
    match store.replace_endpoint(&disabled).await {
        Ok(_) => {
            fail_point!("recorder.disable.after");
            tracing::warn!(endpoint = %disabled.id, ?why, "an endpoint was disabled");
            Ok(true)
        }
        Err(away @ (StoreError::Unavailable(_) | StoreError::Damaged(_))) => Err(away),
        // Changed or deleted this moment.
        Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => Ok(false),
        Err(StoreError::Refused(error) | StoreError::Unreadable(error)) => {
            tracing::error!(endpoint = %disabled.id, error, "an endpoint cannot be disabled");
            Ok(false)
        }
    }
}
