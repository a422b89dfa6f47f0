//! A context as records carry it, and as OpenTelemetry has it.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use postrider_model::TraceContext;

/// The span that wrote `context`. A `tracestate` that is none by the specification is not in it.
pub(crate) fn of(context: &TraceContext) -> Option<SpanContext> {
    let state = context.tracestate().and_then(|state| state.parse().ok());
    remote(context.traceparent(), state.unwrap_or_default())
}

/// The span with this `traceparent`, which may be of another process, even if it is not.
pub(crate) fn of_traceparent(traceparent: &str) -> Option<SpanContext> {
    remote(traceparent, TraceState::NONE)
}

fn remote(traceparent: &str, state: TraceState) -> Option<SpanContext> {
    let trace = TraceId::from_hex(traceparent.get(3..35)?).ok()?;
    let span = SpanId::from_hex(traceparent.get(36..52)?).ok()?;
    Some(SpanContext::new(
        trace,
        span,
        TraceFlags::SAMPLED,
        true,
        state,
    ))
}

/// What records carry of a span that is sampled, with the `tracestate` as it came.
pub(crate) fn carried(span: &SpanContext, state: &str) -> Option<Box<TraceContext>> {
    let traceparent = format!("00-{}-{}-01", span.trace_id(), span.span_id());
    Some(TraceContext::parse(&traceparent)?.with_state(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_reads_back_with_the_state_that_it_came_with() {
        for (state, known) in [
            ("", ""),
            ("vendor=1", "vendor=1"),
            ("b=2, a=1", "b=2,a=1"),
            ("none", ""),
        ] {
            let context = TraceContext::parse(SAMPLED).unwrap().with_state(state);
            let span = of(&context).unwrap();
            assert_eq!(span.trace_state().header(), known);
            assert_eq!(carried(&span, state), Some(context));
        }
    }
}
