//! Which endpoints are to be disabled, judged from the attempts that were recorded.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_model::{Attempt, Disabled, Endpoint, EndpointId, Outcome, Timestamp};
use postrider_store::{
    AttemptFilter, EncodedAttempt, EndpointRef, Endpoints, History, Order, Page, PageStart,
    StatusFilter, StoreError,
};

use crate::RecorderMetrics;
use crate::metrics::DisabledFor;

/// Endpoints whose history is read for one batch, at most. Others are judged when their next delivery is exhausted.
const LOOKUPS: usize = 16;
/// Endpoints of which it is remembered that they cannot have failed long enough yet.
const REMEMBERED: usize = 10_000;
/// Attempts looked through for the first failure that is charged to the endpoint.
const FIRST_FAILURES: usize = 20;

/// Judges endpoints. What it remembers only saves it from asking the store in vain.
#[derive(Debug)]
pub(crate) struct Disabling {
    failing_after: Option<Duration>,
    not_before: HashMap<EndpointId, Timestamp>,
}

impl Disabling {
    /// `failing_after`: how long an endpoint may fail without a success; `None` for ever.
    pub(crate) fn new(failing_after: Option<Duration>) -> Self {
        Self {
            failing_after,
            not_before: HashMap::new(),
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
        let (mut judged, mut lookups) = (HashSet::new(), 0);
        for EncodedAttempt { attempt, .. } in attempts {
            let (why, disabled) = if attempt.outcome == Outcome::Gone {
                if !judged.insert((attempt.endpoint_id, attempt.endpoint_version)) {
                    continue;
                }
                let disabled = disable(store, attempt, Disabled::Gone, now).await;
                (DisabledFor::Gone, disabled)
            } else if lookups < LOOKUPS && self.may_be_failing(attempt) {
                lookups += 1;
                let disabled = self.judge_failing(store, attempt, now).await;
                (DisabledFor::Failing, disabled)
            } else {
                continue;
            };
            match disabled {
                Ok(true) => metrics.disabled.of(why).inc(),
                Ok(false) => {}
                Err(away @ (StoreError::Unavailable(_) | StoreError::Damaged(_))) => {
                    return Err(away);
                }
                Err(error) => {
                    let endpoint = attempt.endpoint_id;
                    tracing::error!(%endpoint, %error, "whether an endpoint is to be disabled cannot be judged");
                    metrics.unjudged.inc();
                }
            }
        }
        Ok(())
    }

    async fn judge_failing<S: History + Endpoints + ?Sized>(
        &mut self,
        store: &S,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.fails_too_long(store, attempt).await?
            && disable(store, attempt, Disabled::Failing, now).await?)
    }

    /// An endpoint that fails for days exhausts deliveries; so only those are looked into.
    fn may_be_failing(&self, attempt: &Attempt) -> bool {
        self.failing_after.is_some()
            && attempt.exhausted
            && is_charged(attempt)
            && self
                .not_before
                .get(&attempt.endpoint_id)
                .is_none_or(|at| attempt.started_at >= *at)
    }

    async fn fails_too_long<S: History + ?Sized>(
        &mut self,
        store: &S,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let Some(failing_after) = self.failing_after else {
            return Ok(false);
        };
        let since = failing_since(store, attempt).await?;
        let too_long_at = since.unwrap_or(attempt.started_at).plus(failing_after);
        if self.not_before.len() >= REMEMBERED {
            self.not_before.clear();
        }
        self.not_before.insert(attempt.endpoint_id, too_long_at);
        Ok(since.is_some() && attempt.started_at >= too_long_at)
    }
}

/// The first failure of the attempt's endpoint since its last success.
async fn failing_since<S: History + ?Sized>(
    store: &S,
    attempt: &Attempt,
) -> Result<Option<Timestamp>, StoreError> {
    let succeeded = AttemptFilter {
        endpoint: Some(attempt.endpoint_id),
        status: Some(StatusFilter::Succeeded),
        all_readable: true,
        ..AttemptFilter::default()
    };
    let newest = page(1, Order::Descending);
    let last = store.attempts(attempt.app_id, &succeeded, &newest).await?;
    let since = AttemptFilter {
        endpoint: Some(attempt.endpoint_id),
        after: last.first().map(|attempt| attempt.started_at),
        all_readable: true,
        ..AttemptFilter::default()
    };
    let oldest = page(FIRST_FAILURES, Order::Ascending);
    let failures = store.attempts(attempt.app_id, &since, &oldest).await?;
    let charged = failures.iter().find(|failed| is_charged(failed));
    Ok(charged.map(|failed| failed.started_at))
}

fn page<K>(limit: usize, order: Order) -> Page<K> {
    Page {
        limit,
        start: PageStart::Beginning,
        order,
    }
}

fn is_charged(attempt: &Attempt) -> bool {
    !attempt.outcome.is_success() && attempt.outcome != Outcome::OwnFault
}

/// Disables the endpoint that `attempt` went to, unless it is another version by now: then somebody has changed it, and
/// the attempt says nothing about that. Returns whether it did.
async fn disable<S: Endpoints + ?Sized>(
    store: &S,
    attempt: &Attempt,
    why: Disabled,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let by = EndpointRef::Id(attempt.endpoint_id);
    let found = store.endpoint(attempt.app_id, &by).await?;
    let Some(endpoint) = found.filter(|endpoint| {
        endpoint.disabled.is_none() && endpoint.version == attempt.endpoint_version
    }) else {
        return Ok(false);
    };
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
