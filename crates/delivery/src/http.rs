//! Attempts over HTTP/1.1, by `reqwest`.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Method};
use postrider_guard::{Guard, GuardedResolver, Refused, refusal_in};
use postrider_model::Timestamp;
use reqwest::{Request, Response};
use tokio::time::Instant;

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
        let resolver = Arc::new(GuardedResolver::new(Arc::clone(&guard)));
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
                .dns_resolver(Arc::clone(&resolver))
                .pool_max_idle_per_host(idle_per_host)
                .pool_idle_timeout(idle_timeout)
                .connect_timeout(connect_timeout)
                .tcp_nodelay(true)
        })?;
        Ok(Self {
            pool,
            guard,
            options,
        })
    }

    /// Once the head has come, the status decides: a body that breaks, or drips until the timeout, ends the reading and
    /// no more.
    async fn exchange(
        &self,
        request: Request,
        at: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let by = Instant::now() + timeout;
        let client = self.pool.client();
        let mut response = tokio::time::timeout_at(by, client.execute(request))
            .await
            .map_err(|_| {
                let waited = timeout.as_secs_f64();
                Failure::TimedOut(format!("no answer within {waited} s"))
            })?
            .map_err(|error| failure(&error))?;
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
        self.exchange(request, outgoing.at, outgoing.timeout).await
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

/// Whose fault an error is.
fn failure(error: &reqwest::Error) -> Failure {
    let words = in_words(error);
    match refusal_in(error) {
        // The name leads nowhere, which is its owner's doing.
        Some(Refused::NoAddress) => return Failure::Unreachable(words),
        Some(_) => return Failure::Forbidden(words),
        None => {}
    }
    if error.is_builder() || is_ours(error) {
        Failure::OwnFault(words)
    } else if error.is_timeout() {
        Failure::TimedOut(words)
    } else {
        Failure::Unreachable(words)
    }
}

/// The error and what caused it, without the URL, which its owner knows and others need not.
fn in_words(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(error.source(), |error| (*error).source());
    chain.fold(String::new(), |words, cause| {
        let cause = cause.to_string();
        if words.is_empty() {
            cause
        } else if words.contains(&cause) {
            words
        } else {
            format!("{words}: {cause}")
        }
    })
}

/// True if this machine had nothing left to connect with: files, ports, memory.
fn is_ours(error: &(dyn Error + 'static)) -> bool {
    // ENFILE, EMFILE, ENOMEM, EADDRNOTAVAIL, ENETDOWN, ENOBUFS.
    const OURS: [i32; 6] = [23, 24, 12, 99, 100, 105];
    std::iter::successors(Some(error), |error| (*error).source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .filter_map(io::Error::raw_os_error)
        .any(|code| OURS.contains(&code))
}
