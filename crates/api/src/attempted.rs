//! Deliveries, as their newest attempts tell: the endpoints of an event, and the events of an endpoint.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use postrider_http::{
    HttpError, InApp, InPath, MessageOut, Query, Slashed, endpoint_ref, unavailable,
};
use postrider_model::{AppId, Attempt, DeadLetterId, EndpointId, Event, EventId};
use postrider_store::{AttemptFilter, HistoryKey, Order, Page, PageStart, Tried};
use serde::Serialize;

use crate::Api;
use crate::attempts::{FILTER, filter, key};
use crate::endpoint_out::EndpointOut;
use crate::page::{CONTENT, PAGING, Paging};
use crate::reply::{Answer, Reply};
use crate::status::{DeliveryStatusOut, Standing, Status};
use crate::weighed::weight;

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
    query.check(&[&PAGING])?;
    let paging = Paging::<EndpointId>::of(&query, Order::Ascending)?;
    let event = api.event(app.id, &id).await?;
    let _turn = api.turn().await?;
    let mut all = api.whom(app.id, event.id).await?;
    // Endpoints that were deleted since are not shown: nothing of them is left but their id.
    let snapshot = api.registry().snapshot();
    all.retain(|id, _| snapshot.endpoint(*id).is_some());
    let page = page_of(all.keys().copied().collect(), &paging);
    // An event may have gone to very many: attempts are read only of those that are shown.
    let shown: Vec<Tried> = page
        .iter()
        .filter_map(|id| all.get(id).copied().flatten())
        .collect();
    let newest = api.store.latest_attempts(app.id, event.id, &shown).await;
    let newest = newest.map_err(unavailable)?;
    let newest: HashMap<EndpointId, &Attempt> = newest
        .iter()
        .map(|attempt| (attempt.endpoint_id, attempt))
        .collect();
    let newest_of = |id: &EndpointId| newest.get(id).copied();
    let deliveries: Vec<_> = page
        .iter()
        .map(|id| Standing::of(event.id, *id, newest_of(id)))
        .collect();
    let given_up = api.given_up(&deliveries).await?;
    let now = api.now();
    let out = paging.listed(
        &page,
        |id| *id,
        |id| {
            let endpoint = snapshot.endpoint(*id)?;
            let standing = Standing::of(event.id, *id, newest_of(id));
            Some(DestinationOut {
                endpoint: EndpointOut::from(endpoint.as_ref()),
                status: standing.out(&given_up, now),
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
///
/// An attempt is listed if it is its delivery's newest of all, so an event stands on one page only, whatever is tried while
/// somebody turns the pages.
async fn events(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): InPath<(String, String)>,
    query: Query,
) -> Answer {
    query.check(&[&PAGING, &CONTENT, &FILTER])?;
    let mut paging = Paging::of(&query, Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let status = Status::asked(&query)?;
    let filter = AttemptFilter {
        endpoint: Some(api.endpoint(app.id, &endpoint_ref(&id)?).await?.id),
        status: status.map(Status::of_newest),
        only_newest: true,
        ..filter(&query)?
    };
    let (api, app_id, filter) = (&api, app.id, &filter);
    let ask = |page| async move { api.with_events(app_id, filter, &page).await };
    let weigh = |(_, event): &mut (Attempt, Option<Event>)| match event {
        Some(event) => weight(&mut event.payload, with_content),
        None => 0,
    };
    let key = |(attempt, _): &(Attempt, _)| key(attempt);
    let _turn = api.turn().await?;
    let newest = paging.weighed(key, weigh, ask).await?;
    let deliveries: Vec<_> = newest
        .iter()
        .map(|(attempt, _)| Standing::tried(attempt))
        .collect();
    let given_up = api.given_up(&deliveries).await?;
    let now = api.now();
    Reply::ok(&paging.listed(&newest, key, |(attempt, event)| {
        let standing = Standing::tried(attempt);
        let is_shown = status.is_none_or(|asked| asked == standing.status(&given_up));
        // An event that retention has deleted is no longer listed.
        let event = event.as_ref().filter(|_| is_shown)?;
        Some(AttemptedOut {
            event: MessageOut::of(event, with_content),
            status: standing.out(&given_up, now),
        })
    }))
}

impl Api {
    /// Whom an event went to, and when each was tried last, if it was.
    async fn whom(
        &self,
        app_id: AppId,
        event: EventId,
    ) -> Result<BTreeMap<EndpointId, Option<Tried>>, HttpError> {
        let fanned_out = self.store.fanned_out(app_id, event).await;
        let mut all = BTreeMap::new();
        if let Some(fanned_out) = fanned_out.map_err(unavailable)? {
            all.extend(fanned_out.endpoints.into_iter().map(|id| (id, None)));
        }
        let tried = self.store.tried(app_id, event).await;
        let tried = tried.map_err(unavailable)?.into_iter();
        all.extend(tried.map(|tried| (tried.endpoint, Some(tried))));
        Ok(all)
    }

    /// Attempts, each with its event if that is archived.
    async fn with_events(
        &self,
        app_id: AppId,
        filter: &AttemptFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<(Attempt, Option<Event>)>, HttpError> {
        let attempts = self.store.attempts(app_id, filter, page).await;
        let attempts = attempts.map_err(unavailable)?;
        let ids: Vec<_> = attempts.iter().map(|attempt| attempt.event_id).collect();
        let events = self.store.events_by_id(app_id, &ids).await;
        let events = events.map_err(unavailable)?.into_iter();
        let events: HashMap<_, _> = events.map(|event| (event.id, event)).collect();
        let with_event = |attempt: Attempt| {
            let event = events.get(&attempt.event_id).cloned();
            (attempt, event)
        };
        Ok(attempts.into_iter().map(with_event).collect())
    }

    /// The dead letters of those of these deliveries whose attempts say that another follows, or that none was made yet.
    async fn given_up(
        &self,
        deliveries: &[Standing<'_>],
    ) -> Result<HashSet<DeadLetterId>, HttpError> {
        let waiting = deliveries.iter().filter(|standing| standing.is_waiting());
        let letters: Vec<_> = waiting.map(Standing::dead_letter).collect();
        if letters.is_empty() {
            return Ok(HashSet::new());
        }
        let given_up = self.store.given_up(&letters).await.map_err(unavailable)?;
        Ok(given_up.into_iter().collect())
    }
}
