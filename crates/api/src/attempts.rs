//! Attempts, by event, by endpoint, and one.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use postrider_http::{HttpError, InApp, InPath, Query, Slashed, endpoint_ref, unavailable};
use postrider_model::{AppId, Attempt, AttemptId, EndpointId, EventId, Timestamp, Trigger};
use postrider_store::{AttemptFilter, EndpointRef, HistoryKey, Order, StatusFilter};
use serde::Serialize;

use crate::Api;
use crate::page::{CONTENT, ListOut, PAGING, Paging};
use crate::reply::{Answer, Reply};
use crate::status::{Status, StatusOut, next_attempt};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed("/api/v1/app/{app_id}/attempt/msg/{msg_id}", get(by_event))
        .slashed(
            "/api/v1/app/{app_id}/attempt/endpoint/{endpoint_id}",
            get(by_endpoint),
        )
        .slashed(
            "/api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}",
            get(read),
        )
}

/// An attempt as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptOut<'a> {
    id: AttemptId,
    endpoint_id: EndpointId,
    msg_id: EventId,
    url: &'a str,
    /// The beginning of the answer's body; where there was no answer, what went wrong.
    response: Cow<'a, str>,
    /// 0 where there was no answer.
    response_status_code: u16,
    response_duration_ms: u64,
    #[serde(flatten)]
    status: StatusOut,
    trigger_type: u8,
    timestamp: Timestamp,
    outcome: &'static str,
    number: u32,
    /// When the next attempt is due; null if none follows, or once that time has passed.
    next_attempt: Option<Timestamp>,
}

impl<'a> AttemptOut<'a> {
    fn of(attempt: &'a Attempt, with_content: bool, now: Timestamp) -> Self {
        let response = match (with_content, attempt.error.as_str()) {
            (false, _) => Cow::Borrowed(""),
            (true, "") => String::from_utf8_lossy(&attempt.response_body),
            (true, error) => Cow::Borrowed(error),
        };
        Self {
            id: attempt.id,
            endpoint_id: attempt.endpoint_id,
            msg_id: attempt.event_id,
            url: &attempt.url,
            response,
            response_status_code: attempt.status_code.unwrap_or(0),
            response_duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            status: Status::of_attempt(attempt).into(),
            trigger_type: match attempt.trigger {
                Trigger::Scheduled => 0,
                Trigger::Manual => 1,
            },
            timestamp: attempt.started_at,
            outcome: attempt.outcome.label(),
            number: attempt.number,
            next_attempt: next_attempt(attempt, now),
        }
    }
}

/// Where an attempt stands in listings.
pub(crate) fn key(attempt: &Attempt) -> HistoryKey {
    HistoryKey {
        at: attempt.started_at,
        id: *attempt.id.as_bytes(),
    }
}

async fn by_event(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): InPath<(String, String)>,
    query: Query,
) -> Answer {
    query.check(&[&PAGING, &CONTENT, &FILTER, &["endpoint_id"]])?;
    let mut filter = filter(&query)?;
    let event = api.event(app.id, &id).await?;
    filter.event = Some(event.id);
    if let Some(text) = query.filter("endpoint_id")? {
        // The attempts of a deleted endpoint are still found by its id.
        filter.endpoint = Some(match endpoint_ref(text)? {
            EndpointRef::Id(id) => id,
            by @ EndpointRef::Uid(_) => api.endpoint(app.id, &by).await?.id,
        });
    }
    listed(&api, app.id, filter, &query).await
}

async fn by_endpoint(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): InPath<(String, String)>,
    query: Query,
) -> Answer {
    query.check(&[&PAGING, &CONTENT, &FILTER])?;
    let mut filter = filter(&query)?;
    filter.endpoint = Some(api.endpoint(app.id, &endpoint_ref(&id)?).await?.id);
    listed(&api, app.id, filter, &query).await
}

async fn read(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, event, attempt)): InPath<(String, String, String)>,
) -> Answer {
    let id: AttemptId = attempt.parse().map_err(|_| HttpError::NotFound)?;
    let event = api.event(app.id, &event).await?;
    let found = api.store.attempt(app.id, event.id, id).await;
    let found = found.map_err(unavailable)?.ok_or(HttpError::NotFound)?;
    Reply::ok(&AttemptOut::of(&found, true, api.now()))
}

/// What [`filter`] reads, and the status.
pub(crate) const FILTER: [&str; 6] = [
    "status",
    "status_code_class",
    "event_types",
    "channel",
    "before",
    "after",
];

/// What a query asks for, but for the status, the event and the endpoint.
pub(crate) fn filter(query: &Query) -> Result<AttemptFilter, HttpError> {
    let status_class = match query.filter("status_code_class")? {
        None => None,
        Some("100") => Some(1),
        Some("200") => Some(2),
        Some("300") => Some(3),
        Some("400") => Some(4),
        Some("500") => Some(5),
        Some(_) => {
            let expected = "expected 100, 200, 300, 400 or 500";
            return Err(HttpError::query("status_code_class", expected));
        }
    };
    Ok(AttemptFilter {
        status_class,
        event_types: query.list("event_types")?,
        channel: query.get("channel")?,
        before: query.time("before")?,
        after: query.time("after")?,
        ..AttemptFilter::default()
    })
}

async fn listed(api: &Api, app_id: AppId, filter: AttemptFilter, query: &Query) -> Answer {
    let paging = Paging::of(query, Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let status = Status::asked(query)?;
    let _turn = api.turn().await?;
    let items = api.attempts(app_id, filter, status, &paging).await?;
    let now = api.now();
    let list: ListOut<_> = paging.listed(&items, key, |attempt| {
        Some(AttemptOut::of(attempt, with_content, now))
    });
    Reply::ok(&list)
}

impl Api {
    /// Attempts of one status. The store tells failures that another attempt follows from those that none does; the dialect
    /// calls both failed.
    async fn attempts(
        &self,
        app_id: AppId,
        filter: AttemptFilter,
        status: Option<Status>,
        paging: &Paging<HistoryKey>,
    ) -> Result<Vec<Attempt>, HttpError> {
        let ask = async |status: Option<StatusFilter>| {
            let filter = AttemptFilter {
                status,
                ..filter.clone()
            };
            let page = self.store.attempts(app_id, &filter, &paging.page()).await;
            page.map_err(unavailable)
        };
        match status {
            None => ask(None).await,
            Some(Status::Success) => ask(Some(StatusFilter::Succeeded)).await,
            // An attempt that is recorded has ended.
            Some(Status::Pending) => Ok(Vec::new()),
            Some(Status::Fail) => {
                let mut all = ask(Some(StatusFilter::Failed)).await?;
                all.extend(ask(Some(StatusFilter::Pending)).await?);
                Ok(merged(all, paging))
            }
        }
    }
}

/// The page that two pages make together.
fn merged(mut all: Vec<Attempt>, paging: &Paging<HistoryKey>) -> Vec<Attempt> {
    all.sort_by_key(key);
    if paging.order == Order::Descending {
        all.reverse();
    }
    let shown = paging.limit + 1;
    if paging.is_backward() && all.len() > shown {
        all.drain(..all.len() - shown);
    }
    all.truncate(shown);
    all
}
