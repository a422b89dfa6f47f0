//! The W3C trace context that a record carries: that of its producer, or of the span that wrote it.

/// The longest `tracestate` that is carried, in bytes: what the specification (section 3.3.1.5) asks everyone to bear.
const LONGEST_STATE: usize = 512;
/// The longest `traceparent`: later versions may add to the 55 characters of the first.
const LONGEST_PARENT: usize = 128;

/// Whose child the next span is. Boxed where records hold it, so that one without costs a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: String,
    /// Empty if there is none.
    tracestate: String,
    /// `traceparent` of the attempt that is repeated, or empty.
    repeats: String,
}

impl TraceContext {
    /// The context in a `traceparent` (W3C Trace Context, section 3.2); `None` if it is none.
    pub fn parse(traceparent: &str) -> Option<Box<Self>> {
        is_traceparent(traceparent.as_bytes()).then(|| {
            Box::new(Self {
                traceparent: traceparent.to_owned(),
                tracestate: String::new(),
                repeats: String::new(),
            })
        })
    }

    /// The same with a `tracestate`, which is left out if it is none or too long: without it the trace goes on all the same.
    pub fn with_state(mut self: Box<Self>, tracestate: &str) -> Box<Self> {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if tracestate.len() <= LONGEST_STATE && tracestate.bytes().all(printable) {
            tracestate.clone_into(&mut self.tracestate);
        }
        self
    }

    /// The same for what repeats the attempt with this `traceparent`.
    pub fn repeating(mut self: Box<Self>, attempt: &str) -> Box<Self> {
        attempt.clone_into(&mut self.repeats);
        self
    }

    /// The header of that name.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// The header of that name, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        Some(self.tracestate.as_str()).filter(|state| !state.is_empty())
    }

    /// `traceparent` of the attempt that is repeated.
    pub fn repeats(&self) -> Option<&str> {
        Some(self.repeats.as_str()).filter(|attempt| !attempt.is_empty())
    }

    /// Bytes that it takes in memory, for limits.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.traceparent.len() + self.tracestate.len() + self.repeats.len()
    }

    /// True if whoever began the trace wants its spans.
    pub fn is_sampled(&self) -> bool {
        // Checked when it was parsed: the flags are two hexadecimal digits.
        let flags = self.traceparent.as_bytes().get(54);
        flags.is_some_and(|digit| {
            matches!(digit, b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
        })
    }

    /// What records hold, empty texts for what is not there; `None` if it is no context.
    pub(crate) fn of_record(parent: &str, state: &str, repeats: &str) -> Option<Box<Self>> {
        // Most have none.
        if parent.is_empty() {
            return None;
        }
        let context = Self::parse(parent)?.with_state(state);
        Some(if is_traceparent(repeats.as_bytes()) {
            context.repeating(repeats)
        } else {
            context
        })
    }
}

/// True if `text` has the form of a `traceparent`: 55 characters of version 00, or a later version that begins like it.
fn is_traceparent(text: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &[u8]| hex(part) && part.iter().any(|b| *b != b'0');
    let dashes = |at: [usize; 3]| at.iter().all(|at| text[*at] == b'-');
    if !(55..=LONGEST_PARENT).contains(&text.len()) || !dashes([2, 35, 52]) {
        return false;
    }
    let (version, rest) = (&text[..2], &text[55..]);
    let ends = match version {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => {
            hex(version)
                && rest.first().is_none_or(|b| *b == b'-')
                && rest.iter().all(u8::is_ascii_graphic)
        }
    };
    ends && id(&text[3..35]) && id(&text[36..52]) && hex(&text[53..55])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_specification_calls_a_traceparent_is_one() {
        let later = SAMPLED.replacen("00", "cc", 1) + "-what-the-future-will-be";
        for good in [SAMPLED, &SAMPLED.replace("-01", "-00"), &later] {
            assert!(TraceContext::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            &SAMPLED[..54],
            &SAMPLED.to_uppercase(),
            &SAMPLED.replacen("00", "ff", 1),
            &format!("{SAMPLED}-more"),
            &SAMPLED.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &SAMPLED.replace("b7ad6b7169203331", &"0".repeat(16)),
            &SAMPLED.replace('-', "_"),
            &format!("{}\n", later),
        ] {
            assert!(TraceContext::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_lowest_flag_says_whether_it_is_sampled() {
        for (flags, sampled) in [
            ("00", false),
            ("01", true),
            ("02", false),
            ("03", true),
            ("ff", true),
        ] {
            let text = SAMPLED.replace("-01", &format!("-{flags}"));
            assert_eq!(
                TraceContext::parse(&text).unwrap().is_sampled(),
                sampled,
                "{flags}"
            );
        }
    }

    #[test]
    fn a_state_that_cannot_be_sent_is_left_out_and_the_trace_stays() {
        let state = |text: &str| {
            let context = TraceContext::parse(SAMPLED).unwrap().with_state(text);
            context.tracestate().map(str::to_owned)
        };
        assert_eq!(state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        for bad in ["", "a=\n", "a=ü", &"x".repeat(513)] {
            assert_eq!(state(bad), None);
        }
    }
}
