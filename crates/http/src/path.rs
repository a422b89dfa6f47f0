//! Ids and uids in paths.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use postrider_model::Uid;
use postrider_store::{ApplicationRef, EndpointRef, EventRef};
use serde::de::DeserializeOwned;

use crate::{Given, HttpError};

/// An application by id or uid; `None` if the text can be neither.
pub fn application_ref(given: &str) -> Option<ApplicationRef> {
    let id = given.parse().map(ApplicationRef::Id).ok();
    id.or_else(|| given.parse().map(ApplicationRef::Uid).ok())
}

/// An endpoint by id or uid; what can be neither is not found.
pub fn endpoint_ref(given: &str) -> Result<EndpointRef, HttpError> {
    let id = given.parse().map(EndpointRef::Id).ok();
    id.or_else(|| given.parse().map(EndpointRef::Uid).ok())
        .ok_or(HttpError::NotFound)
}

/// An event by id or `eventId`; what can be neither is not found.
pub fn event_ref(given: &str) -> Result<EventRef, HttpError> {
    let id = given.parse().map(EventRef::Id).ok();
    id.or_else(|| given.parse().map(EventRef::Uid).ok())
        .ok_or(HttpError::NotFound)
}

/// Refuses a uid that reads as an `I`, the id of such a thing: a path takes either, and would name the thing that has the id.
pub fn check_uid<I: FromStr>(given: &Given<Uid>) -> Result<(), HttpError> {
    let Given::Value(uid) = given else {
        return Ok(());
    };
    if uid.as_str().parse::<I>().is_err() {
        return Ok(());
    }
    Err(HttpError::body(
        "uid",
        format!(
            "\"{uid}\" has the form of an id, and a path takes either: ids are given by the server; choose another uid"
        ),
    ))
}

/// Extracts the path's parameters; what does not fit is not found.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(params)) => Ok(Self(params)),
            Err(_) => Err(HttpError::NotFound),
        }
    }
}
