//! Ended spans go to the collector, in batches.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::retry::Waits;
use crate::send::{Collector, NoClient, Untaken};
use crate::{Ended, Lost, TraceMetrics};

/// Spans in a batch, at most.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with.
const COMPANY: Duration = Duration::from_millis(500);
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
    resource: ResourceAttributesWithSchema,
    queue: mpsc::Receiver<SpanData>,
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
            .map(|(name, value)| KeyValue::new(name, value));
        let resource = Resource::builder_empty().with_attributes(attributes);
        Ok(Self {
            collector: Collector::new(url, headers, timeout)?,
            resource: (&resource.build()).into(),
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
    async fn gather(&mut self, shutdown: &CancellationToken) -> Option<Vec<SpanData>> {
        let mut spans = Vec::new();
        shutdown
            .run_until_cancelled(self.queue.recv_many(&mut spans, BATCH))
            .await
            .filter(|count| *count > 0)?;
        let until = Instant::now() + COMPANY;
        while spans.len() < BATCH {
            let room = BATCH - spans.len();
            let more = timeout_at(until, self.queue.recv_many(&mut spans, room));
            if !matches!(shutdown.run_until_cancelled(more).await, Some(Ok(1..))) {
                break;
            }
        }
        Some(spans)
    }

    /// Sends a batch, more than once if need be. Gives it back if the process is to stop meanwhile.
    async fn deliver(&mut self, batch: Batch, shutdown: &CancellationToken) -> Option<Batch> {
        let mut waits = Waits::new();
        loop {
            let sending = self.collector.send(batch.body.clone());
            let Some(sent) = shutdown.run_until_cancelled(sending).await else {
                return Some(batch);
            };
            let asked = match sent {
                Ok(refused) => {
                    self.taken(&batch, refused);
                    return None;
                }
                Err(Untaken::Never(why)) => {
                    self.tell_away(&why);
                    self.lose(batch.spans, Lost::Refused);
                    return None;
                }
                Err(Untaken::Later(why, asked)) => {
                    self.tell_away(&why);
                    asked
                }
            };
            let Some(wait) = waits.after(asked) else {
                self.lose(batch.spans, Lost::Unreachable);
                return None;
            };
            if shutdown.run_until_cancelled(sleep(wait)).await.is_none() {
                return Some(batch);
            }
        }
    }

    /// What is left when the process stops. Nobody writes any more: the services ended before.
    async fn flush(&mut self, unsent: Option<Batch>) {
        let mut left = unsent;
        let sending = async {
            while let Some(batch) = left.take().or_else(|| self.rest()) {
                let sent = self.collector.send(left.insert(batch).body.clone());
                let Ok(refused) = sent.await else { return };
                if let Some(batch) = left.take() {
                    self.taken(&batch, refused);
                }
            }
        };
        // What is cut off here is counted with the rest below.
        let _ = timeout(FLUSH, sending).await;
        let spans = left.map_or(0, |batch| batch.spans) + self.queue.len() as u64;
        if spans > 0 {
            self.lose(spans, Lost::Stopped);
            tracing::warn!(
                collector = self.collector.address(),
                spans,
                "spans were given up: the process stops, and the collector of traces did not take them in time"
            );
        }
    }

    /// The next batch of those that wait.
    fn rest(&mut self) -> Option<Batch> {
        let spans: Vec<SpanData> = std::iter::from_fn(|| self.queue.try_recv().ok())
            .take(BATCH)
            .collect();
        (!spans.is_empty()).then(|| self.batch(spans))
    }

    fn taken(&mut self, batch: &Batch, refused: u64) {
        if std::mem::take(&mut self.away) {
            let collector = self.collector.address();
            tracing::info!(collector, "the collector of traces takes spans again");
        }
        let refused = refused.min(batch.spans);
        self.metrics.exported.inc_by(batch.spans - refused);
        self.lose(refused, Lost::Refused);
    }

    fn lose(&self, spans: u64, why: Lost) {
        self.metrics.dropped.of(why).inc_by(spans);
    }

    /// Once for each time that it goes away.
    fn tell_away(&mut self, why: &str) {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(
                collector = self.collector.address(),
                why,
                "the collector of traces takes no spans; deliveries go on without it"
            );
        }
    }

    fn batch(&self, spans: Vec<SpanData>) -> Batch {
        let count = spans.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(spans, &self.resource),
        };
        Batch {
            body: request.encode_to_vec().into(),
            spans: count,
        }
    }
}
