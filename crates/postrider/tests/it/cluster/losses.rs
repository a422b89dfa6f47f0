//! Partitions that were lost, as their owner says in its log, and what that excuses: repeats of what it had in hand then, at
//! the endpoints whose deliveries lie there, and nothing else. Who may have lost any, a test says; and how many repeats all
//! of it can have come to, is bounded.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postrider_log_kafka::partition_of;
use postrider_model::EndpointId;
use postrider_testkit::{Arrival, Kill, LossChecker, setting};

use super::Cluster;
use super::process::{COMMITTED_WITHIN, READ_WITHIN};

/// The lease, as it is configured by default: nothing starts that long after the last commit that was acknowledged.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Requests that a process has in flight, at most: what it cannot have finished when it is killed.
pub(crate) const IN_FLIGHT: usize = 128;

/// A release that did not tell yet when it last committed: longer than a session lasts, and the lease after it.
const UNTOLD_MS: u64 = 10_000;

/// Whether processes of an older release take part.
fn is_of_an_older_release() -> bool {
    !setting("POSTRIDER_TEST_OLDER", String::new()).is_empty()
}

/// Where somebody receives, and as which endpoint.
pub(crate) type Receiving = (String, EndpointId);

/// Once a member lost partitions.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Of which group.
    pub(crate) group: String,
    /// When the last commit was sent that was acknowledged and finished something.
    finished: Timestamp,
    /// When the last commit was sent that was acknowledged.
    pub(crate) committed: Timestamp,
    /// When the member heard of it.
    pub(crate) heard: Timestamp,
    /// The numbers of the partitions.
    pub(crate) partitions: BTreeSet<u32>,
}

impl Loss {
    pub(super) fn all_in(log: &str) -> Vec<Self> {
        let lines = log
            .lines()
            .filter(|line| line.contains("partitions were lost"));
        lines.map(Self::of).collect()
    }

    fn of(line: &str) -> Self {
        let heard: Timestamp = line.split(' ').next().unwrap().parse().unwrap();
        let ago = |before| {
            let untold = || is_of_an_older_release().then_some(UNTOLD_MS);
            let ago = number(line, before).or_else(untold);
            let ago = ago.unwrap_or_else(|| panic!("no commit: {line}"));
            heard - Duration::from_millis(ago)
        };
        let (_, group) = line.split_once("group=").unwrap();
        let numbers = line.split("partition: ").skip(1);
        let numbers = numbers.map(|rest| digits(rest).parse().unwrap());
        Self {
            group: group.split(' ').next().unwrap().to_owned(),
            finished: ago("finished_ago_ms="),
            committed: ago("committed_ago_ms="),
            heard,
            partitions: numbers.collect(),
        }
    }

    /// What it excuses: what was in hand at some time between the last commit that finished something and the end of the
    /// lease, and what was over too short a time before that commit to be in it.
    fn kill(&self) -> Kill {
        let lease_ended = self.committed + LEASE;
        Kill {
            before: instant(self.finished),
            after: instant(self.heard.min(lease_ended)) + READ_WITHIN,
            reach: COMMITTED_WITHIN,
        }
    }
}

impl Cluster {
    /// Tells `checker` of every loss: a worker's for those of `all` whose deliveries lie where it struck; where fan-out or a
    /// pump lost what it had written of, that may be there twice. Returns what they excuse.
    pub(crate) fn excuse_losses(&self, checker: &mut LossChecker, all: &[Receiving]) -> Vec<Kill> {
        let mut struck = Vec::new();
        let count = self.setting("LOG__KAFKA__PARTITIONS").parse().unwrap();
        for (name, loss) in self.losses() {
            println!("{name}: {loss:?}");
            let lies_there = |id: EndpointId| {
                let partition = partition_of(id.as_bytes(), count);
                loss.partitions.contains(&partition)
            };
            let there = all.iter().filter(|(_, id)| lies_there(*id));
            let there = there.map(|(path, _)| path.clone());
            match &*loss.group {
                "worker" => checker.killed_at(loss.kill(), there),
                // Its partitions are those of events, which go by application.
                "fanout" => {
                    let everywhere = all.iter().map(|(path, _)| path.clone());
                    checker.written_twice(loss.kill(), everywhere);
                }
                "pump" => checker.written_twice(loss.kill(), there),
                // What these write is the store's, which takes nothing twice.
                _ => continue,
            }
            struck.push(loss.kill());
        }
        struck
    }

    /// Nobody but these lost partitions.
    pub(crate) fn only_lost_by(&self, names: &[&str]) {
        let all = self.losses();
        let others: Vec<_> = all
            .iter()
            .filter(|(name, _)| !names.contains(name))
            .collect();
        assert!(others.is_empty(), "lost partitions: {others:?}");
    }
}

/// How many repeats these can have come to, at most: for each, what its process had in flight, and what was over within a
/// commit interval before it, or before the lease ended by which the process went on.
pub(crate) fn most_repeats(struck: &[Kill], arrivals: &[Arrival]) -> usize {
    let finished = |kill: &Kill| {
        let from = kill.before.checked_sub(kill.reach).unwrap_or(kill.before);
        let to = kill.after.min(kill.before + LEASE + READ_WITHIN);
        let over = arrivals.iter().filter_map(|one| one.over);
        over.filter(|over| (from..=to).contains(over)).count()
    };
    struck.iter().map(|kill| IN_FLIGHT + finished(kill)).sum()
}

/// How long ago a worker sent the last commit that was acknowledged and finished something, by its log; none if it logs
/// none, or finished nothing.
pub(super) fn last_commit(log: &str) -> Option<Duration> {
    let mut lines = log.lines().rev();
    let line = lines.find(|line| {
        line.contains("committed what was finished") && line.contains("group=worker ")
    })?;
    let logged: Timestamp = line.split(' ').next()?.parse().ok()?;
    let sent = logged - Duration::from_millis(number(line, "sent_ago_ms=")?);
    Some(Timestamp::now().duration_since(sent).unsigned_abs())
}

/// The moment on the clock that arrivals are noted by.
fn instant(at: Timestamp) -> Instant {
    let (now, wall) = (Instant::now(), Timestamp::now());
    let ago = wall.duration_since(at);
    match ago.is_negative() {
        true => now + ago.unsigned_abs(),
        false => now.checked_sub(ago.unsigned_abs()).unwrap(),
    }
}

/// The number behind this in a line of a log.
pub(super) fn number(line: &str, before: &str) -> Option<u64> {
    let (_, rest) = line.split_once(before)?;
    digits(rest).parse().ok()
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit());
    &text[..end.unwrap_or(text.len())]
}
