//! What became of every event: lost, delivered, repeated, and whether the repeats are excused.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::Arrival;

#[cfg(test)]
mod tests;

/// A server that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Just before the signal.
    pub before: Instant,
    /// Once the process was gone.
    pub after: Instant,
}

/// Compares what was accepted with what arrived.
#[derive(Clone, Debug, Default)]
pub struct LossChecker {
    /// Accepted events, each with the paths that it must come to.
    due: Vec<(String, Vec<String>)>,
    kills: Vec<Kill>,
}

/// What a [`LossChecker`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// (event, path) that never came.
    pub missing: Vec<(String, String)>,
    /// Requests beyond the first of their event and path that were excused by a kill: they had not been answered
    /// when it struck, or so shortly before that the answer could not be written down.
    pub excused: usize,
    /// (event, path) that came again though no kill excuses it.
    pub unexcused: Vec<(String, String)>,
    /// (event, path) whose body changed between two arrivals.
    pub changed: Vec<(String, String)>,
}

/// The server writes outcomes down in batches: an answer that went out no longer than this before a kill counts
/// as in flight.
const WRITING_DOWN: Duration = Duration::from_millis(500);

/// How long a receiver on a busy machine may take to read what was sent to it.
const READ_LATE: Duration = Duration::from_millis(200);

impl LossChecker {
    /// Event `event` was accepted and must come to each of `paths`.
    pub fn expect(&mut self, event: &str, paths: &[&str]) {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        self.due.push((event.to_owned(), paths));
    }

    /// The server was killed.
    pub fn killed(&mut self, kill: Kill) {
        self.kills.push(kill);
    }

    /// How many of the expected arrivals have not come yet.
    #[must_use]
    pub fn missing(&self, arrivals: &[Arrival]) -> usize {
        self.judge(arrivals).missing.len()
    }

    /// What the arrivals come to.
    #[must_use]
    pub fn judge(&self, arrivals: &[Arrival]) -> Verdict {
        let mut came: HashMap<(&str, &str), Vec<&Arrival>> = HashMap::new();
        for arrival in arrivals {
            came.entry((&arrival.event, &arrival.path))
                .or_default()
                .push(arrival);
        }
        let mut verdict = Verdict::default();
        let due = self
            .due
            .iter()
            .flat_map(|(event, paths)| paths.iter().map(move |path| (event, path)));
        for (event, path) in due {
            if !came.contains_key(&(event.as_str(), path.as_str())) {
                verdict.missing.push((event.clone(), path.clone()));
            }
        }
        for ((event, path), arrivals) in came {
            let name = || (event.to_owned(), path.to_owned());
            for pair in arrivals.windows(2) {
                if pair[0].body_hash != pair[1].body_hash {
                    verdict.changed.push(name());
                }
                // What was answered with a failure is meant to come again.
                if pair[0].answered.is_some() && !(200..300).contains(&pair[0].status) {
                    continue;
                }
                if self.kills.iter().any(|kill| kill.excuses(pair[0], pair[1])) {
                    verdict.excused += 1;
                } else {
                    verdict.unexcused.push(name());
                }
            }
        }
        verdict
    }
}

impl Kill {
    /// True if `first` was in flight when this struck, and `again` came after it.
    fn excuses(&self, first: &Arrival, again: &Arrival) -> bool {
        let in_flight = first
            .answered
            .is_none_or(|answered| answered + WRITING_DOWN >= self.before);
        // What the process had sent may be read by the receiver when it is gone.
        in_flight && first.at <= self.after + READ_LATE && again.at >= self.before
    }
}

impl Verdict {
    /// True if nothing was lost, changed or repeated without excuse.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.unexcused.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |list: &[(String, String)]| {
            let few: Vec<_> = list.iter().take(3).collect();
            format!("{} {few:?}", list.len())
        };
        write!(
            f,
            "missing {}, repeated without excuse {}, changed {}, excused repeats {}",
            some(&self.missing),
            some(&self.unexcused),
            some(&self.changed),
            self.excused
        )
    }
}
