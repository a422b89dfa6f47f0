//! Ids of traces and spans, as they are written in a `traceparent`.

use postrider_model::TraceContext;

/// The ids in a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace: u128,
    pub(crate) span: u64,
}

impl Ids {
    /// Those of `context`.
    pub(crate) fn of(context: &TraceContext) -> Option<Self> {
        Self::parse(context.traceparent())
    }

    pub(crate) fn parse(traceparent: &str) -> Option<Self> {
        Some(Self {
            trace: u128::from_str_radix(traceparent.get(3..35)?, 16).ok()?,
            span: u64::from_str_radix(traceparent.get(36..52)?, 16).ok()?,
        })
    }

    /// The first of a new trace.
    pub(crate) fn new_trace() -> Self {
        Self::below(loop {
            let trace = rand::random();
            if trace != 0 {
                break trace;
            }
        })
    }

    /// A new one in `trace`.
    pub(crate) fn below(trace: u128) -> Self {
        loop {
            let span = rand::random();
            if span != 0 {
                return Self { trace, span };
            }
        }
    }

    /// As a header; sampled.
    pub(crate) fn traceparent(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_from_the_header_that_they_are_written_in() {
        let ids = Ids::new_trace();
        let header = ids.traceparent();
        assert_eq!(Ids::parse(&header), Some(ids));
        assert!(TraceContext::parse(&header).unwrap().is_sampled());
    }
}
