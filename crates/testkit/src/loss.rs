//! What became of every event: lost, delivered, repeated, and whether the repeats are excused.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::Arrival;

#[cfg(test)]
mod tests;

/// A process that was killed, or another fault that keeps answers from being written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Just before it.
    pub before: Instant,
    /// Once the receiver had read all that had been sent until then; of a fault that lasts, once it was over.
    pub after: Instant,
    /// How long before it a request may have been over that was not written down. With the embedded log [`WRITING_DOWN`];
    /// with Kafka a commit interval more.
    pub reach: Duration,
}

/// Compares what was accepted with what arrived.
#[derive(Clone, Debug, Default)]
pub struct LossChecker {
    /// Accepted events, each with the paths that it must come to.
    due: Vec<(String, Vec<String>)>,
    faults: Vec<Fault>,
    /// When events were accepted.
    accepted: HashMap<String, Instant>,
    /// Paths at which a request may stay without an answer until the client gives it up.
    silent: HashSet<String>,
    /// Paths for which deliveries are put aside at times.
    put_aside: HashSet<String>,
    /// How many repeats are excused at most.
    bound: Option<usize>,
}

/// A fault and where it can have struck.
#[derive(Clone, Debug)]
struct Fault {
    kill: Kill,
    /// None: anywhere.
    paths: Option<HashSet<String>>,
    /// It struck what was pending, whether or not a request was in flight.
    pending: bool,
    /// (event, path) of what had not been written down as finished; none: not known.
    unfinished: Option<HashSet<(String, String)>>,
}

/// What a [`LossChecker`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// (event, path) that never came, or was never answered with success.
    pub missing: Vec<(String, String)>,
    /// Requests beyond the first of their event and path that a kill excuses. For each, how long before the kill
    /// the answer to the one before it had gone out; zero if it never had.
    pub excused: Vec<Duration>,
    /// Requests that kills found in flight.
    pub in_flight: usize,
    /// How many repeats may be excused, if the test says so: what is excused one by one can be far too much together.
    pub bound: Option<usize>,
    /// (event, path) that came again though no kill excuses it.
    pub unexcused: Vec<(String, String)>,
    /// (event, path) whose body changed between two arrivals.
    pub changed: Vec<(String, String)>,
}

/// With the embedded log an answer that went out no longer than this before a kill counts as in flight: it has to be read,
/// to be judged, to wait for others to be committed with (1 ms), and to be committed. Up to 7 ms was seen, over 120 kills
/// of a debug build on two cores that other work had, too; how long the excused ones took is part of the [`Verdict`].
pub const WRITING_DOWN: Duration = Duration::from_millis(50);

/// Longer than a request is on its way by itself.
const SLEPT: Duration = Duration::from_secs(4);

impl LossChecker {
    /// Event `event` was accepted and must come to each of `paths`.
    pub fn expect(&mut self, event: &str, paths: &[&str]) {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        self.due.push((event.to_owned(), paths));
    }

    /// Event `event` was accepted then.
    pub fn accepted(&mut self, event: &str, at: Instant) {
        self.accepted.insert(event.to_owned(), at);
    }

    /// This happened, to a process that may have sent to any path.
    pub fn killed(&mut self, kill: Kill) {
        self.faults.push(Fault {
            kill,
            paths: None,
            pending: false,
            unfinished: None,
        });
    }

    /// This happened, to a process whose log says that it had finished all but this, each an event at a path: of nothing
    /// else a repeat is excused, however late it was answered, and of each of these one.
    pub fn killed_leaving(&mut self, kill: Kill, unfinished: HashSet<(String, String)>) {
        self.faults.push(Fault {
            kill,
            paths: None,
            pending: false,
            unfinished: Some(unfinished),
        });
    }

    /// This happened, to a process that could have sent to these paths only: somebody else's repeats are not excused.
    pub fn killed_at(&mut self, kill: Kill, paths: impl IntoIterator<Item = String>) {
        self.faults.push(Fault {
            kill,
            paths: Some(paths.into_iter().collect()),
            pending: false,
            unfinished: None,
        });
    }

    /// This happened, to a process that writes what others send to these paths: what was pending there may have been written
    /// twice, and come again once.
    pub fn written_twice(&mut self, kill: Kill, paths: impl IntoIterator<Item = String>) {
        self.faults.push(Fault {
            kill,
            paths: Some(paths.into_iter().collect()),
            pending: true,
            unfinished: None,
        });
    }

    /// Requests to `path` may stay without an answer until the client gives them up, and then come again.
    pub fn is_silent(&mut self, path: &str) {
        self.silent.insert(path.to_owned());
    }

    /// Deliveries to `path` are put aside at times, without a request. A fault then leaves two copies of one as it does of a
    /// request, and excuses one repeat of what was pending there when it struck, seen or not.
    pub fn puts_aside(&mut self, path: &str) {
        self.put_aside.insert(path.to_owned());
    }

    /// All faults together excuse so many repeats at most.
    pub fn excuses_at_most(&mut self, repeats: usize) {
        self.bound = Some(repeats);
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
        let mut verdict = Verdict {
            bound: self.bound,
            ..Verdict::default()
        };
        let due = self
            .due
            .iter()
            .flat_map(|(event, paths)| paths.iter().map(move |path| (event, path)));
        for (event, path) in due {
            let arrivals = came.get(&(event.as_str(), path.as_str()));
            if !arrivals.is_some_and(|all| all.iter().any(|one| succeeded(one))) {
                verdict.missing.push((event.clone(), path.clone()));
            }
        }
        for ((event, path), arrivals) in came {
            let name = || (event.to_owned(), path.to_owned());
            // Each request that a fault struck may have left two copies of its delivery behind, of which the one is
            // repeated at once and the other when its retry is due: it excuses one repeat, whichever that is.
            let mut struck = Vec::new();
            let aside = self.put_aside.contains(path);
            let of_pending = self.faults_at(path).filter(|fault| aside || fault.pending);
            let of_pending = of_pending.map(|fault| &fault.kill);
            let of_pending = of_pending.filter(|kill| self.was_pending(event, &arrivals, kill));
            struck.extend(of_pending.map(|kill| (*kill, Duration::ZERO)));
            let mut counted: Vec<Kill> = struck.iter().map(|one: &(Kill, _)| one.0).collect();
            for pair in arrivals.windows(2) {
                if pair[0].body_hash != pair[1].body_hash {
                    verdict.changed.push(name());
                }
                let seen = self.struck(pair[0]);
                if let Some((fault, before)) = seen.filter(|one| !counted.contains(&one.0.kill)) {
                    struck.push((fault.kill, before));
                    // A log that says what it left holds one copy of it.
                    counted.extend(fault.unfinished.as_ref().map(|_| fault.kill));
                }
                // What was answered with a failure is meant to come again.
                if pair[0].answered.is_some() && !succeeded(pair[0]) {
                    continue;
                }
                if self.kills(path).any(|kill| kill.slept_through(pair[1])) {
                    verdict.excused.push(Duration::ZERO);
                    continue;
                }
                // So is what was given up here; a fault that found it so excuses one more.
                if pair[0].answered.is_none() && self.silent.contains(path) {
                    continue;
                }
                let excuse = struck.iter().position(|kill| pair[1].at > kill.0.before);
                match excuse.map(|index| struck.swap_remove(index)) {
                    Some((_, answered_before)) => verdict.excused.push(answered_before),
                    None => verdict.unexcused.push(name()),
                }
            }
        }
        verdict.excused.sort_unstable();
        let struck = |one: &&Arrival| self.struck(one).is_some();
        verdict.in_flight = arrivals.iter().filter(struck).count();
        verdict
    }

    /// For a failing test: when those that came again without excuse came, in seconds from the first fault, each with its
    /// answer and the sender's port. Some of them only.
    #[must_use]
    pub fn history(&self, verdict: &Verdict, arrivals: &[Arrival]) -> String {
        let origin = self.faults.iter().map(|fault| fault.kill.before).min();
        let origin = origin.or_else(|| arrivals.first().map(|arrival| arrival.at));
        let Some(origin) = origin else {
            return String::new();
        };
        let since = |at: Instant| {
            let after = at.saturating_duration_since(origin).as_secs_f64();
            after - origin.saturating_duration_since(at).as_secs_f64()
        };
        let mut told = String::new();
        for (event, path) in verdict.unexcused.iter().take(10) {
            told += &format!("{event} {path}:");
            let its = arrivals
                .iter()
                .filter(|one| *one.event == **event && *one.path == **path);
            for one in its {
                let answered = one.answered.map(since);
                told += &format!(
                    " {:.2} ({} at {answered:.2?} from {})",
                    since(one.at),
                    one.status,
                    one.port
                );
            }
            told.push('\n');
        }
        told
    }

    /// The fault that found the request of `arrival` in flight, and how long before it the answer had gone out.
    fn struck(&self, arrival: &Arrival) -> Option<(&Fault, Duration)> {
        let sent = self.faults_at(&arrival.path).filter(|fault| !fault.pending);
        let struck = sent.filter(|fault| fault.kill.struck(arrival) && fault.left(arrival));
        let answered_before = |kill: &Kill| {
            let answered = arrival.answered.unwrap_or(kill.before);
            kill.before.saturating_duration_since(answered)
        };
        struck
            .map(|fault| (fault, answered_before(&fault.kill)))
            .min_by_key(|(_, before)| *before)
    }

    /// True if the delivery of `event` that `arrivals` are of had been accepted when `kill` was over, and was not done long
    /// before it.
    fn was_pending(&self, event: &str, arrivals: &[&Arrival], kill: &Kill) -> bool {
        let accepted = self.accepted.get(event);
        let done = arrivals.iter().find(|one| succeeded(one));
        let done = done.and_then(|one| one.over);
        accepted.is_none_or(|at| *at <= kill.after)
            && done.is_none_or(|at| at + kill.reach >= kill.before)
    }

    /// The faults that can have struck requests which came to `path`.
    fn kills(&self, path: &str) -> impl Iterator<Item = &Kill> {
        let sent = self.faults_at(path).filter(|fault| !fault.pending);
        sent.map(|fault| &fault.kill)
    }

    fn faults_at(&self, path: &str) -> impl Iterator<Item = &Fault> {
        let there = |fault: &&Fault| {
            let paths = fault.paths.as_ref();
            paths.is_none_or(|paths| paths.contains(path))
        };
        self.faults.iter().filter(there)
    }
}

fn succeeded(arrival: &Arrival) -> bool {
    (200..300).contains(&arrival.status)
}

impl Fault {
    /// True unless it is known that the delivery of `arrival` had been written down as finished.
    fn left(&self, arrival: &Arrival) -> bool {
        let left = |unfinished: &HashSet<(String, String)>| {
            unfinished.contains(&(arrival.event.to_string(), arrival.path.to_string()))
        };
        self.unfinished.as_ref().is_none_or(left)
    }
}

impl Kill {
    /// True if `arrival` was begun before this and came only long after: its sender was stopped where it stood, and what
    /// it had in flight then it sends when it goes on.
    fn slept_through(&self, arrival: &Arrival) -> bool {
        let begun = arrival.at.checked_sub(arrival.on_its_way);
        arrival.on_its_way >= SLEPT && begun.is_some_and(|begun| begun <= self.after)
    }

    /// True if this found the request of `arrival` in flight, so that what came of it could not be written down: it had come
    /// and was not over yet, or was on its way.
    fn struck(&self, arrival: &Arrival) -> bool {
        let over = arrival.over;
        arrival.at <= self.after && over.is_none_or(|over| over + self.reach >= self.before)
            || self.slept_through(arrival)
    }
}

impl Verdict {
    /// True if nothing was lost, changed or repeated without excuse, and no more repeated than may be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let bounded = self.bound.is_none_or(|bound| self.excused.len() <= bound);
        self.missing.is_empty() && self.unexcused.is_empty() && self.changed.is_empty() && bounded
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
            "missing {}, repeated without excuse {}, changed {}, repeats {} ({}) of {} in flight at a kill, of which {} had \
             been answered, none longer before it than {:?}",
            some(&self.missing),
            some(&self.unexcused),
            some(&self.changed),
            self.excused.len(),
            match self.bound {
                Some(bound) => format!("{bound} may be"),
                None => "not bounded".to_owned(),
            },
            self.in_flight,
            answered.count(),
            self.excused.last().copied().unwrap_or_default()
        )
    }
}
