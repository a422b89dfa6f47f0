//! How far a request about dead letters and replays reaches: everything, or one application.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use postrider_http::{Caller, Fault, HasGate, HttpError, InApp, Operator, application_ref};
use postrider_model::AppId;

use crate::Api;

/// Extracts who asks and how far they reach: the path's application, if it names one, else everything, for operators.
pub(crate) struct Reach {
    /// The one application; `None` for all.
    pub(crate) app_id: Option<AppId>,
    /// Who asks.
    pub(crate) caller: Caller,
}

impl Reach {
    /// True if what belongs to `app_id` lies within.
    pub(crate) fn covers(&self, app_id: Option<AppId>) -> bool {
        self.app_id.is_none() || self.app_id == app_id
    }

    /// This reach narrowed to the application that `given`, in `place` under `field`, names, if it names one.
    pub(crate) async fn narrowed(
        &self,
        api: &Api,
        given: Option<&str>,
        place: &'static str,
        field: &'static str,
    ) -> Result<Option<AppId>, HttpError> {
        let Some(given) = given else {
            return Ok(self.app_id);
        };
        if application_ref(given).is_none() {
            let fault = Fault::new(place, field, "expected an application's id or uid");
            return Err(HttpError::Invalid(vec![fault]));
        }
        let named = api.gate().find(&self.caller, given).await?;
        let named = named.ok_or(HttpError::NotFound)?.id;
        match self.covers(Some(named)) {
            true => Ok(Some(named)),
            false => Err(HttpError::NotFound),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Reach {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, HttpError> {
        let params = RawPathParams::from_request_parts(parts, api)
            .await
            .map_err(|_| HttpError::NotFound)?;
        if params.iter().any(|(name, _)| name == "app_id") {
            let InApp { app, caller } = InApp::from_request_parts(parts, api).await?;
            return Ok(Self {
                app_id: Some(app.id),
                caller,
            });
        }
        let Operator(caller) = Operator::from_request_parts(parts, api).await?;
        Ok(Self {
            app_id: None,
            caller,
        })
    }
}

/// Extracts the id at the end of a path, whether or not an application stands before it.
pub(crate) struct LastId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for LastId {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| HttpError::NotFound)?;
        let id = params.iter().find(|(name, _)| *name == "id");
        id.map(|(_, value)| Self(value.to_owned()))
            .ok_or(HttpError::NotFound)
    }
}
