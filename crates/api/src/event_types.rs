//! Event types.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use postrider_http::{
    Given, HttpError, InPath, Operator, Query, Slashed, check_description, parse_json, unavailable,
};
use postrider_model::{EventType, Timestamp};
use postrider_store::{EventTypeInfo, Order, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Api;
use crate::idempotent::Operation;
use crate::page::{PAGING, Paging};
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed("/api/v1/event-type", get(list).post(create))
        .slashed(
            "/api/v1/event-type/{event_type_name}",
            get(read).put(replace).patch(change).delete(delete),
        )
}

/// An event type as it is sent for creation, replacement or change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EventTypeIn {
    name: Given<EventType>,
    description: Given<String>,
    archived: Given<bool>,
    deprecated: Given<bool>,
    schemas: Given<Box<RawValue>>,
    feature_flag: Given<String>,
}

impl EventTypeIn {
    fn create(self, name: EventType, now: Timestamp) -> Result<EventTypeInfo, HttpError> {
        self.replace(EventTypeInfo {
            name,
            description: String::new(),
            archived: false,
            deprecated: false,
            schemas: None,
            feature_flag: None,
            version: 0,
            created_at: now,
            updated_at: now,
        })
    }

    fn replace(self, there: EventTypeInfo) -> Result<EventTypeInfo, HttpError> {
        if !matches!(self.description, Given::Value(_)) {
            return Err(HttpError::body(
                "description",
                "expected a text; it may be empty",
            ));
        }
        self.change(EventTypeInfo {
            archived: false,
            deprecated: false,
            schemas: None,
            feature_flag: None,
            ..there
        })
    }

    fn change(self, mut there: EventTypeInfo) -> Result<EventTypeInfo, HttpError> {
        let schemas = self.schemas.try_map(|raw| {
            let text = raw.get();
            let object = text.starts_with('{').then(|| text.to_owned());
            object.ok_or_else(|| {
                HttpError::body("schemas", "expected an object of JSON schemas by version")
            })
        })?;
        check_description(&self.description)?;
        check_flag(&self.feature_flag)?;
        self.description.put(&mut there.description);
        self.archived.put(&mut there.archived);
        self.deprecated.put(&mut there.deprecated);
        schemas.put_option(&mut there.schemas);
        self.feature_flag.put_option(&mut there.feature_flag);
        Ok(there)
    }
}

/// Refuses a flag that is none by the dialect's pattern, which is that of an event type's name.
fn check_flag(given: &Given<String>) -> Result<(), HttpError> {
    match given {
        Given::Value(flag) if flag.parse::<EventType>().is_err() => Err(HttpError::body(
            "featureFlag",
            "expected 1 to 256 characters of A-Z, a-z, 0-9, '-', '_' and '.'",
        )),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventTypeOut<'a> {
    name: &'a EventType,
    description: &'a str,
    archived: bool,
    deprecated: bool,
    schemas: Option<&'a RawValue>,
    feature_flag: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> EventTypeOut<'a> {
    fn of(event_type: &'a EventTypeInfo, with_content: bool) -> Self {
        let schemas = event_type.schemas.as_deref().filter(|_| with_content);
        Self {
            name: &event_type.name,
            description: &event_type.description,
            archived: event_type.archived,
            deprecated: event_type.deprecated,
            schemas: schemas.and_then(|text| serde_json::from_str(text).ok()),
            feature_flag: event_type.feature_flag.as_deref(),
            created_at: event_type.created_at,
            updated_at: event_type.updated_at,
        }
    }
}

fn shown(status: StatusCode, event_type: &EventTypeInfo) -> Answer {
    Reply::json(status, &EventTypeOut::of(event_type, true))
}

async fn list(State(api): State<Arc<Api>>, _operator: Operator, query: Query) -> Answer {
    query.check(&[&PAGING, &["include_archived", "with_content"]])?;
    let paging = Paging::<EventType>::of(&query, Order::Ascending)?;
    let archived = query.flag("include_archived", false)?;
    let with_content = query.flag("with_content", false)?;
    let page = api.store.event_types(archived, &paging.page()).await;
    let page = page.map_err(unavailable)?;
    Reply::ok(&paging.listed(
        &page,
        |one| one.name.clone(),
        |one| Some(EventTypeOut::of(one, with_content)),
    ))
}

/// Creates an event type, or takes an archived one back with what is sent now.
async fn create(
    State(api): State<Arc<Api>>,
    _operator: Operator,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = api.body(&headers, body).await?;
    let operation = Operation {
        name: "event-type.create",
        scope: String::new(),
        target: String::new(),
        body: &body,
    };
    let (doer, sent) = (Arc::clone(&api), body.clone());
    let work = async move {
        let mut given: EventTypeIn = parse_json(&sent)?;
        let name = std::mem::take(&mut given.name).value();
        let name = name.ok_or_else(|| HttpError::body("name", "is missing"))?;
        let made = given.clone().create(name.clone(), doer.now())?;
        let made = match doer.store.insert_event_type(&made).await {
            Err(StoreError::Conflict(why)) => doer.unarchive(&name, given, why).await?,
            other => other?,
        };
        doer.changed().await;
        shown(StatusCode::CREATED, &made)
    };
    api.once(&headers, operation, work).await
}

async fn read(
    State(api): State<Arc<Api>>,
    _operator: Operator,
    InPath(name): InPath<String>,
) -> Answer {
    let name = named(&name)?;
    shown(StatusCode::OK, &api.event_type(&name).await?)
}

/// Replaces the event type; makes it if there is none.
async fn replace(
    State(api): State<Arc<Api>>,
    _operator: Operator,
    InPath(name): InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = api.body(&headers, body).await?;
    let given: EventTypeIn = parse_json(&body)?;
    let name: EventType = name.parse().map_err(|error| {
        HttpError::Invalid(vec![postrider_http::Fault::new(
            "path",
            "event_type_name",
            error,
        )])
    })?;
    let there = api.store.event_type(&name).await.map_err(unavailable)?;
    if there.is_none() {
        let made = given.create(name, api.now())?;
        let made = api.store.insert_event_type(&made).await?;
        api.changed().await;
        return shown(StatusCode::CREATED, &made);
    }
    let replace = |there| given.clone().replace(there);
    shown(
        StatusCode::OK,
        &api.change_event_type(&name, replace).await?,
    )
}

async fn change(
    State(api): State<Arc<Api>>,
    _operator: Operator,
    InPath(name): InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let name = named(&name)?;
    let body = api.body(&headers, body).await?;
    let given: EventTypeIn = parse_json(&body)?;
    let change = |there| given.clone().change(there);
    shown(StatusCode::OK, &api.change_event_type(&name, change).await?)
}

/// Archives the event type; removes it with `expunge`.
async fn delete(
    State(api): State<Arc<Api>>,
    _operator: Operator,
    InPath(name): InPath<String>,
    query: Query,
) -> Answer {
    let name = named(&name)?;
    if query.flag("expunge", false)? {
        api.store.delete_event_type(&name).await?;
        api.changed().await;
        return Ok(Reply::nothing());
    }
    let archive = |there| {
        Ok(EventTypeInfo {
            archived: true,
            ..there
        })
    };
    api.change_event_type(&name, archive).await?;
    Ok(Reply::nothing())
}

/// The event type that a path names; what cannot be one is not found.
fn named(text: &str) -> Result<EventType, HttpError> {
    text.parse().map_err(|_| HttpError::NotFound)
}

impl Api {
    async fn event_type(&self, name: &EventType) -> Result<EventTypeInfo, HttpError> {
        let found = self.store.event_type(name).await.map_err(unavailable)?;
        found.ok_or(HttpError::NotFound)
    }

    async fn change_event_type(
        &self,
        name: &EventType,
        change: impl Fn(EventTypeInfo) -> Result<EventTypeInfo, HttpError>,
    ) -> Result<EventTypeInfo, HttpError> {
        self.change(
            || self.event_type(name),
            change,
            |changed| {
                let store = &self.store;
                async move { store.replace_event_type(&changed).await }
            },
        )
        .await
    }

    async fn unarchive(
        &self,
        name: &EventType,
        given: EventTypeIn,
        taken: String,
    ) -> Result<EventTypeInfo, HttpError> {
        let take_back = |there: EventTypeInfo| {
            if there.archived {
                given.clone().replace(there)
            } else {
                Err(HttpError::Conflict(taken.clone()))
            }
        };
        self.change_event_type(name, take_back).await
    }
}
