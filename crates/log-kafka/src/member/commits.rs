//! Which positions are to be committed, and who waits for it. One commit is under way at a time; what is asked for
//! meanwhile goes together in the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postrider_log::{Committed, LogError, Position, Progress, Tenure, TopicPartition};
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
/// After one that our user may not make: until an operator acts, each fails alike. A broker that is just loading rights may
/// say so once, and leases are to outlast that.
const FORBIDDEN: Duration = Duration::from_secs(1);

/// Waits until some positions are committed.
struct Waiter {
    tenures: Vec<Tenure>,
    since: Instant,
    reply: oneshot::Sender<Result<(), LogError>>,
}

impl Waiter {
    fn answer(self, result: Result<(), LogError>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(result);
    }

    fn lost(&self, lost: &[Tenure]) -> Option<TopicPartition> {
        let lost = self.tenures.iter().find(|one| lost.contains(one));
        lost.map(|one| one.at)
    }
}

/// The commit that is under way.
struct Flight {
    sent: Instant,
    positions: Vec<(Tenure, Position)>,
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
    pub(crate) lost: Vec<Tenure>,
    /// True if it is committed again.
    pub(crate) again: bool,
    /// The brokers took no metadata of the length that was sent, and are sent none above this, in bytes.
    pub(crate) shortened: Option<usize>,
    /// Why our user may not commit.
    pub(crate) forbidden: Option<RDKafkaErrorCode>,
}

/// What is or will be committed of a partition.
struct Current {
    /// Under which assignment it is ours.
    epoch: u64,
    committed: Committed,
}

/// The positions of one member.
#[derive(Default)]
pub(crate) struct Commits {
    /// Of every partition that is ours.
    current: BTreeMap<TopicPartition, Current>,
    /// What has changed since it was sent last.
    changed: BTreeSet<TopicPartition>,
    waiters: Vec<Waiter>,
    flight: Option<Flight>,
    /// When everything was sent last.
    renewed: Option<Instant>,
    /// No commit before then, because the last one failed.
    pause: Option<Instant>,
    /// The longest metadata that the brokers may take, in bytes, where they refused longer.
    longest: Option<usize>,
}

impl Commits {
    /// A partition is ours from now on.
    pub(crate) fn take_over(&mut self, Tenure { at, epoch }: Tenure, committed: Committed) {
        self.current.insert(at, Current { epoch, committed });
        self.changed.insert(at);
    }

    /// A partition is read from another position, because the one committed is no longer there.
    pub(crate) fn restart(&mut self, at: TopicPartition, next: Position) {
        if let Some(current) = self.current.get_mut(&at) {
            let metadata = String::new();
            current.committed = Committed { next, metadata };
            self.changed.insert(at);
        }
    }

    fn is_ours(&self, tenure: Tenure) -> bool {
        let current = self.current.get(&tenure.at);
        current.is_some_and(|current| current.epoch == tenure.epoch)
    }

    /// Which of these is not ours, or not under that assignment, if one is not.
    pub(crate) fn foreign(&self, finished: &[Progress]) -> Option<TopicPartition> {
        let foreign = |progress: &&Progress| !self.is_ours(progress.tenure());
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
        let tenures = finished.iter().map(Progress::tenure).collect();
        for progress in finished {
            if let Some(current) = self.current.get_mut(&progress.at)
                && progress.committed.next >= current.committed.next
            {
                current.committed = progress.committed;
                self.changed.insert(progress.at);
            }
        }
        let (reply, replied) = oneshot::channel();
        self.waiters.push(Waiter {
            tenures,
            since: Instant::now(),
            reply,
        });
        Ok(replied)
    }

    /// These are not ours any more. Returns those that were, under that assignment.
    pub(crate) fn drop_tenures(&mut self, lost: &[Tenure]) -> Vec<TopicPartition> {
        let ours = lost.iter().filter(|one| self.is_ours(**one));
        let dropped: Vec<TopicPartition> = ours.map(|one| one.at).collect();
        for at in &dropped {
            self.current.remove(at);
            self.changed.remove(at);
        }
        let waiting = std::mem::take(&mut self.waiters);
        self.waiters = fail_lost(waiting, lost);
        if let Some(flight) = &mut self.flight {
            // One that is taken over again before this lands has nothing to do with how it lands.
            flight.positions.retain(|(one, _)| !lost.contains(one));
            flight.waiters = fail_lost(std::mem::take(&mut flight.waiters), lost);
        }
        dropped
    }

    /// Everything that was asked for fails: the member leaves, or the whole log is closed.
    pub(crate) fn abandon(&mut self, closed: Option<&LogError>) {
        let flight = self
            .flight
            .take()
            .into_iter()
            .flat_map(|flight| flight.waiters);
        for waiter in flight.chain(std::mem::take(&mut self.waiters)) {
            let lost = waiter.tenures.first().map(|one| LogError::Lost(one.at));
            let error = closed.cloned().or(lost);
            waiter.answer(error.map_or(Ok(()), Err));
        }
        *self = Self {
            longest: self.longest,
            ..Self::default()
        };
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
        let list = catalog.list(positions.iter().map(|(one, _)| one.at));
        for (Tenure { at, .. }, next) in &positions {
            let (Some((name, partition)), Some(current)) =
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
            element.set_metadata(self.sent(&current.committed));
        }
        self.flight = Some(Flight {
            sent: Instant::now(),
            positions,
            waiters: std::mem::take(&mut self.waiters),
        });
        Some(list)
    }

    /// What goes with a position. It saves the next owner repeats, and nothing is lost without it: where the brokers take
    /// less, none is sent.
    fn sent<'a>(&self, committed: &'a Committed) -> &'a str {
        let metadata = committed.metadata.as_str();
        match self.longest {
            Some(longest) if metadata.len() > longest => "",
            _ => metadata,
        }
    }

    fn positions(&mut self) -> Vec<(Tenure, Position)> {
        let changed = std::mem::take(&mut self.changed);
        let position = |at: TopicPartition| {
            let current = self.current.get(&at)?;
            let epoch = current.epoch;
            Some((Tenure { at, epoch }, current.committed.next))
        };
        changed.into_iter().filter_map(position).collect()
    }

    /// The commit that was under way has ended. All of it shares one fate: what can go wrong concerns the member.
    pub(crate) fn land(&mut self, failed: Option<RDKafkaErrorCode>) -> Landed {
        let Some(flight) = self.flight.take() else {
            return Landed::default();
        };
        let tenures = || flight.positions.iter().map(|(one, _)| *one);
        // What was given up meanwhile has no lease to renew.
        let held = || tenures().filter(|one| self.is_ours(*one)).map(|one| one.at);
        let mut landed = Landed::default();
        match failed.map(commit_failure) {
            None => {
                landed.renewed = Some((flight.sent, held().collect()));
                let positions = flight.positions.iter();
                landed.written = positions.map(|(one, next)| (one.at, *next)).collect();
                for waiter in flight.waiters {
                    landed
                        .finished
                        .extend(waiter.tenures.iter().map(|one| one.at));
                    waiter.answer(Ok(()));
                }
            }
            Some(CommitFailure::Lost) => {
                landed.lost = tenures().collect();
                fail_lost(flight.waiters, &landed.lost);
            }
            Some(why) => {
                landed.again = true;
                let held: Vec<_> = held().collect();
                let pause = match why {
                    CommitFailure::Forbidden => FORBIDDEN,
                    _ => AGAIN,
                };
                if why == CommitFailure::TooLong {
                    let current = held.iter().filter_map(|at| self.current.get(at));
                    let sent = current.map(|current| self.sent(&current.committed).len());
                    // Where none was sent it is not the metadata that is too long.
                    landed.shortened = sent.max().filter(|sent| *sent > 0).map(|sent| sent / 2);
                    self.longest = landed.shortened.or(self.longest);
                }
                landed.forbidden = failed.filter(|_| why == CommitFailure::Forbidden);
                self.changed.extend(held);
                self.waiters.extend(flight.waiters);
                self.pause = Some(Instant::now().plus(pause));
            }
        }
        landed
    }
}

fn fail_lost(waiters: Vec<Waiter>, lost: &[Tenure]) -> Vec<Waiter> {
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

    fn catalog() -> Catalog {
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        Catalog::new(&crate::Options::new("127.0.0.1:9", topics::all(), metrics))
    }

    #[test]
    fn metadata_that_brokers_refuse_for_its_length_is_left_out_and_the_rest_is_committed() {
        let catalog = catalog();
        let mut commits = Commits::default();
        for (partition, length) in [(0, 4000), (1, 40)] {
            let at = TopicPartition {
                topic: topics::EVENTS,
                partition,
            };
            let metadata = "m".repeat(length);
            commits.take_over(Tenure { at, epoch: 1 }, Committed { next: 5, metadata });
        }
        let mut sent = |failed| {
            commits.pause = None;
            let list = commits.take(&catalog).unwrap();
            let elements = list.elements();
            let sent: Vec<_> = elements.iter().map(|one| one.metadata().len()).collect();
            (sent, commits.land(failed))
        };
        let too_long = RDKafkaErrorCode::OffsetMetadataTooLarge;
        let (lengths, landed) = sent(Some(too_long));
        assert_eq!((lengths, landed.again), (vec![4000, 40], true));
        let (lengths, landed) = sent(None);
        assert_eq!((lengths, landed.written.len()), (vec![0, 40], 2));
    }

    #[test]
    fn a_commit_that_is_forbidden_is_told_and_asked_for_again_after_a_while() {
        let catalog = catalog();
        let at = TopicPartition {
            topic: topics::EVENTS,
            partition: 0,
        };
        let mut commits = Commits::default();
        commits.take_over(Tenure { at, epoch: 1 }, Committed::default());
        commits.take(&catalog).unwrap();
        let began = Instant::now();
        let landed = commits.land(Some(RDKafkaErrorCode::GroupAuthorizationFailed));
        assert!(landed.again && landed.forbidden.is_some());
        let until = commits.pause.unwrap();
        assert!(began.plus(FORBIDDEN) <= until && until <= Instant::now().plus(FORBIDDEN));
    }

    #[test]
    fn a_commit_that_fails_takes_nothing_away_that_was_given_up_and_taken_over_again_meanwhile() {
        let catalog = catalog();
        let [gone, kept] = [0, 1].map(|partition| Tenure {
            at: TopicPartition {
                topic: topics::EVENTS,
                partition,
            },
            epoch: 1,
        });
        let anew = Tenure { epoch: 2, ..gone };
        let at = |next| Committed {
            next,
            metadata: String::new(),
        };
        for failed in [Some(RDKafkaErrorCode::UnknownMemberId), None] {
            let mut commits = Commits::default();
            commits.take_over(gone, at(5));
            commits.take_over(kept, at(5));
            assert_eq!(commits.take(&catalog).unwrap().count(), 2);
            assert_eq!(commits.drop_tenures(&[gone]), [gone.at]);
            commits.take_over(anew, at(7));
            assert_eq!(commits.drop_tenures(&[gone]), []);
            let landed = commits.land(failed);
            let renewed = landed.renewed.map(|(_, held)| held).unwrap_or_default();
            // Its lease begins with a commit of its own.
            let lost = landed.lost.iter().map(|one| one.at);
            assert_eq!(lost.chain(renewed).collect::<Vec<_>>(), [kept.at]);
        }
    }
}
