//! Who decides which spans there are.

use std::fmt;
use std::sync::Arc;

use postrider_model::{Delivery, Topic, TopicPartition, TraceContext};
use tracing::Dispatch;

use crate::ended::{Ended, Queue};
use crate::span::Name;
use crate::{Kind, Span, TraceMetrics, subscriber};

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

struct Inner {
    ratio: f64,
    messaging_system: &'static str,
    subscriber: Dispatch,
}

impl Tracer {
    /// One that gives spans, and where they go when they have ended.
    pub fn new(settings: Settings, metrics: TraceMetrics) -> (Self, Ended) {
        let (queue, ended) = Queue::of(settings.queue, metrics);
        let inner = Inner {
            ratio: settings.ratio,
            messaging_system: settings.messaging_system,
            subscriber: subscriber::of(queue),
        };
        (Self(Some(Arc::new(inner))), ended)
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
            (Some(inner), None) if inner.draw() => inner.span(None, kind, name),
            (Some(_), None) => Span::default(),
        }
    }

    /// A span under `parent`, if there is one and it is sampled.
    pub fn child(
        &self,
        parent: Option<&TraceContext>,
        kind: Kind,
        name: (&'static str, &'static str),
    ) -> Span {
        match self.sampled(parent) {
            Some((inner, parent)) => inner.span(Some(parent), kind, name),
            None => Span::default(),
        }
    }

    /// The writing of a record to `topic`, under `parent`.
    pub fn send(&self, parent: Option<&TraceContext>, topic: Topic) -> Span {
        self.child(parent, Kind::Producer, ("send", topic.0))
            .of_topic("send", topic, self.system())
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
        let mut span = inner.span(None, Kind::Producer, ("send", topic.0));
        let repeated = earlier.repeats().unwrap_or(earlier.traceparent());
        span.link(repeated, "replay");
        span.of_topic("send", topic, self.system())
    }

    /// What is done with a record of `at`, under the context that it carries.
    pub fn process(&self, parent: Option<&TraceContext>, at: TopicPartition) -> Span {
        self.child(parent, Kind::Consumer, ("process", at.topic.0))
            .of_partition(at, self.system())
    }

    /// Likewise, and a record without a context may begin a trace.
    pub fn process_first(&self, parent: Option<&TraceContext>, at: TopicPartition) -> Span {
        self.begin(parent, Kind::Consumer, ("process", at.topic.0))
            .of_partition(at, self.system())
    }

    /// If spans are made, and `context` is of a trace that is sampled.
    fn sampled<'a>(&self, context: Option<&'a TraceContext>) -> Option<(&Inner, &'a TraceContext)> {
        let inner = self.0.as_ref()?;
        context
            .filter(|one| one.is_sampled())
            .map(|one| (&**inner, one))
    }

    fn system(&self) -> &'static str {
        self.0.as_ref().map_or("", |inner| inner.messaging_system)
    }
}

impl Inner {
    /// If a trace that begins now is to be sampled.
    fn draw(&self) -> bool {
        self.ratio > 0.0 && rand::random::<f64>() < self.ratio
    }

    fn span(
        &self,
        parent: Option<&TraceContext>,
        kind: Kind,
        (verb, object): (&'static str, &'static str),
    ) -> Span {
        Span::begin(&self.subscriber, parent, kind, Name(verb, object))
    }
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
    use std::time::{Duration, SystemTime};

    use opentelemetry::trace::{SpanId, SpanKind, TraceId};
    use postrider_metrics::Registry;
    use postrider_model::topics;
    use tracing::level_filters::LevelFilter;

    use super::*;
    use crate::Lost;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const TRACE: TraceId =
        TraceId::from_bytes(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    const PARENT: SpanId = SpanId::from_bytes(0xb7ad_6b71_6920_3331_u64.to_be_bytes());

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
        let told = ended.0.try_recv().unwrap();
        assert_eq!(told.parent_span_id, PARENT);
        assert_eq!(told.span_context.trace_id(), TRACE);
        assert_eq!(
            (&*told.name, told.span_kind),
            ("send events", SpanKind::Producer)
        );
    }

    #[test]
    fn what_is_not_ended_is_not_told() {
        let (tracer, mut ended, metrics) = tracer(1.0, 1);
        let mut left = root(&tracer);
        left.note(|note| note.flag("left", true));
        drop(left);
        assert!(ended.0.try_recv().is_err());
        assert_eq!(metrics.dropped.of(Lost::QueueFull).get(), 0);
    }

    #[test]
    fn a_span_may_end_on_another_thread_and_have_begun_before_it_was_asked_for() {
        const AGO: Duration = Duration::from_secs(7);
        let (tracer, mut ended, _) = tracer(1.0, 1);
        let before = SystemTime::now() - AGO;
        let mut span = root(&tracer);
        let after = SystemTime::now() - AGO;
        span.began_before(AGO);
        std::thread::spawn(|| span.end()).join().unwrap();
        let told = ended.0.try_recv().unwrap();
        assert!((before..=after).contains(&told.start_time));
        assert!(told.end_time.duration_since(told.start_time).unwrap() >= AGO);
        assert!(told.attributes.is_empty(), "{:?}", told.attributes);
    }

    #[test]
    fn the_subscriber_of_spans_wants_no_log_lines() {
        let (tracer, ..) = tracer(1.0, 1);
        assert_eq!(LevelFilter::current(), LevelFilter::ERROR);
        tracing::dispatcher::with_default(&tracer.0.as_ref().unwrap().subscriber, || {
            assert!(!tracing::enabled!(tracing::Level::ERROR));
        });
    }

    #[test]
    fn what_is_sent_again_is_a_trace_of_its_own_linked_to_the_attempt_that_it_repeats() {
        let (tracer, mut ended, _) = tracer(0.0, 1);
        let attempt = SAMPLED.replace("b7ad6b7169203331", "00f067aa0ba902b7");
        let earlier = TraceContext::parse(SAMPLED).unwrap().repeating(&attempt);
        tracer.again(Some(&earlier), topics::DELIVERIES_BULK).end();
        let told = ended.0.try_recv().unwrap();
        assert_ne!(told.span_context.trace_id(), TRACE);
        assert_eq!(told.parent_span_id, SpanId::INVALID);
        let [link] = &told.links.links[..] else {
            panic!("{:?}", told.links)
        };
        let to = &link.span_context;
        assert_eq!(
            (to.trace_id(), to.span_id()),
            (TRACE, SpanId::from(0x00f0_67aa_0ba9_02b7))
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
