//! Headers that an endpoint's owner adds to each request.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use postrider_http::{Given, HttpError, InApp, InPath, Slashed, endpoint_ref};
use postrider_model::{Endpoint, EndpointPolicy};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::endpoints::Ids;
use crate::reply::{Answer, Reply};
use crate::sent::ToEndpoint;

/// The most headers, the longest value, and how long names and values may be together, in bytes.
const MAX_HEADERS: usize = 50;
const MAX_VALUE: usize = 4096;
const MAX_TOGETHER: usize = 16 << 10;

/// Headers that the sender sets itself, or that would change how the request is read.
const OURS: [&str; 17] = [
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "proxy-authorization",
    "traceparent",
    "tracestate",
];
/// Prefixes of headers that signatures stand in.
const OUR_PREFIXES: [&str; 2] = ["webhook-", "svix-"];
/// Headers whose values are not shown again.
const SENSITIVE: [&str; 4] = ["authorization", "x-auth-token", "x-api-key", "cookie"];

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new().slashed(
        "/api/v1/app/{app_id}/endpoint/{endpoint_id}/headers",
        get(read).put(replace).patch(change),
    )
}

#[derive(Serialize)]
struct HeadersOut<'a> {
    headers: BTreeMap<&'a str, &'a str>,
    sensitive: Vec<&'a str>,
}

#[derive(Deserialize)]
struct HeadersIn<T> {
    headers: BTreeMap<String, T>,
}

async fn read(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
) -> Answer {
    let endpoint = api.endpoint(app.id, &endpoint_ref(&id)?).await?;
    let headers = endpoint.policy.headers.iter();
    let (sensitive, open): (Vec<_>, Vec<_>) = headers
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .partition(|(name, _)| SENSITIVE.contains(name));
    Reply::ok(&HeadersOut {
        headers: open.into_iter().collect(),
        sensitive: sensitive.into_iter().map(|(name, _)| name).collect(),
    })
}

async fn replace(
    State(api): State<Arc<Api>>,
    ToEndpoint { app, by, given }: ToEndpoint<HeadersIn<String>>,
) -> Answer {
    let given = Given::Value(given.headers);
    check(&given)?;
    let new = lower(given.value().unwrap_or_default());
    let replace = |there| Ok(with_headers(there, new.clone()));
    api.change_endpoint(app.id, &by, replace).await?;
    Ok(Reply::nothing())
}

/// Adds and changes headers; removes those that are null.
async fn change(
    State(api): State<Arc<Api>>,
    ToEndpoint { app, by, given }: ToEndpoint<HeadersIn<Option<String>>>,
) -> Answer {
    let change = |there: Endpoint| {
        let mut all = there.policy.headers.clone();
        for (name, value) in &given.headers {
            let name = name.to_ascii_lowercase();
            match value {
                Some(value) => all.insert(name, value.clone()),
                None => all.remove(&name),
            };
        }
        // Taking away helps, though what was there before these bounds is still above them.
        if given.headers.values().any(Option::is_some) {
            check_number_and_size(&all)?;
        }
        check_each(&all)?;
        Ok(with_headers(there, all))
    };
    api.change_endpoint(app.id, &by, change).await?;
    Ok(Reply::nothing())
}

fn with_headers(mut endpoint: Endpoint, headers: BTreeMap<String, String>) -> Endpoint {
    let policy = EndpointPolicy {
        headers,
        ..EndpointPolicy::clone(&endpoint.policy)
    };
    endpoint.policy = policy.shared();
    endpoint
}

/// The same headers with their names in lower case, as they are kept.
pub(crate) fn lower(headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let each = headers.into_iter();
    each.map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

/// Refuses headers that cannot be sent, are not the owner's to set, or are too many.
pub(crate) fn check(given: &Given<BTreeMap<String, String>>) -> Result<(), HttpError> {
    let Given::Value(headers) = given else {
        return Ok(());
    };
    check_number_and_size(headers)?;
    check_each(headers)
}

fn check_number_and_size(headers: &BTreeMap<String, String>) -> Result<(), HttpError> {
    if headers.len() > MAX_HEADERS {
        return Err(refused(format!("expected at most {MAX_HEADERS} headers")));
    }
    let lengths = headers.iter().map(|(name, value)| name.len() + value.len());
    if lengths.sum::<usize>() > MAX_TOGETHER {
        return Err(refused(format!(
            "expected names and values of at most {MAX_TOGETHER} bytes together"
        )));
    }
    Ok(())
}

fn check_each(headers: &BTreeMap<String, String>) -> Result<(), HttpError> {
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let shown: String = name.chars().take(80).collect();
        if HeaderName::from_bytes(lower.as_bytes()).is_err() {
            return Err(refused(format!("\"{shown}\" is not a header's name")));
        }
        if OURS.contains(&lower.as_str()) || OUR_PREFIXES.iter().any(|own| lower.starts_with(own)) {
            return Err(refused(format!("{shown} is set by Postrider itself")));
        }
        if value.len() > MAX_VALUE || HeaderValue::from_str(value).is_err() {
            return Err(refused(format!(
                "the value of {shown} cannot be sent: expected at most {MAX_VALUE} printable ASCII characters"
            )));
        }
    }
    Ok(())
}

fn refused(why: String) -> HttpError {
    HttpError::body("headers", why)
}
