//! Deliveries, as their newest attempts tell: the endpoints of an event, and the events of an endpoint.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use postrider_http::{
    HttpError, InApp, InPath, MessageOut, Query, Slashed, endpoint_ref, unavailable,
};
use postrider_model::{AppId, Attempt, AttemptId, EndpointId, Event, EventId};
use postrider_store::{AttemptFilter, EventRef, HistoryKey, Order, Page, PageStart};
use serde::Serialize;

use crate::Api;
use crate::attempts::{filter, key};
use crate::endpoint_out::EndpointOut;
use crate::page::Paging;
use crate::reply::{Answer, Reply};
use crate::status::{DeliveryStatusOut, Status};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed(
            "/api/v1/app/{app_id}/msg/{msg_id}/endpoint",
            get(destinations),
        )
        .slashed(
            "/api/v1/app/{app_id}/endpoint/{endpoint_id}/msg",
            get(events),
        )
}

/// An endpoint of an event, and how its delivery stands.
#[derive(Serialize)]
struct DestinationOut<'a> {
    #[serde(flatten)]
    endpoint: EndpointOut<'a>,
    #[serde(flatten)]
    status: DeliveryStatusOut,
}

/// Whom an event went to: those it was fanned out to, tried or not, and those it was resent to.
async fn destinations(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): InPath<(String, String)>,
    query: Query,
) -> Answer {
    let paging = Paging::<EndpointId>::of(&query, Order::Ascending)?;
    let event = api.event(app.id, &id).await?;
    let fanned_out = api.store.fanned_out(app.id, event.id).await;
    let newest = api.store.latest_attempts(app.id, event.id).await;
    let newest = newest.map_err(unavailable)?;
    let mut all: BTreeMap<EndpointId, Option<&Attempt>> = BTreeMap::new();
    if let Some(fanned_out) = fanned_out.map_err(unavailable)? {
        all.extend(fanned_out.endpoints.into_iter().map(|id| (id, None)));
    }
    all.extend(
        newest
            .iter()
            .map(|attempt| (attempt.endpoint_id, Some(attempt))),
    );
    // Endpoints that were deleted since are not shown: nothing of them is left but their id.
    let snapshot = api.registry().snapshot();
    all.retain(|id, _| snapshot.endpoint(*id).is_some());
    let page = page_of(all.keys().copied().collect(), &paging);
    let out = paging.listed(
        &page,
        |id| *id,
        |id| {
            let endpoint = snapshot.endpoint(*id)?;
            Some(DestinationOut {
                endpoint: EndpointOut::from(endpoint.as_ref()),
                status: DeliveryStatusOut::of(all.get(id).copied().flatten()),
            })
        },
    );
    Reply::ok(&out)
}

/// The page of a listing that is in memory, in ascending order.
fn page_of(mut ids: Vec<EndpointId>, paging: &Paging<EndpointId>) -> Vec<EndpointId> {
    let descending = paging.order == Order::Descending;
    if descending {
        ids.reverse();
    }
    let stands_before = |id: &EndpointId, other: &EndpointId| {
        if descending { id > other } else { id < other }
    };
    match &paging.start {
        PageStart::Beginning => {}
        PageStart::After(start) => ids.retain(|id| stands_before(start, id)),
        PageStart::Before(end) => {
            ids.retain(|id| stands_before(id, end));
            let surplus = ids.len().saturating_sub(paging.limit + 1);
            ids.drain(..surplus);
        }
    }
    ids.truncate(paging.limit + 1);
    ids
}

/// An event of an endpoint, and how its delivery stands.
#[derive(Serialize)]
struct AttemptedOut<'a> {
    #[serde(flatten)]
    event: MessageOut<'a>,
    #[serde(flatten)]
    status: DeliveryStatusOut,
}

/// The events that were tried at an endpoint, those first that were tried last.
async fn events(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): InPath<(String, String)>,
    query: Query,
) -> Answer {
    let paging = Paging::of(&query, Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let status = Status::asked(&query)?;
    let mut filter = filter(&query)?;
    filter.endpoint = Some(api.endpoint(app.id, &endpoint_ref(&id)?).await?.id);
    let found = api.newest_of_each(app.id, &filter, status, &paging).await?;
    Reply::ok(&paging.listed(
        &found,
        |(_, attempt)| key(attempt),
        |(event, attempt)| {
            Some(AttemptedOut {
                event: MessageOut::of(event, with_content),
                status: DeliveryStatusOut::of(Some(attempt)),
            })
        },
    ))
}

/// How many attempts are read at once, and how many times for one page at most, when looking for the newest of each event.
const SCAN: usize = 250;
const SCANS: usize = 40;

impl Api {
    /// The newest attempt of each event at one endpoint, with the event: one more than a page, in the listing's order.
    ///
    /// An attempt is shown if it is its delivery's newest of all, so an event stands on one page only, whatever is tried while
    /// somebody turns the pages.
    async fn newest_of_each(
        &self,
        app_id: AppId,
        filter: &AttemptFilter,
        status: Option<Status>,
        paging: &Paging<HistoryKey>,
    ) -> Result<Vec<(Event, Attempt)>, HttpError> {
        let backward = paging.is_backward();
        let mut found = Vec::new();
        let mut newest = HashMap::new();
        let mut start = paging.start.clone();
        for _ in 0..SCANS {
            let page = Page {
                limit: SCAN,
                start,
                order: paging.order,
            };
            let mut scanned = self
                .store
                .attempts(app_id, filter, &page)
                .await
                .map_err(unavailable)?;
            if backward {
                scanned.reverse();
            }
            let Some(last) = scanned.last().map(key) else {
                break;
            };
            let ended = scanned.len() < SCAN;
            for attempt in scanned {
                if status.is_some_and(|asked| asked != Status::of_delivery(Some(&attempt)))
                    || !self.is_newest(app_id, &attempt, &mut newest).await?
                {
                    continue;
                }
                let by = EventRef::Id(attempt.event_id);
                // An event that retention has deleted is no longer listed.
                if let Some(event) = self.store.event(app_id, &by).await.map_err(unavailable)? {
                    found.push((event, attempt));
                }
                if found.len() > paging.limit {
                    break;
                }
            }
            if ended || found.len() > paging.limit {
                break;
            }
            start = match backward {
                true => PageStart::Before(last),
                false => PageStart::After(last),
            };
        }
        if backward {
            found.reverse();
        }
        Ok(found)
    }

    async fn is_newest(
        &self,
        app_id: AppId,
        attempt: &Attempt,
        known: &mut HashMap<EventId, Vec<AttemptId>>,
    ) -> Result<bool, HttpError> {
        if let Some(newest) = known.get(&attempt.event_id) {
            return Ok(newest.contains(&attempt.id));
        }
        let newest = self.store.latest_attempts(app_id, attempt.event_id).await;
        let newest: Vec<_> = newest
            .map_err(unavailable)?
            .iter()
            .map(|one| one.id)
            .collect();
        let is_newest = newest.contains(&attempt.id);
        known.insert(attempt.event_id, newest);
        Ok(is_newest)
    }
}
