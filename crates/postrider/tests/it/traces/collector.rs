//! A collector of traces: takes OTLP over HTTP on a port of its own, and shows what came as trees.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use postrider_testkit::{Behaviour, Receiver, Recording, eventually};
use prost::Message;

use crate::world::DEADLINE;

const PATH: &str = "/v1/traces";

/// A collector that runs until it is dropped.
pub(crate) struct Collector {
    receiver: Receiver,
}

/// A span that came, with the resource that it is of.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span, and as what.
    pub(crate) links: Vec<(String, String, String)>,
    pub(crate) resource: BTreeMap<String, String>,
}

impl Collector {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        Self {
            receiver: Receiver::recording(Recording::Requests).unwrap(),
        }
    }

    /// One that behaves so.
    pub(crate) fn that(behaviour: Behaviour) -> Self {
        let collector = Self::start();
        collector.receiver.on(PATH, behaviour);
        collector
    }

    /// What `traces.endpoint` is.
    pub(crate) fn endpoint(&self) -> String {
        self.receiver.url("")
    }

    /// Requests that came.
    pub(crate) fn requests(&self) -> u64 {
        self.receiver.count(PATH)
    }

    /// The values of this header in what came.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let requests = self.receiver.requests(PATH);
        requests
            .iter()
            .map(|one| one.text(name).to_owned())
            .collect()
    }

    /// Everything that came, as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let requests = self.receiver.requests(PATH);
        requests.iter().flat_map(|one| one.body.to_vec()).collect()
    }

    /// Every span that came.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let mut spans = Vec::new();
        for request in self.receiver.requests(PATH) {
            assert_eq!(request.text("content-type"), "application/x-protobuf");
            let export = ExportTraceServiceRequest::decode(request.body).unwrap();
            for of_process in export.resource_spans {
                let resource = attributes(of_process.resource.unwrap().attributes);
                let scopes = of_process.scope_spans.into_iter();
                for span in scopes.flat_map(|scope| scope.spans) {
                    spans.push(seen(span, &resource));
                }
            }
        }
        spans
    }

    /// Waits until there are as many spans as this that `of` lets through; gives them, the first to start first.
    pub(crate) async fn wait_for(&self, count: usize, of: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let all = || {
            let mut spans = self.spans();
            spans.retain(|span| of(span));
            spans.sort_by_key(|span| span.started);
            spans
        };
        let waited = eventually("the spans have come", DEADLINE, async || {
            let spans = all();
            (spans.len() >= count).then_some(spans)
        });
        let spans = waited.await.unwrap_or_else(|_| all());
        assert_eq!(spans.len(), count, "{}", forest(&spans));
        spans
    }
}

impl Seen {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// An attribute; empty if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The `traceparent` of its children.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }

    /// One line that says what is the same in each run.
    fn line(&self) -> String {
        let mut line = self.name.clone();
        for name in [
            "http.response.status_code",
            "postrider.fanout.deliveries",
            "postrider.delivery.result",
            "error.type",
        ] {
            if !self.get(name).is_empty() {
                line = format!(
                    "{line} {}={}",
                    name.rsplit('.').next().unwrap(),
                    self.get(name)
                );
            }
        }
        if let Some((_, path)) = self.get("url.full").rsplit_once('/') {
            line = format!("{line} to=/{path}");
        }
        for (.., of) in &self.links {
            line = format!("{line} link={of}");
        }
        line
    }
}

/// The trees that these spans make, one line a span, children indented and in the order of their lines.
pub(crate) fn forest(spans: &[Seen]) -> String {
    let roots = spans
        .iter()
        .filter(|span| !spans.iter().any(|other| other.id == span.parent));
    let mut trees: Vec<String> = roots.map(|root| tree(root, spans, 0)).collect();
    trees.sort();
    trees.concat()
}

fn tree(span: &Seen, spans: &[Seen], depth: usize) -> String {
    let below = spans.iter().filter(|other| other.parent == span.id);
    let mut below: Vec<String> = below.map(|child| tree(child, spans, depth + 1)).collect();
    below.sort();
    format!("{}{}\n{}", "  ".repeat(depth), span.line(), below.concat())
}

fn seen(
    span: opentelemetry_proto::tonic::trace::v1::Span,
    resource: &BTreeMap<String, String>,
) -> Seen {
    let links = span.links.into_iter().map(|link| {
        let of = attributes(link.attributes).remove("postrider.link");
        (
            hex(&link.trace_id),
            hex(&link.span_id),
            of.unwrap_or_default(),
        )
    });
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state,
        kind: SpanKind::try_from(span.kind).unwrap(),
        started: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        failed: span
            .status
            .is_some_and(|status| status.code == i32::from(StatusCode::Error)),
        attributes: attributes(span.attributes),
        links: links.collect(),
        name: span.name,
        resource: resource.clone(),
    }
}

fn attributes(given: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pairs = given.into_iter().map(|pair| {
        let value = match pair.value.and_then(|AnyValue { value }| value).unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(flag) => flag.to_string(),
            other => panic!("{other:?} of {}", pair.key),
        };
        (pair.key, value)
    });
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
