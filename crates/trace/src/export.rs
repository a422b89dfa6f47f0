//! Ended spans go to the collector, in batches.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::send::{Collector, NoClient, Untaken};
use crate::span::key_value;
use crate::{Ended, Lost, TraceMetrics};

/// Spans in a batch, at most.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with.
const COMPANY: Duration = Duration::from_millis(500);
/// Times that a batch is sent, at most, and the wait after the first; each is twice the one before. Meanwhile the queue
/// fills, and what does not fit is dropped.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long what is left is sent when the process stops.
const FLUSH: Duration = Duration::from_secs(1);

/// Where spans go, and whose they are.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The whole address, path included.
    pub url: Url,
    /// What the collector wants to see, such as a token. Never shown.
    pub headers: HeaderMap,
    /// How long one batch may take.
    pub timeout: Duration,
    /// What describes this process, by OpenTelemetry's names.
    pub resource: Vec<(&'static str, String)>,
}

/// Sends ended spans.
pub struct Exporter {
    collector: Collector,
    resource: Resource,
    queue: mpsc::Receiver<Span>,
    metrics: TraceMetrics,
    /// The collector did not take the last batch.
    away: bool,
}

/// A batch as it is sent.
struct Batch {
    body: Bytes,
    spans: u64,
}

impl Exporter {
    /// One that sends what a [`Tracer`](crate::Tracer)'s spans come to.
    ///
    /// # Errors
    /// [`NoClient`] if the system has no usable root certificates.
    pub fn new(
        destination: Destination,
        ended: Ended,
        metrics: TraceMetrics,
    ) -> Result<Self, NoClient> {
        let Destination {
            url,
            headers,
            timeout,
            resource,
        } = destination;
        let attributes = resource
            .into_iter()
            .map(|(name, value)| key_value(name.to_owned(), Value::StringValue(value)));
        Ok(Self {
            collector: Collector::new(url, headers, timeout)?,
            resource: Resource {
                attributes: attributes.collect(),
                ..Resource::default()
            },
            queue: ended.0,
            metrics,
            away: false,
        })
    }

    /// Sends until `shutdown`, and then what is left, for a second at most.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut unsent = None;
        while let Some(spans) = self.gather(&shutdown).await {
            unsent = self.deliver(self.batch(spans), &shutdown).await;
        }
        self.flush(unsent).await;
    }

    /// The next spans, with those that come within a short time; `None` at shutdown.
    async fn gather(&mut self, shutdown: &CancellationToken) -> Option<Vec<Span>> {
        let mut spans = Vec::new();
        shutdown
            .run_until_cancelled(self.queue.recv_many(&mut spans, BATCH))
            .await
            .filter(|count| *count > 0)?;
        let until = Instant::now() + COMPANY;
        while spans.len() < BATCH {
            let more = timeout_at(until, self.queue.recv_many(&mut spans, BATCH));
            if !matches!(shutdown.run_until_cancelled(more).await, Some(Ok(1..))) {
                break;
            }
        }
        Some(spans)
    }

    /// Sends a batch, more than once if need be. Gives it back if the process is to stop meanwhile.
    async fn deliver(&mut self, batch: Batch, shutdown: &CancellationToken) -> Option<Batch> {
        let mut wait = FIRST_WAIT;
        for tried in 1..=TRIES {
            let sending = self.collector.send(batch.body.clone());
            let Some(sent) = shutdown.run_until_cancelled(sending).await else {
                return Some(batch);
            };
            match sent {
                Ok(refused) => return self.taken(&batch, refused),
                Err(Untaken::Later(why)) if tried < TRIES => self.tell_away(&why),
                Err(Untaken::Later(why)) => {
                    self.tell_away(&why);
                    break;
                }
                Err(Untaken::Never(why)) => {
                    self.tell_away(&why);
                    self.lose(batch.spans, Lost::Refused);
                    return None;
                }
            }
            if shutdown.run_until_cancelled(sleep(wait)).await.is_none() {
                return Some(batch);
            }
            wait *= 2;
        }
        self.lose(batch.spans, Lost::Unreachable);
        None
    }

    /// What is left when the process stops. Nobody writes any more: the services ended before.
    async fn flush(&mut self, unsent: Option<Batch>) {
        let mut left = unsent;
        let sending = async {
            loop {
                let batch = match left.take() {
                    Some(batch) => batch,
                    None => match self.rest() {
                        Some(spans) => self.batch(spans),
                        None => return,
                    },
                };
                let sent = self.collector.send(left.insert(batch).body.clone()).await;
                let Some(batch) = left.take() else { return };
                match sent {
                    Ok(refused) => drop(self.taken(&batch, refused)),
                    Err(_) => return self.lose(batch.spans, Lost::Stopped),
                }
            }
        };
        // What is cut off here is counted with the rest below.
        let _ = timeout(FLUSH, sending).await;
        let cut_off = left.map_or(0, |batch| batch.spans);
        self.lose(cut_off + self.queue.len() as u64, Lost::Stopped);
    }

    fn rest(&mut self) -> Option<Vec<Span>> {
        let spans: Vec<Span> = std::iter::from_fn(|| self.queue.try_recv().ok())
            .take(BATCH)
            .collect();
        (!spans.is_empty()).then_some(spans)
    }

    fn taken(&mut self, batch: &Batch, refused: u64) -> Option<Batch> {
        if std::mem::take(&mut self.away) {
            tracing::info!("the collector of traces takes spans again");
        }
        let refused = refused.min(batch.spans);
        self.metrics.exported.inc_by(batch.spans - refused);
        self.lose(refused, Lost::Refused);
        None
    }

    fn lose(&self, spans: u64, why: Lost) {
        self.metrics.dropped.of(why).inc_by(spans);
    }

    /// Once for each time that it goes away.
    fn tell_away(&mut self, why: &str) {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(
                why,
                "the collector of traces takes no spans; deliveries go on without it"
            );
        }
    }

    fn batch(&self, spans: Vec<Span>) -> Batch {
        let count = spans.len() as u64;
        let scope = InstrumentationScope {
            name: "postrider".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        Batch {
            body: request.encode_to_vec().into(),
            spans: count,
        }
    }
}
