//! One span, which may be none.

use std::fmt::{self, Display};
use std::time::Duration;

use opentelemetry::trace::{SpanRef, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue, StringValue, Value};
use postrider_model::{Delivery, Topic, TopicPartition, TraceContext};
use tracing::{Dispatch, Level, dispatcher};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::subscriber::TARGET;
use crate::{context, ended};

/// On which side of what it tells of a span stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that we answer.
    Server,
    /// A request that we make.
    Client,
    /// A record that we write.
    Producer,
    /// A record that we read.
    Consumer,
}

/// One span, if there is one. What is not [ended](Self::end) is not told.
#[derive(Default)]
pub struct Span(Option<Box<Live>>);

struct Live {
    /// Dropped, it has ended, on whatever thread that is.
    _span: tracing::Span,
    /// The same span, as OpenTelemetry has it: facts are written there, where `_span` would look it up for each.
    context: Context,
    /// `tracestate` of the parent, as it came.
    state: String,
    began_before: Duration,
    told: bool,
}

impl Span {
    /// The beginning of one, now, made by `subscriber`; of a root, if there is no parent.
    pub(crate) fn begin(
        subscriber: &Dispatch,
        parent: Option<&TraceContext>,
        kind: Kind,
        name: Name,
    ) -> Self {
        let span = dispatcher::with_default(subscriber, || {
            tracing::span!(
                target: TARGET, parent: None, Level::ERROR, "span",
                otel.name = %name, otel.kind = kind.name()
            )
        });
        if let Some(parent) = parent.and_then(context::of) {
            // It has not started yet, and the subscriber is ours: there is nothing that could refuse it.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        let context = span.context();
        let state = parent.and_then(TraceContext::tracestate);
        Self(Some(Box::new(Live {
            _span: span,
            context,
            state: state.unwrap_or_default().to_owned(),
            began_before: Duration::ZERO,
            told: false,
        })))
    }

    /// True if there is one.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// What its children, also in other processes, go by.
    pub fn context(&self) -> Option<Box<TraceContext>> {
        let live = self.0.as_ref()?;
        context::carried(live.context.span().span_context(), &live.state)
    }

    /// Writes facts into it, if there is one.
    pub fn note(&mut self, facts: impl FnOnce(&mut Attributes<'_>)) {
        if let Some(live) = &self.0 {
            facts(&mut Attributes(live.context.span()));
        }
    }

    /// That it began so long before it was asked for.
    pub fn began_before(&mut self, ago: Duration) {
        if let Some(live) = &mut self.0 {
            live.began_before = ago;
        }
    }

    /// That it follows from the span with this `traceparent`, and as what.
    pub fn link(&mut self, traceparent: &str, of: &'static str) {
        if let (Some(live), Some(to)) = (&self.0, context::of_traceparent(traceparent)) {
            let of = KeyValue::new("postrider.link", of);
            live.context.span().add_link(to, vec![of]);
        }
    }

    /// That it failed, by the low-cardinality name of how.
    pub fn failed(&mut self, how: impl Display) {
        if let Some(live) = &self.0 {
            live.context.span().set_status(Status::error(""));
            self.note(|note| note.show("error.type", how));
        }
    }

    /// Ends it now. It goes to the exporter, or is dropped if that has no room.
    pub fn end(self) {
        if let Some(mut live) = self.0 {
            live.told = true;
        }
    }

    /// With the topic that it writes or reads, and what carries it.
    pub(crate) fn of_topic(
        mut self,
        operation: &'static str,
        topic: Topic,
        system: &'static str,
    ) -> Self {
        self.note(|note| {
            note.text("messaging.system", system);
            note.text("messaging.operation.name", operation);
            note.text("messaging.operation.type", operation);
            note.text("messaging.destination.name", topic.0);
        });
        self
    }

    /// With the partition that it reads.
    pub(crate) fn of_partition(self, at: TopicPartition, system: &'static str) -> Self {
        let mut span = self.of_topic("process", at.topic, system);
        span.note(|note| note.show("messaging.destination.partition.id", at.partition));
        span
    }
}

impl Drop for Live {
    /// The last words before `_span` is dropped.
    fn drop(&mut self) {
        let aside = match self.began_before {
            _ if !self.told => ended::untold(),
            Duration::ZERO => return,
            ago => ended::began_before(ago),
        };
        self.context.span().set_attribute(aside);
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.context() {
            Some(context) => write!(f, "Span({})", context.traceparent()),
            None => f.write_str("Span(none)"),
        }
    }
}

/// What a span tells, by OpenTelemetry's names or ours (`postrider.…`).
#[derive(Debug)]
pub struct Attributes<'a>(SpanRef<'a>);

impl Attributes<'_> {
    /// Which delivery it is about.
    pub fn delivery(&mut self, delivery: &Delivery) {
        self.show("messaging.message.id", delivery.id);
        self.show("postrider.delivery.id", delivery.id);
        self.number("postrider.delivery.generation", delivery.generation);
        self.show("postrider.event.id", delivery.event_id);
        self.show("postrider.event.type", &delivery.event_type);
        self.show("postrider.application.id", delivery.app_id);
        self.show("postrider.endpoint.id", delivery.endpoint_id);
    }

    /// A text that is there for ever, or given away.
    pub fn text(&mut self, name: &'static str, value: impl Into<StringValue>) {
        self.put(name, Value::String(value.into()));
    }

    /// What is shown as text.
    pub fn show(&mut self, name: &'static str, value: impl Display) {
        self.text(name, value.to_string());
    }

    /// A number; one that does not fit is the largest.
    pub fn number(&mut self, name: &'static str, value: impl TryInto<i64>) {
        self.put(name, Value::I64(value.try_into().unwrap_or(i64::MAX)));
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.put(name, Value::Bool(value));
    }

    fn put(&mut self, name: &'static str, value: Value) {
        self.0.set_attribute(KeyValue::new(name, value));
    }
}

/// What a span is called: what is done, and to what, if that is said.
pub(crate) struct Name(pub(crate) &'static str, pub(crate) &'static str);

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(verb, object) = self;
        match *object {
            "" => f.write_str(verb),
            object => write!(f, "{verb} {object}"),
        }
    }
}

impl Kind {
    /// As `otel.kind` has it.
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}
