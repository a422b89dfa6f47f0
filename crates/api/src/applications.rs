//! Applications.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use postrider_access::Access;
use postrider_http::{
    ApplicationIn, Gate, HasGate, HttpError, InApp, InPath, Operator, Query, Slashed, parse_json,
    unavailable,
};
use postrider_model::{AppId, Timestamp, Uid};
use postrider_store::{Application, ApplicationRef, Order};
use serde::Serialize;

use crate::Api;
use crate::idempotent::Operation;
use crate::page::{PAGING, Paging};
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed("/api/v1/app", get(list).post(create))
        .slashed(
            "/api/v1/app/{app_id}",
            get(read).put(replace).patch(change).delete(delete),
        )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationOut<'a> {
    id: AppId,
    uid: Option<&'a Uid>,
    name: &'a str,
    metadata: &'a BTreeMap<String, String>,
    throttle_rate: Option<u32>,
    rate_limit: Option<u32>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a Application> for ApplicationOut<'a> {
    fn from(application: &'a Application) -> Self {
        Self {
            id: application.id,
            uid: application.uid.as_ref(),
            name: &application.name,
            metadata: &application.metadata,
            throttle_rate: application.rate_limit,
            rate_limit: application.rate_limit,
            created_at: application.created_at,
            updated_at: application.updated_at,
        }
    }
}

fn shown(status: StatusCode, application: &Application) -> Answer {
    Reply::json(status, &ApplicationOut::from(application))
}

async fn list(State(api): State<Arc<Api>>, _operator: Operator, query: Query) -> Answer {
    query.check(&[&PAGING])?;
    let paging = Paging::<AppId>::of(&query, Order::Ascending)?;
    let page = api.store.applications(&paging.page()).await;
    let page = page.map_err(unavailable)?;
    Reply::ok(&paging.listed(&page, |one| one.id, |one| Some(ApplicationOut::from(one))))
}

async fn create(
    State(api): State<Arc<Api>>,
    _operator: Operator,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let get_if_exists = query.flag("get_if_exists", false)?;
    let body = api.body(&headers, body).await?;
    let operation = Operation {
        name: "application.create",
        scope: String::new(),
        target: get_if_exists.to_string(),
        body: &body,
    };
    let (doer, sent) = (Arc::clone(&api), body.clone());
    let work = async move {
        let given: ApplicationIn = parse_json(&sent)?;
        if get_if_exists && let Some(there) = doer.by_uid(given.uid()).await? {
            return shown(StatusCode::OK, &there);
        }
        let made = given.create(doer.now())?;
        let made = doer.store.insert_application(&made).await?;
        doer.changed().await;
        shown(StatusCode::CREATED, &made)
    };
    api.once(&headers, operation, work).await
}

async fn read(State(api): State<Arc<Api>>, InApp { app, .. }: InApp) -> Answer {
    shown(StatusCode::OK, &api.application(app.id).await?)
}

/// Replaces the application; makes it if the path names none.
async fn replace(
    State(api): State<Arc<Api>>,
    InPath(path): InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let gate: &Gate = api.gate();
    let caller = gate.identify(&headers).await?;
    let there = gate.find(&caller, &path).await?;
    let body = api.body(&headers, body).await?;
    let given: ApplicationIn = parse_json(&body)?;
    if let Some(there) = there {
        let replace = |application| given.clone().replace(application);
        let replaced = api.change_application(there.id, replace).await?;
        return shown(StatusCode::OK, &replaced);
    }
    caller.may(Access::Operate)?;
    // An id that names nothing names something that was deleted: ids are ours to give.
    let uid: Uid = path.parse().map_err(|_| HttpError::NotFound)?;
    if path.parse::<AppId>().is_ok() {
        return Err(HttpError::NotFound);
    }
    let mut made = given.create(api.now())?;
    made.uid.get_or_insert(uid);
    let made = api.store.insert_application(&made).await?;
    api.changed().await;
    shown(StatusCode::CREATED, &made)
}

async fn change(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = api.body(&headers, body).await?;
    let given: ApplicationIn = parse_json(&body)?;
    let change = |application| given.clone().change(application);
    let changed = api.change_application(app.id, change).await?;
    shown(StatusCode::OK, &changed)
}

async fn delete(State(api): State<Arc<Api>>, InApp { app, caller }: InApp) -> Answer {
    caller.may(Access::Operate)?;
    api.store.delete_application(app.id).await?;
    api.changed().await;
    Ok(Reply::nothing())
}

impl Api {
    async fn application(&self, id: AppId) -> Result<Application, HttpError> {
        let by = ApplicationRef::Id(id);
        let found = self.store.application(&by).await.map_err(unavailable)?;
        found.ok_or(HttpError::NotFound)
    }

    async fn by_uid(&self, uid: Option<&Uid>) -> Result<Option<Application>, HttpError> {
        let Some(uid) = uid else { return Ok(None) };
        let by = ApplicationRef::Uid(uid.clone());
        self.store.application(&by).await.map_err(unavailable)
    }

    async fn change_application(
        &self,
        id: AppId,
        change: impl Fn(Application) -> Result<Application, HttpError>,
    ) -> Result<Application, HttpError> {
        self.change(
            || self.application(id),
            change,
            |changed| {
                let store = &self.store;
                async move { store.replace_application(&changed).await }
            },
        )
        .await
    }
}
