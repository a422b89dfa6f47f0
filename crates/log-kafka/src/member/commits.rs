//! Which positions are to be committed, and who waits for it. One commit is under way at a time; what is asked for
//! meanwhile goes together in the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postrider_log::{Committed, LogError, Position, Progress, TopicPartition};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::catalog::Catalog;
use crate::clock::Instant;
use crate::error::{CommitFailure, commit_failure};

/// Every position is committed so often, changed or not: it renews the leases.
const RENEW: Duration = Duration::from_secs(1);
/// After a commit that failed.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits until some positions are committed.
struct Waiter {
    partitions: Vec<TopicPartition>,
    since: Instant,
    reply: oneshot::Sender<Result<(), LogError>>,
}

impl Waiter {
    fn answer(self, result: Result<(), LogError>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(result);
    }

    fn lost(&self, lost: &[TopicPartition]) -> Option<TopicPartition> {
        self.partitions.iter().copied().find(|at| lost.contains(at))
    }
}

/// The commit that is under way.
struct Flight {
    sent: Instant,
    positions: Vec<(TopicPartition, Position)>,
    waiters: Vec<Waiter>,
}

/// What came of the commit that was under way.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    /// When it was sent, and what of it is still ours.
    pub(crate) renewed: Option<(Instant, Vec<TopicPartition>)>,
    /// What was written.
    pub(crate) written: Vec<(TopicPartition, Position)>,
    /// Of which somebody had finished something.
    pub(crate) finished: Vec<TopicPartition>,
    /// What belongs to another member by now.
    pub(crate) lost: Vec<TopicPartition>,
    /// True if it is committed again.
    pub(crate) again: bool,
}

/// The positions of one member.
#[derive(Default)]
pub(crate) struct Commits {
    /// What is or will be committed, of every partition that is ours.
    current: BTreeMap<TopicPartition, Committed>,
    /// What has changed since it was sent last.
    changed: BTreeSet<TopicPartition>,
    waiters: Vec<Waiter>,
    flight: Option<Flight>,
    /// When everything was sent last.
    renewed: Option<Instant>,
    /// No commit before then, because the last one failed.
    pause: Option<Instant>,
}

impl Commits {
    /// A partition is ours from now on.
    pub(crate) fn take_over(&mut self, at: TopicPartition, committed: Committed) {
        self.current.insert(at, committed);
        self.changed.insert(at);
    }

    /// A partition is read from another position, because the one committed is no longer there.
    pub(crate) fn restart(&mut self, at: TopicPartition, next: Position) {
        if let Some(current) = self.current.get_mut(&at) {
            let metadata = String::new();
            *current = Committed { next, metadata };
            self.changed.insert(at);
        }
    }

    /// Which of these is not ours, if one is not.
    pub(crate) fn foreign(&self, finished: &[Progress]) -> Option<TopicPartition> {
        let foreign = |progress: &&Progress| !self.current.contains_key(&progress.at);
        finished.iter().find(foreign).map(|progress| progress.at)
    }

    /// Asks for positions to be committed. A lower one than before is ignored.
    ///
    /// # Errors
    /// If one is not ours any more.
    pub(crate) fn finish(
        &mut self,
        finished: Vec<Progress>,
    ) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
        if let Some(at) = self.foreign(&finished) {
            return Err(LogError::Lost(at));
        }
        let partitions = finished.iter().map(|progress| progress.at).collect();
        for progress in finished {
            if let Some(current) = self.current.get_mut(&progress.at)
                && progress.committed.next >= current.next
            {
                *current = progress.committed;
                self.changed.insert(progress.at);
            }
        }
        let (reply, replied) = oneshot::channel();
        self.waiters.push(Waiter {
            partitions,
            since: Instant::now(),
            reply,
        });
        Ok(replied)
    }

    /// These are not ours any more.
    pub(crate) fn drop_partitions(&mut self, lost: &[TopicPartition]) {
        for at in lost {
            self.current.remove(at);
            self.changed.remove(at);
        }
        let waiting = std::mem::take(&mut self.waiters);
        self.waiters = fail_lost(waiting, lost);
        if let Some(flight) = &mut self.flight {
            // One that is taken over again before this lands has nothing to do with how it lands.
            flight.positions.retain(|(at, _)| !lost.contains(at));
            flight.waiters = fail_lost(std::mem::take(&mut flight.waiters), lost);
        }
    }

    /// Everything that was asked for fails: the member leaves, or the whole log is closed.
    pub(crate) fn abandon(&mut self, closed: Option<&LogError>) {
        let flight = self
            .flight
            .take()
            .into_iter()
            .flat_map(|flight| flight.waiters);
        for waiter in flight.chain(std::mem::take(&mut self.waiters)) {
            let lost = waiter.partitions.first().map(|at| LogError::Lost(*at));
            let error = closed.cloned().or(lost);
            waiter.answer(error.map_or(Ok(()), Err));
        }
        *self = Self::default();
    }

    /// How long the one who waits longest has waited.
    pub(crate) fn longest_wait(&self) -> Duration {
        let flying = self.flight.iter().flat_map(|flight| &flight.waiters);
        let waits = flying
            .chain(&self.waiters)
            .map(|waiter| waiter.since.elapsed());
        waits.max().unwrap_or_default()
    }

    /// What is to be committed now, if anything is: what was asked for, or everything if it is time to.
    pub(crate) fn take(&mut self, catalog: &Catalog) -> Option<TopicPartitionList> {
        let due = self.renewed.is_none_or(|at| at.elapsed() >= RENEW);
        let paused = self.pause.is_some_and(|until| Instant::now() < until);
        if self.flight.is_some() || paused || self.current.is_empty() {
            return None;
        }
        if due {
            self.changed.extend(self.current.keys());
            self.renewed = Some(Instant::now());
        }
        if self.changed.is_empty() {
            // What is waited for was committed before.
            for waiter in std::mem::take(&mut self.waiters) {
                waiter.answer(Ok(()));
            }
            return None;
        }
        let positions = self.positions();
        let list = catalog.list(positions.iter().map(|(at, _)| *at));
        for (at, next) in &positions {
            let (Some((name, partition)), Some(committed)) =
                (catalog.name(*at), self.current.get(at))
            else {
                continue;
            };
            let Some(mut element) = list.find_partition(name, partition) else {
                continue;
            };
            let offset = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            if let Err(error) = element.set_offset(offset) {
                tracing::error!(%at, %error, "a position cannot be committed");
            }
            element.set_metadata(&committed.metadata);
        }
        self.flight = Some(Flight {
            sent: Instant::now(),
            positions,
            waiters: std::mem::take(&mut self.waiters),
        });
        Some(list)
    }

    fn positions(&mut self) -> Vec<(TopicPartition, Position)> {
        let changed = std::mem::take(&mut self.changed);
        let position = |at: TopicPartition| Some((at, self.current.get(&at)?.next));
        changed.into_iter().filter_map(position).collect()
    }

    /// The commit that was under way has ended. All of it shares one fate: what can go wrong concerns the member.
    pub(crate) fn land(&mut self, failed: Option<RDKafkaErrorCode>) -> Landed {
        let Some(flight) = self.flight.take() else {
            return Landed::default();
        };
        let partitions = || flight.positions.iter().map(|(at, _)| *at);
        let mut landed = Landed::default();
        match failed.map(commit_failure) {
            None => {
                // What was given up meanwhile has no lease to renew.
                let held = partitions()
                    .filter(|at| self.current.contains_key(at))
                    .collect();
                landed.renewed = Some((flight.sent, held));
                landed.written = flight.positions;
                for waiter in flight.waiters {
                    landed.finished.extend(&waiter.partitions);
                    waiter.answer(Ok(()));
                }
            }
            Some(CommitFailure::Lost) => {
                landed.lost = partitions().collect();
                fail_lost(flight.waiters, &landed.lost);
            }
            Some(CommitFailure::Again) => {
                landed.again = true;
                let held = partitions().filter(|at| self.current.contains_key(at));
                self.changed.extend(held);
                self.waiters.extend(flight.waiters);
                self.pause = Some(Instant::now().plus(AGAIN));
            }
        }
        landed
    }
}

fn fail_lost(waiters: Vec<Waiter>, lost: &[TopicPartition]) -> Vec<Waiter> {
    let mut left = Vec::new();
    for waiter in waiters {
        match waiter.lost(lost) {
            Some(at) => waiter.answer(Err(LogError::Lost(at))),
            None => left.push(waiter),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics;

    #[test]
    fn a_commit_that_fails_takes_nothing_away_that_was_given_up_and_taken_over_again_meanwhile() {
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        let catalog = Catalog::new(&crate::Options::new("127.0.0.1:9", topics::all(), metrics));
        let [gone, kept] = [0, 1].map(|partition| TopicPartition {
            topic: topics::EVENTS,
            partition,
        });
        let at = |next| Committed {
            next,
            metadata: String::new(),
        };
        for failed in [Some(RDKafkaErrorCode::UnknownMemberId), None] {
            let mut commits = Commits::default();
            commits.take_over(gone, at(5));
            commits.take_over(kept, at(5));
            assert_eq!(commits.take(&catalog).unwrap().count(), 2);
            commits.drop_partitions(&[gone]);
            commits.take_over(gone, at(7));
            let landed = commits.land(failed);
            let renewed = landed.renewed.map(|(_, held)| held).unwrap_or_default();
            // Its lease begins with a commit of its own.
            assert_eq!([landed.lost, renewed].concat(), [kept]);
        }
    }
}
