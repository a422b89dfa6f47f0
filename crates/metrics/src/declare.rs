//! What a declaration consists of, and which are refused.

use std::fmt;

/// The prefix of every name: outside programs select ours by it.
const PREFIX: &str = "postrider_";

/// Units that a name must end with, so that a reader of a query need not look them up.
const UNITS_IN_NAMES: [&str; 2] = ["seconds", "bytes"];

/// Suffixes that the text format gives to the parts of a histogram.
const RESERVED_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// What kind of metric it is, in Prometheus' terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; begins at zero with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations below each of its bounds.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// One metric as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// `postrider_…`, with the unit where it is one of time or size.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The unit in words: `seconds`, `bytes`, `events`, …
    pub unit: &'static str,
    /// One sentence that says what is counted.
    pub help: &'static str,
    /// The names of its labels; empty for a metric that is one series.
    pub labels: Vec<&'static str>,
}

impl Declaration {
    /// Says why this declaration cannot stand, or nothing.
    pub(crate) fn fault(&self) -> Option<String> {
        let Some(rest) = self.name.strip_prefix(PREFIX) else {
            return Some(format!("a name begins with `{PREFIX}`"));
        };
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if rest.is_empty() || !rest.chars().all(legal) {
            return Some("a name consists of a-z, 0-9 and _".to_owned());
        }
        if self.help.is_empty() || self.unit.is_empty() {
            return Some("help and unit must be given".to_owned());
        }
        self.fault_of_suffix().or_else(|| self.fault_of_labels())
    }

    fn fault_of_suffix(&self) -> Option<String> {
        let base = self.name.strip_suffix("_total");
        if (self.kind == Kind::Counter) != base.is_some() {
            return Some("the name of a counter, and of no other, ends with `_total`".to_owned());
        }
        if RESERVED_SUFFIXES.iter().any(|s| self.name.ends_with(s)) {
            return Some(format!(
                "{RESERVED_SUFFIXES:?} are the parts of a histogram"
            ));
        }
        let base = base.unwrap_or(self.name);
        UNITS_IN_NAMES
            .iter()
            .find(|unit| (**unit == self.unit) != base.ends_with(&format!("_{unit}")))
            .map(|unit| format!("unit `{unit}` and a name that ends with `_{unit}` go together"))
    }

    fn fault_of_labels(&self) -> Option<String> {
        let legal = |name: &&str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        if !self.labels.iter().all(legal) || self.labels.contains(&"le") {
            return Some("a label's name consists of a-z and _, and is not `le`".to_owned());
        }
        let repeated = |(i, name)| self.labels[..i].contains(name);
        let twice = self.labels.iter().enumerate().any(repeated);
        twice.then(|| "a label stands there twice".to_owned())
    }
}

/// Why a metric could not be declared. Whoever gets one is starting up and must stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The declaration breaks a rule.
    #[error("metric `{name}`: {fault}")]
    Bad {
        /// The name as declared.
        name: &'static str,
        /// The rule that it breaks.
        fault: String,
    },
    /// This registry has a metric of that name already.
    #[error("metric `{name}` is declared twice in one registry: give one of the two another name")]
    Duplicate {
        /// The name as declared.
        name: &'static str,
    },
    /// The `prometheus` crate refused it: for instance bounds of a histogram that do not grow.
    #[error("metric `{name}`: {source}")]
    Refused {
        /// The name as declared.
        name: &'static str,
        /// What it said.
        source: prometheus::Error,
    },
}
