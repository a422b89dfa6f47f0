//! Where what is due goes, and that it is finished, in one completion or in as many as the log has room for.

use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_log::{Committer, Completion, LogError, Portion, Purpose, patiently_unless, shrink};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Pump;
use crate::hand::Due;
use crate::parts::{Move, Part, Parts};
use crate::route::route;
use crate::{Kind, Route};

/// How long a batch of the parked is held back where space is short.
const HELD_BACK: Duration = Duration::from_millis(500);

/// While the log takes nothing, that is told again after this.
const WARN_AGAIN: Duration = Duration::from_secs(60);

impl Pump {
    /// Where each of these goes and that it is finished, in one completion, or in several where a full log has no room for so
    /// much at once. If a partition has another owner by now, that of the others is written without it.
    pub(super) async fn finish(&mut self, due: Vec<Due>) -> Result<Finished, LogError> {
        let (mut refused_at, mut hops, mut warned) = (None, 0, self.warned);
        let (began, mut portion) = (Instant::now(), Portion::of_all());
        let mut waiting = Parts(due.into_iter().map(|due| self.part(due)).collect());
        while !waiting.is_empty() {
            let mut parts = waiting.take(portion.next());
            let refused = |error: &LogError| {
                if warned.is_none_or(|at| at.elapsed() >= WARN_AGAIN) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "the log does not take waiting deliveries at present");
                }
                self.metrics.log_refusals.inc();
                refused_at.get_or_insert_with(Instant::now);
            };
            match self.kind {
                Kind::Retry => fail_point!("pump.retry.before"),
                Kind::Park => fail_point!("pump.park.before"),
            }
            let asking = Asking {
                kind: self.kind,
                began,
                less: parts.len() > 1,
            };
            let committer = self.committer.as_ref();
            match asking
                .complete(committer, parts.completion(), &self.stop, refused)
                .await
            {
                Ok(()) => {
                    match self.kind {
                        Kind::Retry => fail_point!("pump.retry.after"),
                        Kind::Park => fail_point!("pump.park.after"),
                    }
                    hops += self.count(&parts);
                    portion.taken();
                }
                Err(LogError::Full(_)) if asking.less && !self.stop.is_cancelled() => {
                    self.metrics.log_refusals.inc();
                    refused_at.get_or_insert_with(Instant::now);
                    portion.refused(parts.len());
                    waiting.put_back(parts);
                }
                Err(LogError::Lost(at)) => {
                    self.forget(&[at]);
                    waiting.put_back(parts);
                    waiting.0.retain(|part| part.of.at != at);
                }
                Err(error @ LogError::TooLarge { limit, .. }) => {
                    if self.shrink(&mut parts, limit) == 0 {
                        return Err(error);
                    }
                    waiting.put_back(parts);
                }
                // Stopped while the log took nothing: it is all still there for the next start.
                Err(error) if error.is_passing() => break,
                Err(error) => return Err(error),
            }
        }
        self.warned = warned;
        Ok(Finished { refused_at, hops })
    }

    fn part(&mut self, due: Due) -> Part {
        self.metrics.late.of(self.kind).observe_duration(due.late);
        let now = self.clock.now();
        let moves = due.records.iter().map(|record| {
            let breakers = self.breakers.as_mut().map(|(_, breakers)| breakers);
            let moved = self.moved.as_mut();
            let (route, output) = route(self.kind, record, breakers, moved, self.limits, now);
            Move {
                position: record.position,
                route,
                output,
            }
        });
        Part {
            of: due.of,
            moves: moves.collect(),
        }
    }

    /// A dead letter is larger than its delivery, and a limit may have been lowered with deliveries inside.
    fn shrink(&self, parts: &mut Parts, limit: usize) -> usize {
        let moves = parts.0.iter_mut().flat_map(|part| &mut part.moves);
        let records = moves.filter_map(|one| one.output.as_mut());
        let replaced = shrink(records, limit, self.clock.now());
        self.metrics.too_large.inc_by(replaced as u64);
        replaced
    }

    /// Counts what was moved; returns how many of them go on waiting.
    fn count(&self, parts: &Parts) -> u32 {
        let mut hops = 0;
        for one in parts.moves() {
            self.metrics.moved.of((self.kind, one.route)).inc();
            hops += u32::from(one.route == Route::Hop);
        }
        hops
    }
}

/// What became of a batch.
pub(super) struct Finished {
    /// When the log first refused, if it did: from then on we waited.
    pub(super) refused_at: Option<Instant>,
    /// How many go on waiting.
    pub(super) hops: u32,
}

/// How a completion is asked for.
struct Asking {
    kind: Kind,
    /// When it was first.
    began: Instant,
    /// Less can be asked for than this.
    less: bool,
}

impl Asking {
    /// Completes, [patiently](postrider_log::patiently); less is asked for at once where the log is too full for this. Where
    /// space is short, what is parked is not put back as fast as it is due: it is written beside what it stands for, and where
    /// its endpoint hangs it is parked again and comes again, until nothing is left in which the worker could write how
    /// anything ended. Batch by batch it goes on. Retries wait for none of that: a neighbour's may be among them, and each comes
    /// once a step of its schedule.
    async fn complete(
        &self,
        committer: &dyn Committer,
        mut completion: Completion,
        stop: &CancellationToken,
        refused: impl FnMut(&LogError) + Send,
    ) -> Result<(), LogError> {
        let ask = || {
            completion.purpose = self.purpose();
            committer.complete(completion.clone())
        };
        let is_moving = || self.purpose() == Purpose::Moving;
        let ends =
            |error: &LogError| self.less && is_moving() && matches!(error, LogError::Full(_));
        patiently_unless(stop, ends, ask, refused).await
    }

    fn purpose(&self) -> Purpose {
        match self.kind {
            Kind::Park if self.began.elapsed() < HELD_BACK => Purpose::Spreading,
            Kind::Park | Kind::Retry => Purpose::Moving,
        }
    }
}
