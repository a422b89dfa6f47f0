//! An endpoint's signing secret: shown to its owner, rotated without a gap.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use postrider_http::{
    Bounded, Bounds, HttpError, InApp, InPath, Slashed, endpoint_ref, parse_json,
};
use postrider_model::{Endpoint, EndpointSecret, SecretText, Timestamp};
use postrider_signing::Secret;
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::endpoint_in::checked_secret;
use crate::endpoints::Ids;
use crate::idempotent::Operation;
use crate::reply::{Answer, Reply};

/// How long an old secret goes on signing, in seconds, unless asked for otherwise.
const DEFAULT_GRACE_S: u32 = 86_400;
/// The most secrets that sign at once: each lengthens a header of every request.
const MAX_SECRETS: usize = 10;

/// How long an old secret may go on signing.
struct Grace;

impl Bounds for Grace {
    const LOW: u32 = 0;
    const HIGH: u32 = 604_800;
    const OF: &'static str = "seconds; null for a day";
}

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed(
            "/api/v1/app/{app_id}/endpoint/{endpoint_id}/secret",
            get(read),
        )
        .slashed(
            "/api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate",
            post(rotate),
        )
}

async fn read(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
) -> Answer {
    shown(&api.endpoint(app.id, &endpoint_ref(&id)?).await?)
}

/// The current secret.
fn shown(endpoint: &Endpoint) -> Answer {
    #[derive(Serialize)]
    struct SecretOut<'a> {
        key: &'a str,
    }
    let current = endpoint.secrets.first().ok_or(HttpError::NotFound)?;
    Reply::ok(&SecretOut {
        key: current.secret.expose(),
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RotateIn {
    key: Option<String>,
    grace_period_seconds: Option<Bounded<Grace>>,
}

/// Rotates the secret. Clients of the second generation read the new one from the answer, those of the first read nothing.
async fn rotate(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let by = endpoint_ref(&id)?;
    let body = api.body(&headers, body).await?;
    let operation = Operation {
        name: "endpoint.rotate-secret",
        scope: app.id.to_string(),
        target: id.clone(),
        body: &body,
    };
    let (doer, sent) = (Arc::clone(&api), body.clone());
    let (app_id, found_by) = (app.id, by.clone());
    let work = async move {
        let given: RotateIn = match sent.is_empty() {
            true => RotateIn::default(),
            false => parse_json(&sent)?,
        };
        let grace = given
            .grace_period_seconds
            .map_or(DEFAULT_GRACE_S, Bounded::get);
        let new = match given.key {
            Some(text) => checked_secret("key", &text)?,
            None => SecretText::new(Secret::generate().to_whsec().as_str()),
        };
        let now = doer.now();
        let until = now.plus(Duration::from_secs(grace.into()));
        let rotate = |there| rotated(there, new.clone(), now, until);
        doer.change_endpoint(app_id, &found_by, rotate).await?;
        Ok(Reply::nothing())
    };
    // The answer that is kept under a key has no secret in it: a repeat is told the one that is current then.
    api.once(&headers, operation, work).await?;
    shown(&api.endpoint(app.id, &by).await?)
}

/// `endpoint` with `new` as its current secret; the one before signs until `until`, older ones as long as they were to, and
/// no longer than that: without a grace period none but `new` signs, so that a secret which became known can be ended.
fn rotated(
    mut endpoint: Endpoint,
    new: SecretText,
    now: Timestamp,
    until: Timestamp,
) -> Result<Endpoint, HttpError> {
    let before = std::mem::take(&mut endpoint.secrets);
    let retiring = before
        .into_iter()
        .filter(|old| old.secret != new)
        .map(|old| EndpointSecret {
            expires_at: Some(old.expires_at.map_or(until, |at| at.min(until))),
            ..old
        })
        .filter(|old| old.expires_at.is_some_and(|at| at > now));
    endpoint.secrets = std::iter::once(EndpointSecret {
        secret: new.clone(),
        expires_at: None,
    })
    .chain(retiring)
    .collect();
    if endpoint.secrets.len() > MAX_SECRETS {
        return Err(HttpError::Conflict(format!(
            "{MAX_SECRETS} secrets of this endpoint still sign: wait until some expire, or rotate with gracePeriodSeconds 0"
        )));
    }
    Ok(endpoint)
}
