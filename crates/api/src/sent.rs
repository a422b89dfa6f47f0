//! What a request to change a thing sends: which one, and what of it.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use postrider_http::{HttpError, InApp, InPath, endpoint_ref, parse_json};
use postrider_store::{Application, EndpointRef};
use serde::de::DeserializeOwned;

use crate::Api;

/// Extracts the path's application and endpoint, and the body read as a `T`, in this order: who may not ask learns nothing of
/// the body.
pub(crate) struct ToEndpoint<T> {
    pub(crate) app: Arc<Application>,
    pub(crate) by: EndpointRef,
    pub(crate) given: T,
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for ToEndpoint<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, HttpError> {
        let (mut parts, body) = request.into_parts();
        let InApp { app, .. } = InApp::from_request_parts(&mut parts, api).await?;
        let InPath((_, id)) =
            InPath::<(String, String)>::from_request_parts(&mut parts, api).await?;
        let by = endpoint_ref(&id)?;
        let body = api.body(&parts.headers, body).await?;
        Ok(Self {
            app,
            by,
            given: parse_json(&body)?,
        })
    }
}
