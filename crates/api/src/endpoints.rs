//! Endpoints.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use postrider_http::{
    HttpError, InApp, InPath, Query, Slashed, endpoint_ref, parse_json, unavailable,
};
use postrider_model::{AppId, Endpoint, EndpointId, EventType};
use postrider_store::{EndpointRef, Order};

use crate::Api;
use crate::endpoint_in::EndpointIn;
use crate::endpoint_out::EndpointOut;
use crate::idempotent::Operation;
use crate::page::{PAGING, Paging};
use crate::reply::{Answer, Reply};
use crate::sent::ToEndpoint;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed("/api/v1/app/{app_id}/endpoint", get(list).post(create))
        .slashed(
            "/api/v1/app/{app_id}/endpoint/{endpoint_id}",
            get(read).put(replace).patch(change).delete(delete),
        )
}

/// The path's application and endpoint.
pub(crate) type Ids = InPath<(String, String)>;

fn shown(status: StatusCode, endpoint: &Endpoint) -> Answer {
    Reply::json(status, &EndpointOut::from(endpoint))
}

async fn list(State(api): State<Arc<Api>>, InApp { app, .. }: InApp, query: Query) -> Answer {
    query.check(&[&PAGING])?;
    let paging = Paging::<EndpointId>::of(&query, Order::Ascending)?;
    let page = api.store.endpoints(app.id, &paging.page()).await;
    let page = page.map_err(unavailable)?;
    Reply::ok(&paging.listed(&page, |one| one.id, |one| Some(EndpointOut::from(one))))
}

async fn create(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = api.body(&headers, body).await?;
    let operation = Operation {
        name: "endpoint.create",
        scope: app.id.to_string(),
        target: String::new(),
        body: &body,
    };
    let (doer, sent) = (Arc::clone(&api), body.clone());
    let work = async move {
        let given: EndpointIn = parse_json(&sent)?;
        doer.check_types(given.wanted_types()?).await?;
        let made = given.create(app.id, &doer.guard, doer.now())?;
        let made = doer.make_endpoint(&made).await?;
        shown(StatusCode::CREATED, &made)
    };
    api.once(&headers, operation, work).await
}

async fn read(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
) -> Answer {
    shown(
        StatusCode::OK,
        &api.endpoint(app.id, &endpoint_ref(&id)?).await?,
    )
}

/// Replaces the endpoint; makes it if the path names none.
async fn replace(
    State(api): State<Arc<Api>>,
    ToEndpoint { app, by, given }: ToEndpoint<EndpointIn>,
) -> Answer {
    api.check_types(given.wanted_types()?).await?;
    let there = api.store.endpoint(app.id, &by).await.map_err(unavailable)?;
    if there.is_some() {
        let replace = |there| given.clone().replace(there, &api.guard);
        let replaced = api.change_endpoint(app.id, &by, replace).await?;
        return shown(StatusCode::OK, &replaced);
    }
    // An id that names nothing names something that was deleted: ids are ours to give.
    let EndpointRef::Uid(uid) = by else {
        return Err(HttpError::NotFound);
    };
    let mut made = given.create(app.id, &api.guard, api.now())?;
    made.uid.get_or_insert(uid);
    let made = api.make_endpoint(&made).await?;
    shown(StatusCode::CREATED, &made)
}

async fn change(
    State(api): State<Arc<Api>>,
    ToEndpoint { app, by, given }: ToEndpoint<EndpointIn>,
) -> Answer {
    api.check_types(given.wanted_types()?).await?;
    let change = |there| given.clone().change(there, &api.guard);
    let changed = api.change_endpoint(app.id, &by, change).await?;
    shown(StatusCode::OK, &changed)
}

async fn delete(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
) -> Answer {
    let there = api.endpoint(app.id, &endpoint_ref(&id)?).await?;
    api.store.delete_endpoint(app.id, there.id).await?;
    api.changed().await;
    Ok(Reply::nothing())
}

impl Api {
    /// One endpoint of an application.
    pub(crate) async fn endpoint(
        &self,
        app_id: AppId,
        by: &EndpointRef,
    ) -> Result<Endpoint, HttpError> {
        let found = self.store.endpoint(app_id, by).await.map_err(unavailable)?;
        found.ok_or(HttpError::NotFound)
    }

    /// Reads an endpoint, changes it and writes it.
    pub(crate) async fn change_endpoint(
        &self,
        app_id: AppId,
        by: &EndpointRef,
        change: impl Fn(Endpoint) -> Result<Endpoint, HttpError>,
    ) -> Result<Endpoint, HttpError> {
        self.change(
            || self.endpoint(app_id, by),
            change,
            |changed| {
                let store = &self.store;
                async move { store.replace_endpoint(&changed).await }
            },
        )
        .await
    }

    /// Refuses event types that nobody registered: an endpoint that waits for a misspelt one would wait for ever.
    async fn check_types(
        &self,
        (field, wanted): (&'static str, &[EventType]),
    ) -> Result<(), HttpError> {
        let unknown = || {
            let snapshot = self.registry().snapshot();
            let unknown = wanted
                .iter()
                .filter(|name| snapshot.event_type(name).is_none());
            unknown.map(EventType::as_str).collect::<Vec<_>>()
        };
        if unknown().is_empty() {
            return Ok(());
        }
        self.registry().refresh().await.map_err(unavailable)?;
        match unknown() {
            unknown if unknown.is_empty() => Ok(()),
            unknown => Err(HttpError::body(
                field,
                format!(
                    "there are no such event types: {}; create them at /api/v1/event-type first",
                    unknown.join(", ")
                ),
            )),
        }
    }
}
