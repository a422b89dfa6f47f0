//! Whether an endpoint has failed for too long, read from what is recorded of it.

use std::time::Duration;

use postrider_model::{Attempt, Endpoint, EndpointId, Timestamp};
use postrider_store::{
    AttemptFilter, EndpointRef, Endpoints, History, Order, Page, PageStart, StatusFilter,
    StoreError,
};

/// Attempts looked through for the first failure that is charged to the endpoint.
const FIRST_FAILURES: usize = 20;
/// Failures count as steady if one of them lies further back than this share of the time that an endpoint may fail; and so
/// long it is before an endpoint is looked at again that might be disabled already.
const MOMENT: u32 = 100;

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Whatever comes, it has not failed for too long before this time.
    NotBefore(Timestamp),
    /// Its last success is too long ago, but it may be that it was hardly tried since, and fails only now.
    OnlyJust,
    /// It is to be disabled: nobody has changed it since the attempt.
    TooLong(Box<Endpoint>),
}

/// How long it is before an endpoint is looked at again that might be disabled already.
pub(crate) fn moment(failing_after: Duration) -> Duration {
    failing_after / MOMENT
}

/// Whether the endpoint of `attempt`, which is charged to it, has failed for too long with it.
///
/// It counts from its last success, or from the last change of the endpoint if that is later: who has changed or enabled it
/// is given the whole time. A long silence is no failing. So the failures have to be steady: one lies in the later half of
/// the time, and not just before this one; or the whole schedule of a delivery has failed.
pub(crate) async fn look<S: History + Endpoints + ?Sized>(
    store: &S,
    attempt: &Attempt,
    failing_after: Duration,
) -> Result<Found, StoreError> {
    let now = attempt.started_at;
    let by = EndpointRef::Id(attempt.endpoint_id);
    let endpoint = store.endpoint(attempt.app_id, &by).await?;
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.disabled.is_none()) else {
        return Ok(Found::NotBefore(now.plus(failing_after)));
    };
    if endpoint.version != attempt.endpoint_version {
        return Ok(Found::NotBefore(endpoint.updated_at.plus(failing_after)));
    }
    let from = last_well(store, attempt, &endpoint).await?;
    let Some(since) = first_charged(store, attempt, from, None).await? else {
        return Ok(Found::NotBefore(now.plus(failing_after)));
    };
    let too_long_at = since.plus(failing_after);
    if now < too_long_at {
        return Ok(Found::NotBefore(too_long_at));
    }
    let half = since.plus(now.since(since) / 2);
    let lately = now.minus(moment(failing_after));
    let is_steady = attempt.exhausted
        || first_charged(store, attempt, half, Some(lately))
            .await?
            .is_some();
    Ok(if is_steady {
        Found::TooLong(Box::new(endpoint))
    } else {
        Found::OnlyJust
    })
}

/// When the endpoint last did well, or was changed. What ended with a status that its owner calls final did well: the outcome
/// stands in no column, but since the last change the list is the present one.
async fn last_well<S: History + ?Sized>(
    store: &S,
    attempt: &Attempt,
    endpoint: &Endpoint,
) -> Result<Timestamp, StoreError> {
    // One that started in the millisecond of the change counts.
    let changed = endpoint.updated_at.minus(Duration::from_millis(1));
    let filter = AttemptFilter {
        status: Some(StatusFilter::Succeeded),
        or_failed_with: endpoint.policy.final_statuses.clone(),
        after: Some(changed),
        ..to_endpoint(endpoint.id)
    };
    let newest = page(1, Order::Descending);
    let well = store.attempts(attempt.app_id, &filter, &newest).await?;
    Ok(well.first().map_or(changed, |well| well.started_at))
}

/// The first failure after `after` that is charged to the endpoint of `attempt`.
async fn first_charged<S: History + ?Sized>(
    store: &S,
    attempt: &Attempt,
    after: Timestamp,
    before: Option<Timestamp>,
) -> Result<Option<Timestamp>, StoreError> {
    let filter = AttemptFilter {
        after: Some(after),
        before,
        ..to_endpoint(attempt.endpoint_id)
    };
    let oldest = page(FIRST_FAILURES, Order::Ascending);
    let attempts = store.attempts(attempt.app_id, &filter, &oldest).await?;
    let mut charged = attempts
        .iter()
        .filter(|attempt| attempt.outcome.health().is_charged());
    Ok(charged.next().map(|failed| failed.started_at))
}

/// Nothing is concluded from what is left where something cannot be read.
fn to_endpoint(endpoint: EndpointId) -> AttemptFilter {
    AttemptFilter {
        endpoint: Some(endpoint),
        all_readable: true,
        ..AttemptFilter::default()
    }
}

fn page<K>(limit: usize, order: Order) -> Page<K> {
    Page {
        limit,
        start: PageStart::Beginning,
        order,
    }
}
