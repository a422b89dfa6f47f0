//! One batch to the collector: OTLP over HTTP, in protobuf.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::Url;

/// What is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
#[error(
    "the HTTP client for traces cannot be made: {0}; on a minimal system, install the package ca-certificates"
)]
pub struct NoClient(#[from] reqwest::Error);

/// Why a batch was not taken. The words name neither the headers nor the address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Untaken {
    /// It may be taken later, and not before so long, if the collector says.
    Later(String, Option<Duration>),
    /// It will never be.
    Never(String),
}

/// The way to the collector.
pub(crate) struct Collector {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Collector {
    pub(crate) fn new(
        url: Url,
        mut headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Self, NoClient> {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(timeout)
            .build()?;
        Ok(Self {
            client,
            url,
            headers,
        })
    }

    /// Its address, without what may be secret in it: name and password, the query, and the path, in which some collectors
    /// want a token.
    pub(crate) fn address(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Sends a batch; how many spans of it were refused.
    pub(crate) async fn send(&self, batch: Bytes) -> Result<u64, Untaken> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(batch);
        let response = request.send().await.map_err(|error| later(&error))?;
        let status = response.status();
        match status.as_u16() {
            200..=299 => Ok(refused(response).await),
            // What the protocol calls retryable.
            429 | 502 | 503 | 504 => {
                let after = retry_after(response.headers());
                Err(Untaken::Later(format!("it answered {status}"), after))
            }
            _ => Err(Untaken::Never(format!("it answered {status}"))),
        }
    }
}

fn later(error: &reqwest::Error) -> Untaken {
    let chain = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let why = match chain.last() {
        _ if error.is_timeout() => "it did not answer in time".to_owned(),
        Some(cause) => cause.to_string(),
        None => "it cannot be reached".to_owned(),
    };
    Untaken::Later(why, None)
}

/// In seconds, as the protocol has it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// How many spans a collector that took the batch says that it did not take. One that says nothing readable took all.
async fn refused(mut response: Response) -> u64 {
    let mut answer = BytesMut::new();
    while let Ok(Some(part)) = response.chunk().await {
        if answer.len() + part.len() > LONGEST_ANSWER {
            return 0;
        }
        answer.extend_from_slice(&part);
    }
    let told = ExportTraceServiceResponse::decode(answer.freeze()).unwrap_or_default();
    let rejected = told
        .partial_success
        .map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_asks_for_time_in_seconds() {
        let asked = |value| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("3"), Some(3));
        assert_eq!(asked("Mon, 01 Jan 2035 00:00:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn an_address_is_told_without_its_credentials_path_and_query() {
        let url = "https://user:secret@traces.example:4318/secret/v1/traces?key=secret";
        let collector = Collector::new(url.parse().unwrap(), HeaderMap::new(), Duration::ZERO);
        assert_eq!(collector.unwrap().address(), "https://traces.example:4318");
    }
}
