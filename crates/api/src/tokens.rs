//! Tokens: list, make, revoke. For operators. With SQLite, whose file belongs to the server, this is how commands reach them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use postrider_access::Token;
use postrider_http::{
    Bounded, Bounds, HttpError, InPath, Operator, Query, Slashed, application_ref, parse_json,
    unavailable,
};
use postrider_model::{AppId, Timestamp, TokenId};
use postrider_store::{Order, TokenRecord, TokenScope, revoke_token};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::page::{PAGING, Paging};
use crate::reply::{Answer, Reply};

const BASE: &str = "/api/v1/token";

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed(BASE, get(list).post(create))
        .slashed(&format!("{BASE}/{{token_id}}/revoke"), post(revoke))
}

/// How long a token may be good for: ten years at most.
#[derive(Debug)]
struct Lifetime;

impl Bounds for Lifetime {
    const LOW: u32 = 1;
    const HIGH: u32 = 315_360_000;
    const OF: &'static str = "seconds; null for a token that does not expire";
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenIn {
    /// What it is for.
    name: String,
    /// Id or uid of the application that it opens; without it, it is an operator's.
    application_id: Option<String>,
    /// How long it is good for; without it, until it is revoked.
    expires_in_seconds: Option<Bounded<Lifetime>>,
}

/// A token as it is shown: never its text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenOut {
    id: TokenId,
    name: String,
    application_id: Option<AppId>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<&TokenRecord> for TokenOut {
    fn from(record: &TokenRecord) -> Self {
        Self {
            id: record.id,
            name: record.name.clone(),
            application_id: match record.scope {
                TokenScope::Operator => None,
                TokenScope::Application(app) => Some(app),
            },
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
        }
    }
}

/// A new token, with its text: it cannot be shown again.
#[derive(Serialize)]
struct MadeOut<'a> {
    #[serde(flatten)]
    token: TokenOut,
    #[serde(rename = "token")]
    text: &'a str,
}

async fn list(State(api): State<Arc<Api>>, _: Operator, query: Query) -> Answer {
    query.check(&[&PAGING])?;
    let paging = Paging::<TokenId>::of(&query, Order::Ascending)?;
    let page = api.store.tokens(&paging.page()).await;
    let page = page.map_err(unavailable)?;
    Reply::ok(&paging.listed(&page, |one| one.id, |one| Some(TokenOut::from(one))))
}

/// Answers of repeated requests are kept in the store, where a token's text must never be: so this takes no key.
async fn create(
    State(api): State<Arc<Api>>,
    _: Operator,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if headers.contains_key("idempotency-key") {
        return Err(HttpError::header(
            "idempotency-key",
            "is not taken here, for the answer holds a secret that is kept nowhere: leave it out, and revoke a token that \
             was made twice",
        ));
    }
    let given: TokenIn = parse_json(&api.body(&headers, body).await?)?;
    TokenRecord::check_name(&given.name).map_err(|why| HttpError::body("name", why))?;
    let scope = match &given.application_id {
        None => TokenScope::Operator,
        Some(application) => TokenScope::Application(api.application_of(application).await?),
    };
    let token = Token::generate();
    let lifetime = given.expires_in_seconds.map(Bounded::get);
    let lifetime = lifetime.map(|seconds| Duration::from_secs(seconds.into()));
    let record = TokenRecord::new(*token.hash().as_bytes(), scope, given.name, api.now());
    let record = record.lasting(lifetime);
    let stored = api.store.insert_token(&record).await?;
    api.changed().await;
    let made = MadeOut {
        token: TokenOut::from(&stored),
        text: token.expose(),
    };
    Reply::json(StatusCode::CREATED, &made)
}

/// From now on it opens nothing: in this process at once, in others within two seconds. One that is revoked stays as it is.
async fn revoke(State(api): State<Arc<Api>>, _: Operator, InPath(id): InPath<String>) -> Answer {
    let id: TokenId = id.parse().map_err(|_| HttpError::NotFound)?;
    let revoked = revoke_token(api.store.as_ref(), id, api.now()).await?;
    let token = revoked.ok_or(HttpError::NotFound)?;
    api.changed().await;
    Reply::ok(&TokenOut::from(&token))
}

impl Api {
    async fn application_of(&self, given: &str) -> Result<AppId, HttpError> {
        let missing = || {
            HttpError::body(
                "applicationId",
                "there is no such application; its id (app_…) or its uid is expected",
            )
        };
        let by = application_ref(given).ok_or_else(missing)?;
        let found = self.store.application(&by).await.map_err(unavailable)?;
        found.map(|app| app.id).ok_or_else(missing)
    }
}
