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
    /// Once the process was gone and the receiver had read all that it had sent.
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
    /// Requests beyond the first of their event and path that a kill excuses. For each, how long before the kill
    /// the answer to the one before it had gone out; zero if it never had.
    pub excused: Vec<Duration>,
    /// Requests that kills found in flight: no more can be excused.
    pub in_flight: usize,
    /// (event, path) that came again though no kill excuses it.
    pub unexcused: Vec<(String, String)>,
    /// (event, path) whose body changed between two arrivals.
    pub changed: Vec<(String, String)>,
}

/// An answer that went out no longer than this before a kill counts as in flight: it has to be read, to be judged, to
/// wait for others to be committed with (1 ms), and to be committed. Up to 7 ms was seen, over 120 kills of a debug build
/// on two cores that other work had, too; how long the excused ones took is part of the [`Verdict`].
const WRITING_DOWN: Duration = Duration::from_millis(50);

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
                match self.excuse(pair[0], pair[1]) {
                    Some(answered_before) => verdict.excused.push(answered_before),
                    None => verdict.unexcused.push(name()),
                }
            }
        }
        verdict.excused.sort_unstable();
        let struck = |one: &&Arrival| self.kills.iter().any(|kill| kill.struck(one));
        verdict.in_flight = arrivals.iter().filter(struck).count();
        verdict
    }

    /// How long before a kill `first` had been answered, if that excuses that it came `again`.
    fn excuse(&self, first: &Arrival, again: &Arrival) -> Option<Duration> {
        let excuses = self
            .kills
            .iter()
            .filter_map(|kill| kill.excuses(first, again));
        excuses.min()
    }
}

impl Kill {
    /// True if this found the request of `arrival` in flight, so that its answer could not be written down.
    fn struck(&self, arrival: &Arrival) -> bool {
        let answered = arrival.answered;
        arrival.at <= self.after
            && answered.is_none_or(|answered| answered + WRITING_DOWN >= self.before)
    }

    /// How long before this `first` had been answered, if it was in flight when this struck and `again` came after it.
    fn excuses(&self, first: &Arrival, again: &Arrival) -> Option<Duration> {
        let answered = first.answered.unwrap_or(self.before);
        let excused = self.struck(first) && again.at > self.after;
        excused.then(|| self.before.saturating_duration_since(answered))
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
        let answered = self.excused.iter().filter(|before| !before.is_zero());
        write!(
            f,
            "missing {}, repeated without excuse {}, changed {}, repeats {} of {} in flight at a kill, of which {} had \
             been answered, none longer before it than {:?}",
            some(&self.missing),
            some(&self.unexcused),
            some(&self.changed),
            self.excused.len(),
            self.in_flight,
            answered.count(),
            self.excused.last().copied().unwrap_or_default()
        )
    }
}
