//! Who decides which spans there are.

use std::fmt;
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span as Encoded;
use postrider_model::{Delivery, Topic, TopicPartition, TraceContext};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::ids::Ids;
use crate::{Kind, Lost, Span, TraceMetrics};

/// How spans are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The share of traces that begin here which is sampled, 0 to 1. What somebody else began is as they sampled it.
    pub ratio: f64,
    /// What carries the records, as `messaging.system`.
    pub messaging_system: &'static str,
    /// Ended spans that may wait for the exporter.
    pub queue: usize,
}

/// Gives spans. [`Tracer::default`] gives none.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

pub(crate) struct Inner {
    /// A trace is sampled if the lower 63 bits of its id are below; the whole, if it is all of them.
    below: u64,
    pub(crate) messaging_system: &'static str,
    queue: mpsc::Sender<Encoded>,
    metrics: TraceMetrics,
}

/// The end of the queue of ended spans, for the [`Exporter`](crate::Exporter).
#[derive(Debug)]
pub struct Ended(pub(crate) mpsc::Receiver<Encoded>);

impl Tracer {
    /// One that gives spans, and where they go when they have ended.
    pub fn new(settings: Settings, metrics: TraceMetrics) -> (Self, Ended) {
        let (queue, ended) = mpsc::channel(settings.queue.max(1));
        let inner = Inner {
            below: below(settings.ratio),
            messaging_system: settings.messaging_system,
            queue,
            metrics,
        };
        (Self(Some(Arc::new(inner))), Ended(ended))
    }

    /// A span under `parent`, if that is sampled; without a parent the root of a new trace, if the draw says so.
    pub fn begin(
        &self,
        parent: Option<&TraceContext>,
        kind: Kind,
        name: (&'static str, &'static str),
    ) -> Span {
        match (&self.0, parent) {
            (None, _) => Span::default(),
            (Some(_), Some(_)) => self.child(parent, kind, name),
            (Some(inner), None) => match inner.draw() {
                Some(ids) => Span::of(inner, ids, None, kind, name),
                None => Span::default(),
            },
        }
    }

    /// A span under `parent`, if there is one and it is sampled.
    pub fn child(
        &self,
        parent: Option<&TraceContext>,
        kind: Kind,
        name: (&'static str, &'static str),
    ) -> Span {
        let Some((inner, parent)) = self.sampled(parent) else {
            return Span::default();
        };
        match Ids::of(parent) {
            Some(above) => Span::of(
                inner,
                Ids::below(above.trace),
                Some((above, parent)),
                kind,
                name,
            ),
            None => Span::default(),
        }
    }

    /// The writing of a record to `topic`, under `parent`.
    pub fn send(&self, parent: Option<&TraceContext>, topic: Topic) -> Span {
        self.child(parent, Kind::Producer, ("send", topic.0))
            .of_topic("send", topic)
    }

    /// The writing of a delivery that an operator has repeated, and the delivery under it, if that which it repeats was
    /// sampled: the root of a new trace, because the old one may be long past, with a link to it.
    pub fn send_again(&self, delivery: Delivery) -> (Delivery, Span) {
        let mut span = self.again(delivery.trace.as_deref(), delivery.class.topic());
        span.note(|note| note.delivery(&delivery));
        match span.context() {
            Some(trace) => (delivery.traced(trace), span),
            None => (delivery, span),
        }
    }

    fn again(&self, earlier: Option<&TraceContext>, topic: Topic) -> Span {
        let Some((inner, earlier)) = self.sampled(earlier) else {
            return Span::default();
        };
        let mut span = Span::of(
            inner,
            Ids::new_trace(),
            None,
            Kind::Producer,
            ("send", topic.0),
        );
        let repeated = earlier.repeats().unwrap_or(earlier.traceparent());
        span.link(repeated, "replay");
        span.of_topic("send", topic)
    }

    /// What is done with a record of `at`, under the context that it carries.
    pub fn process(&self, parent: Option<&TraceContext>, at: TopicPartition) -> Span {
        self.child(parent, Kind::Consumer, ("process", at.topic.0))
            .of_partition(at)
    }

    /// Likewise, and a record without a context may begin a trace.
    pub fn process_first(&self, parent: Option<&TraceContext>, at: TopicPartition) -> Span {
        self.begin(parent, Kind::Consumer, ("process", at.topic.0))
            .of_partition(at)
    }

    /// If spans are made, and `context` is of a trace that is sampled.
    fn sampled<'a>(
        &self,
        context: Option<&'a TraceContext>,
    ) -> Option<(&Arc<Inner>, &'a TraceContext)> {
        let inner = self.0.as_ref()?;
        context
            .filter(|one| one.is_sampled())
            .map(|one| (inner, one))
    }
}

impl Inner {
    /// Ids of a new trace, if it is to be sampled.
    fn draw(&self) -> Option<Ids> {
        if self.below == 0 {
            return None;
        }
        let ids = Ids::new_trace();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lower bits are what decides"
        )]
        let low = (ids.trace as u64) >> 1;
        (low < self.below).then_some(ids)
    }

    /// Gives an ended span to the exporter, if it has room.
    pub(crate) fn take(&self, span: Encoded) {
        match self.queue.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.metrics.dropped.of(Lost::QueueFull).inc(),
            Err(TrySendError::Closed(_)) => self.metrics.dropped.of(Lost::Stopped).inc(),
        }
    }
}

/// As OpenTelemetry's `TraceIdRatioBased` has it: the share of the ids' lower 63 bits.
fn below(ratio: f64) -> u64 {
    const ALL: u64 = 1 << 63;
    if ratio >= 1.0 {
        return ALL;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of all, from 0 to all of them"
    )]
    let share = (ratio.max(0.0) * ALL as f64) as u64;
    share
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Tracer(on)"
        } else {
            "Tracer(off)"
        })
    }
}

#[cfg(test)]
mod tests {
    use postrider_metrics::Registry;
    use postrider_model::topics;

    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracer(ratio: f64, queue: usize) -> (Tracer, Ended, TraceMetrics) {
        let metrics = TraceMetrics::register(&Registry::new()).unwrap();
        let settings = Settings {
            ratio,
            messaging_system: "postrider",
            queue,
        };
        let (tracer, ended) = Tracer::new(settings, metrics.clone());
        (tracer, ended, metrics)
    }

    fn root(tracer: &Tracer) -> Span {
        tracer.begin(None, Kind::Server, ("POST", "/"))
    }

    #[test]
    fn a_parent_decides_and_without_one_the_ratio_does() {
        let parent = TraceContext::parse(SAMPLED).unwrap();
        let unsampled = TraceContext::parse(&SAMPLED.replace("-01", "-00")).unwrap();
        for ratio in [0.0, 1.0] {
            let (tracer, ..) = tracer(ratio, 1);
            assert!(tracer.send(Some(&parent), topics::EVENTS).is_recording());
            assert!(
                !tracer
                    .begin(Some(&unsampled), Kind::Server, ("POST", "/"))
                    .is_recording()
            );
            assert!(!tracer.send(None, topics::EVENTS).is_recording());
            assert_eq!(root(&tracer).is_recording(), ratio > 0.5);
        }
        let off = Tracer::default();
        assert!(!off.send(Some(&parent), topics::EVENTS).is_recording());
        assert!(!root(&off).is_recording());
    }

    #[test]
    fn a_tenth_is_about_a_tenth() {
        let (tracer, ..) = tracer(0.1, 1);
        let sampled = (0..10_000).filter(|_| root(&tracer).is_recording()).count();
        assert!((800..1_200).contains(&sampled), "{sampled}");
    }

    #[test]
    fn a_span_goes_on_with_the_trace_and_state_of_its_parent() {
        let (tracer, mut ended, _) = tracer(0.0, 1);
        let parent = TraceContext::parse(SAMPLED).unwrap().with_state("a=1");
        let span = tracer.send(Some(&parent), topics::EVENTS);
        let context = span.context().unwrap();
        assert_eq!(context.traceparent()[..36], SAMPLED[..36]);
        assert_ne!(context.traceparent(), SAMPLED);
        assert_eq!(context.tracestate(), Some("a=1"));
        span.end();
        let encoded = ended.0.try_recv().unwrap();
        assert_eq!(
            encoded.parent_span_id,
            0xb7ad_6b71_6920_3331_u64.to_be_bytes()
        );
        assert_eq!(encoded.name, "send events");
    }

    #[test]
    fn what_is_sent_again_is_a_trace_of_its_own_linked_to_the_attempt_that_it_repeats() {
        let (tracer, mut ended, _) = tracer(0.0, 1);
        let attempt = SAMPLED.replace("b7ad6b7169203331", "00f067aa0ba902b7");
        let earlier = TraceContext::parse(SAMPLED).unwrap().repeating(&attempt);
        tracer.again(Some(&earlier), topics::DELIVERIES_BULK).end();
        let encoded = ended.0.try_recv().unwrap();
        assert_ne!(
            encoded.trace_id,
            0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()
        );
        assert!(encoded.parent_span_id.is_empty());
        let [link] = &encoded.links[..] else {
            panic!("{:?}", encoded.links)
        };
        assert_eq!(link.span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        assert_eq!(
            link.trace_id,
            0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()
        );
    }

    #[test]
    fn what_does_not_fit_the_queue_is_dropped_and_counted() {
        let (tracer, ended, metrics) = tracer(1.0, 2);
        (0..5).for_each(|_| root(&tracer).end());
        assert_eq!(metrics.dropped.of(Lost::QueueFull).get(), 3);
        drop(ended);
        root(&tracer).end();
        assert_eq!(metrics.dropped.of(Lost::Stopped).get(), 1);
    }
}
