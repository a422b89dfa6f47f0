//! An endpoint made ready for sending.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use postrider_model::Endpoint;
use postrider_signing::{Secret, Signer};

const AGENT: &str = concat!("Postrider/", env!("CARGO_PKG_VERSION"));

/// One version of an endpoint, with all that each attempt would otherwise prepare anew.
#[derive(Debug)]
pub struct Target {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its secrets, keyed.
    pub signer: Signer,
    /// What every request has: the policy's headers, and the user agent unless the policy sets it.
    pub headers: HeaderMap,
}

/// Why an endpoint cannot be made ready. Our own fault: registration should have refused it.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It has no secret that can sign.
    #[error("the endpoint has no usable secret: {0}")]
    Secret(String),
    /// A header of its policy is none.
    #[error("the endpoint's header \"{0}\" cannot be sent")]
    Header(String),
}

impl Target {
    /// Keys the secrets and parses the headers.
    pub fn prepare(endpoint: Arc<Endpoint>) -> Result<Self, NotReady> {
        let (signer, headers) = (signer(&endpoint)?, headers(&endpoint)?);
        Ok(Self {
            endpoint,
            signer,
            headers,
        })
    }
}

fn signer(endpoint: &Endpoint) -> Result<Signer, NotReady> {
    let parse = |text: &str| {
        text.parse::<Secret>()
            .map_err(|error| NotReady::Secret(error.to_string()))
    };
    let (current, rest) = endpoint
        .secrets
        .split_first()
        .ok_or_else(|| NotReady::Secret("there is none".to_owned()))?;
    let retiring = rest
        .iter()
        .filter_map(|old| old.expires_at.map(|at| (old, at.as_millis())))
        .map(|(old, at)| Ok((parse(old.secret.expose())?, at)))
        .collect::<Result<Vec<_>, NotReady>>()?;
    let current = parse(current.secret.expose())?;
    Ok(Signer::new(
        &current,
        retiring.iter().map(|(secret, at)| (secret, *at)),
    ))
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap, NotReady> {
    let mut headers = HeaderMap::with_capacity(endpoint.policy.headers.len() + 8);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &endpoint.policy.headers {
        let bad = || NotReady::Header(name.clone());
        let parsed: HeaderName = name.parse().map_err(|_| bad())?;
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        headers.insert(parsed, value);
    }
    Ok(headers)
}
