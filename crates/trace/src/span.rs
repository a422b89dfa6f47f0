//! One span, which may be none.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as Encoded, SpanFlags};
use postrider_model::{Delivery, Topic, TopicPartition, TraceContext};

use crate::ids::Ids;
use crate::tracer::Inner;

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
    ids: Ids,
    encoded: Encoded,
    tracer: Arc<Inner>,
}

impl Span {
    /// The beginning of one, now.
    pub(crate) fn of(
        tracer: &Arc<Inner>,
        ids: Ids,
        parent: Option<(Ids, &TraceContext)>,
        kind: Kind,
        (verb, object): (&'static str, &'static str),
    ) -> Self {
        let mut name = String::with_capacity(verb.len() + object.len() + 1);
        name.push_str(verb);
        if !object.is_empty() {
            name.push(' ');
            name.push_str(object);
        }
        let state = parent.and_then(|(_, context)| context.tracestate());
        let encoded = Encoded {
            trace_id: ids.trace.to_be_bytes().to_vec(),
            span_id: ids.span.to_be_bytes().to_vec(),
            trace_state: state.unwrap_or_default().to_owned(),
            parent_span_id: parent
                .map_or_else(Vec::new, |(above, _)| above.span.to_be_bytes().to_vec()),
            flags: flags(parent.is_some()),
            name,
            kind: SpanKind::from(kind).into(),
            start_time_unix_nano: nanos(SystemTime::now()),
            attributes: Vec::with_capacity(12),
            ..Encoded::default()
        };
        let tracer = Arc::clone(tracer);
        Self(Some(Box::new(Live {
            ids,
            encoded,
            tracer,
        })))
    }

    /// True if there is one.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// What its children, also in other processes, go by.
    pub fn context(&self) -> Option<Box<TraceContext>> {
        let live = self.0.as_ref()?;
        let context = TraceContext::parse(&live.ids.traceparent())?;
        Some(context.with_state(&live.encoded.trace_state))
    }

    /// Writes facts into it, if there is one.
    pub fn note(&mut self, facts: impl FnOnce(&mut Attributes)) {
        if let Some(live) = &mut self.0 {
            let mut attributes = Attributes(std::mem::take(&mut live.encoded.attributes));
            facts(&mut attributes);
            live.encoded.attributes = attributes.0;
        }
    }

    /// That it began so long before it was asked for.
    pub fn began_before(&mut self, ago: Duration) {
        if let Some(live) = &mut self.0 {
            let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
            let start = &mut live.encoded.start_time_unix_nano;
            *start = start.saturating_sub(ago);
        }
    }

    /// That it follows from the span with this `traceparent`, and as what.
    pub fn link(&mut self, traceparent: &str, of: &'static str) {
        if let (Some(live), Some(to)) = (&mut self.0, Ids::parse(traceparent)) {
            let mut attributes = Attributes(Vec::with_capacity(1));
            attributes.text("postrider.link", of);
            live.encoded.links.push(Link {
                trace_id: to.trace.to_be_bytes().to_vec(),
                span_id: to.span.to_be_bytes().to_vec(),
                attributes: attributes.0,
                flags: flags(true),
                ..Link::default()
            });
        }
    }

    /// That it failed, by the low-cardinality name of how.
    pub fn failed(&mut self, how: impl Display) {
        if let Some(live) = &mut self.0 {
            let status = live.encoded.status.get_or_insert_default();
            status.code = StatusCode::Error.into();
            self.note(|note| note.show("error.type", how));
        }
    }

    /// Ends it now. It goes to the exporter, or is dropped if that has no room.
    pub fn end(self) {
        if let Some(mut live) = self.0 {
            live.encoded.end_time_unix_nano =
                nanos(SystemTime::now()).max(live.encoded.start_time_unix_nano);
            live.tracer.take(live.encoded);
        }
    }

    /// With the topic that it writes or reads.
    pub(crate) fn of_topic(mut self, operation: &'static str, topic: Topic) -> Self {
        let system = self
            .0
            .as_ref()
            .map_or("", |live| live.tracer.messaging_system);
        self.note(|note| {
            note.text("messaging.system", system);
            note.text("messaging.operation.name", operation);
            note.text("messaging.operation.type", operation);
            note.text("messaging.destination.name", topic.0);
        });
        self
    }

    /// With the partition that it reads.
    pub(crate) fn of_partition(self, at: TopicPartition) -> Self {
        let mut span = self.of_topic("process", at.topic);
        span.note(|note| note.show("messaging.destination.partition.id", at.partition));
        span
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(live) => write!(f, "Span({})", live.encoded.name),
            None => f.write_str("Span(none)"),
        }
    }
}

/// What a span tells, by OpenTelemetry's names or ours (`postrider.…`).
#[derive(Debug)]
pub struct Attributes(Vec<KeyValue>);

impl Attributes {
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

    /// A text.
    pub fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.put(name, Value::StringValue(value.into()));
    }

    /// What is shown as text.
    pub fn show(&mut self, name: &'static str, value: impl Display) {
        self.put(name, Value::StringValue(value.to_string()));
    }

    /// A number; one that does not fit is the largest.
    pub fn number(&mut self, name: &'static str, value: impl TryInto<i64>) {
        self.put(name, Value::IntValue(value.try_into().unwrap_or(i64::MAX)));
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.put(name, Value::BoolValue(value));
    }

    fn put(&mut self, name: &'static str, value: Value) {
        self.0.push(key_value(name.to_owned(), value));
    }
}

pub(crate) fn key_value(key: String, value: Value) -> KeyValue {
    KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Sampled; and that it is known whether the parent, or what is linked, is of another process, which with us it may be.
fn flags(remote: bool) -> u32 {
    const SAMPLED: u32 = 1;
    let known = SpanFlags::ContextHasIsRemoteMask as u32;
    let is = if remote {
        SpanFlags::ContextIsRemoteMask as u32
    } else {
        0
    };
    SAMPLED | known | is
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Producer => Self::Producer,
            Kind::Consumer => Self::Consumer,
        }
    }
}
