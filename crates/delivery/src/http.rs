//! Attempts over HTTP/1.1, by `reqwest`.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Method};
use postrider_guard::{Guard, GuardedResolver, Limits, Lookup, SystemLookup};
use postrider_model::Timestamp;
use reqwest::{Request, Response};
use tokio::time::Instant;

use crate::faults::Faults;
use crate::pool::Pool;
use crate::{Answer, Failure, Outgoing, Sender, retry_after};

const WEBHOOK_ID: HeaderName = HeaderName::from_static(postrider_signing::HEADER_ID);
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static(postrider_signing::HEADER_TIMESTAMP);
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static(postrider_signing::HEADER_SIGNATURE);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// How connections are kept and answers read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Idle connections to one host, at most.
    pub idle_per_host: usize,
    /// Connections that are made before all idle ones are closed: what bounds them in total.
    pub connections: usize,
    /// How long a connection may be idle. Shorter than common servers let it be: a request that goes out while they close it
    /// fails, and whether they have read it cannot be known.
    pub idle_timeout: Duration,
    /// How long connecting may take; a part of the attempt's timeout.
    pub connect_timeout: Duration,
    /// What is kept of an answer's body, in bytes.
    pub body_kept: usize,
    /// What is read of an answer's body so that the connection can be used again, in bytes; past it, it is closed.
    pub body_read: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            idle_per_host: 512,
            connections: 8_192,
            idle_timeout: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(10),
            body_kept: 4 << 10,
            body_read: 64 << 10,
        }
    }
}

/// Sends over HTTP/1.1: over HTTP/2 one connection to a host would be a queue that all its endpoints share. No proxy, no
/// redirect, and every address is checked at the moment of connecting, so that a name which changes gains nothing.
pub struct HttpSender {
    pool: Arc<Pool>,
    guard: Arc<Guard>,
    faults: Faults,
    options: HttpOptions,
}

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
#[error(
    "the HTTP client cannot be made: {0}; on a minimal system, install the package ca-certificates"
)]
pub struct NoClient(#[from] reqwest::Error);

impl HttpSender {
    /// A sender that calls only what `guard` lets through.
    ///
    /// # Errors
    /// [`NoClient`] if the system has no usable root certificates.
    pub fn new(guard: Arc<Guard>, options: HttpOptions) -> Result<Self, NoClient> {
        let limits = Limits {
            turn: options.connect_timeout / 2,
            answer: options.connect_timeout / 5 * 4,
            ..Limits::default()
        };
        Self::with_lookup(guard, options, SystemLookup, limits)
    }

    /// The same with another resolver and other limits of it.
    ///
    /// # Errors
    /// As [`HttpSender::new`].
    pub fn with_lookup(
        guard: Arc<Guard>,
        options: HttpOptions,
        lookup: impl Lookup,
        limits: Limits,
    ) -> Result<Self, NoClient> {
        let resolver = Arc::new(GuardedResolver::with_lookup(
            Arc::clone(&guard),
            lookup,
            limits,
        ));
        let names = Arc::clone(&resolver);
        let HttpOptions {
            idle_per_host,
            idle_timeout,
            connect_timeout,
            ..
        } = options;
        let pool = Pool::new(options.connections, move |client| {
            client
                .http1_only()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                // A retry is a record of its own; told so, the client keeps no copy of the request.
                .retry(reqwest::retry::never().max_retries_per_request(0))
                .dns_resolver(Arc::clone(&names))
                .pool_max_idle_per_host(idle_per_host)
                .pool_idle_timeout(idle_timeout)
                .connect_timeout(connect_timeout)
                .tcp_nodelay(true)
        })?;
        Ok(Self {
            pool,
            guard,
            faults: Faults::new(resolver),
            options,
        })
    }

    /// Once the head has come, the status decides: a body that breaks, or drips until the timeout, ends the reading and
    /// no more.
    async fn exchange(
        &self,
        request: Request,
        host: &str,
        at: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let began = Instant::now();
        let by = began + timeout;
        let mut response = {
            let client = self.pool.client();
            let mut answer = std::pin::pin!(client.execute(request));
            match tokio::time::timeout_at(by, answer.as_mut()).await {
                Ok(answer) => answer.map_err(|error| self.faults.of(&error, host))?,
                // Asked before the request is dropped: it may be the only one that waits for its lookup.
                Err(_) => return Err(self.faults.of_silence(host, began, timeout)),
            }
        };
        self.faults.none();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after::parse(value.to_str().ok()?, at));
        let mut body = BytesMut::new();
        let read = self.read_body(&mut response, &mut body);
        if !matches!(tokio::time::timeout_at(by, read).await, Ok(Ok(()))) {
            tracing::debug!(status = %response.status(), "an answer's body did not come whole");
        }
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after,
            body: body.freeze(),
        })
    }

    /// Puts the beginning of the body into `kept`, which has what came before an error too. A short rest is read and
    /// dropped, so that the connection can be used again.
    async fn read_body(
        &self,
        response: &mut Response,
        kept: &mut BytesMut,
    ) -> Result<(), reqwest::Error> {
        let short = response
            .content_length()
            .is_none_or(|length| length <= self.options.body_read as u64);
        let most = if short {
            self.options.body_read
        } else {
            self.options.body_kept
        };
        let mut read = 0;
        while read < most
            && let Some(chunk) = response.chunk().await?
        {
            read += chunk.len();
            let room = self.options.body_kept - kept.len();
            kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(())
    }
}

impl Sender for HttpSender {
    async fn send(&self, outgoing: Outgoing) -> Result<Answer, Failure> {
        let url = &outgoing.target.endpoint.url;
        // An address written in the URL never reaches the resolver.
        self.guard
            .check_url(url)
            .map_err(|refused| Failure::Forbidden(refused.to_string()))?;
        let request = request(&outgoing)?;
        let host = url.host_str().unwrap_or_default();
        self.exchange(request, host, outgoing.at, outgoing.timeout)
            .await
    }

    fn lookups_waiting(&self) -> usize {
        self.faults.resolver().queued()
    }
}

/// The request, signed for this attempt. The payload is not copied.
fn request(outgoing: &Outgoing) -> Result<Request, Failure> {
    let (target, delivery) = (&outgoing.target, &outgoing.delivery);
    let id = delivery.event_id.to_string();
    let seconds = outgoing.at.as_seconds();
    let signature = target.signer.sign(&id, seconds, &delivery.payload);
    let mut headers = target.headers.clone();
    insert(&mut headers, CONTENT_TYPE, delivery.content_type.as_str())?;
    if let Some(trace) = outgoing.trace.as_ref().or(delivery.trace.as_ref()) {
        insert(&mut headers, TRACEPARENT, trace.traceparent())?;
        if let Some(state) = trace.tracestate() {
            insert(&mut headers, TRACESTATE, state)?;
        }
    }
    insert(&mut headers, WEBHOOK_ID, id)?;
    insert(&mut headers, WEBHOOK_SIGNATURE, signature)?;
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));

    let mut request = Request::new(Method::POST, target.endpoint.url.clone());
    *request.headers_mut() = headers;
    *request.body_mut() = Some(delivery.payload.clone().into());
    Ok(request)
}

fn insert(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: impl TryInto<HeaderValue>,
) -> Result<(), Failure> {
    let value = value
        .try_into()
        .map_err(|_| Failure::OwnFault(format!("the header {name} cannot be sent")))?;
    headers.insert(name, value);
    Ok(())
}
