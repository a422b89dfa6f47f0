//! One reader of all tiers of a kind: holds heads until they are due, and moves what is.

use std::sync::Arc;
use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_log::{
    Assignment, BatchLimit, Committer, Completion, Followed, Follower, Log, LogError, Polled,
    Purpose, Reader, Subscription, Weighted, patiently_unless, shrink,
};
use postrider_model::{Clock, EndpointId, EndpointState, Record, TopicPartition, topics};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::breakers::Breakers;
use crate::hand::{Due, Hand};
use crate::moved::Moved;
use crate::pace::{self, Work};
use crate::parts::{Move, Part, Parts};
use crate::route::route;
use crate::{Kind, Options, PumpError, PumpMetrics, Route};

/// The longest sleep: the wall clock may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Bytes read at once from one partition, at least.
const LEAST_BYTES: usize = 64 << 10;

/// How long a batch of the parked is held back where space is short.
const HELD_BACK: Duration = Duration::from_millis(500);

/// While the log takes nothing, that is told again after this.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// What changed while waiting.
enum Woken {
    Shutdown,
    Due,
    Polled(Result<Polled, LogError>),
    Followed(Followed),
}

struct Pump {
    kind: Kind,
    limits: postrider_log::Limits,
    reader: Box<dyn Reader>,
    committer: Arc<dyn Committer>,
    hand: Hand,
    /// Only the parked are judged by their endpoint's breaker.
    breakers: Option<(Box<dyn Follower>, Breakers)>,
    /// Only of retries, where something can come twice.
    moved: Option<Moved>,
    clock: Arc<dyn Clock>,
    options: Options,
    metrics: PumpMetrics,
    /// When it was last told that the log does not take what is due.
    warned: Option<Instant>,
    stop: CancellationToken,
}

/// Moves the records of all tiers of `kind` on until `stop`.
pub(crate) async fn run(
    kind: Kind,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    options: Options,
    metrics: PumpMetrics,
    stop: CancellationToken,
) -> Result<(), PumpError> {
    let breakers = match kind {
        Kind::Retry => None,
        Kind::Park => match follow(log.as_ref(), &options, &stop).await? {
            Some(caught_up) => Some(caught_up),
            None => return Ok(()),
        },
    };
    let weighted = |tier: &topics::Tier| Weighted {
        topic: tier.topic,
        weight: 1,
    };
    let tiers = kind.tiers().iter().map(weighted).collect();
    let (reader, committer) = log
        .subscribe(Subscription::to_all(topics::PUMP, tiers))
        .await?;
    let pump = Pump {
        kind,
        limits: log.limits(),
        reader,
        committer,
        hand: Hand::new(kind.tiers()),
        breakers,
        moved: Moved::of(kind, log.completes_at_once()),
        clock,
        options,
        metrics,
        warned: None,
        stop,
    };
    pump.run().await
}

/// Reads who is open at present, before the first parked delivery is judged; `None` if stopped meanwhile.
async fn follow(
    log: &dyn Log,
    options: &Options,
    stop: &CancellationToken,
) -> Result<Option<(Box<dyn Follower>, Breakers)>, LogError> {
    let mut follower = log.follow(topics::ENDPOINT_STATE).await?;
    let mut breakers = Breakers::new(
        Kind::Park.tiers(),
        options.let_through_interval,
        options.rewrites_per_second,
    );
    loop {
        let followed = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            followed = follower.next() => followed?,
        };
        match followed {
            Followed::Records(records) => hear(&mut breakers, &records),
            Followed::CaughtUp => return Ok(Some((follower, breakers))),
        }
    }
}

fn hear(breakers: &mut Breakers, records: &[Record]) {
    for record in records {
        match EndpointState::decode(&record.value) {
            Ok(state) if !record.value.is_empty() => breakers.heard(&state),
            _ => {
                // Removed, or of a kind that we cannot read: then the delivery's own time decides.
                if let Some(endpoint) = EndpointId::from_slice(&record.key) {
                    breakers.forget(endpoint);
                }
            }
        }
    }
}

impl Pump {
    async fn run(mut self) -> Result<(), PumpError> {
        loop {
            self.move_due().await?;
            let pauses = self.hand.pauses();
            self.reader.pause(&pauses.pause);
            self.reader.resume(&pauses.resume);
            gauge(self.metrics.held.of(self.kind), self.hand.len());
            match self.wait().await? {
                Woken::Shutdown => return Ok(()),
                Woken::Due => {}
                Woken::Polled(polled) => self.polled(polled).await?,
                Woken::Followed(followed) => self.followed(&followed),
            }
        }
    }

    /// Waits for the first head's time, for records or for news of an endpoint; for nothing else.
    async fn wait(&mut self) -> Result<Woken, LogError> {
        let limit = BatchLimit {
            records: self.options.batch_records,
            bytes: (self.options.hand_bytes / self.hand.partitions().max(1)).max(LEAST_BYTES),
        };
        let due_in = self.hand.wait(self.clock.now());
        let sleep = async {
            match due_in {
                Some(due_in) => tokio::time::sleep(due_in.min(LONGEST_SLEEP)).await,
                None => std::future::pending().await,
            }
        };
        let news = async {
            match &mut self.breakers {
                Some((follower, _)) => follower.next().await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            () = self.stop.cancelled() => Woken::Shutdown,
            () = sleep => Woken::Due,
            polled = self.reader.next(limit) => Woken::Polled(polled),
            followed = news => Woken::Followed(followed?),
        })
    }

    async fn polled(&mut self, polled: Result<Polled, LogError>) -> Result<(), LogError> {
        match polled {
            Ok(Polled::Assigned(assignments)) => {
                let at: Vec<TopicPartition> = assignments.iter().map(|a| a.at).collect();
                self.forget(&at);
                self.hand.assign(assignments.iter().map(Assignment::tenure));
            }
            Ok(Polled::Records(records)) => self.hand.take(records, self.clock.now()),
            // Nothing is being moved while we wait, so they can be given up at once.
            Ok(Polled::Revoking(at)) => {
                let released = self.hand.tenures(&at);
                self.forget(&at);
                self.committer.release(&released).await?;
            }
            Ok(Polled::Lost(at)) => self.forget(&at),
            Err(LogError::Trimmed { at, asked, first }) => {
                tracing::error!(%at, asked, first, "waiting deliveries were gone before they were read");
                self.metrics.trimmed.inc();
            }
            Err(error) if error.is_passing() => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// These came or went: what is in hand of them is another's, or is read again.
    fn forget(&mut self, at: &[TopicPartition]) {
        self.hand.drop_partitions(at);
        if let Some(moved) = &mut self.moved {
            moved.forget(at);
        }
    }

    fn followed(&mut self, followed: &Followed) {
        if let (Followed::Records(records), Some((_, breakers))) = (followed, &mut self.breakers) {
            hear(breakers, records);
            gauge(&self.metrics.open_endpoints, breakers.len());
        }
    }

    /// Moves everything that is due, batch by batch.
    async fn move_due(&mut self) -> Result<(), LogError> {
        let limit = BatchLimit {
            records: self.options.batch_records,
            bytes: self.options.move_bytes,
        };
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let due = self.hand.due(self.clock.now(), limit);
            if due.is_empty() {
                break;
            }
            let late = due.iter().map(Due::lateness).fold(0.0, f64::max);
            let moved = self.finish(due).await?;
            let worked_until = moved.refused_at.unwrap_or_else(Instant::now);
            let work = Work {
                took: worked_until - began,
                hops: moved.hops,
                late,
            };
            self.rest_after(work).await;
        }
        Ok(())
    }

    /// Parked deliveries leave time to everybody else.
    async fn rest_after(&mut self, work: Work) {
        if self.kind == Kind::Park && !work.took.is_zero() {
            let rest = tokio::time::sleep(pace::rest(work, &self.options));
            self.stop.run_until_cancelled(rest).await;
        }
    }

    /// Where each of these goes and that it is finished, in one completion, or in several where a full log has no room for so
    /// much at once. If a partition has another owner by now, that of the others is written without it.
    async fn finish(&mut self, due: Vec<Due>) -> Result<Finished, LogError> {
        let (mut refused_at, mut hops, mut warned) = (None, 0, self.warned);
        let (began, mut most) = (Instant::now(), usize::MAX);
        let mut waiting = Parts(due.into_iter().map(|due| self.part(due)).collect());
        while !waiting.is_empty() {
            let mut parts = waiting.take(most);
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
                    most = most.saturating_mul(2);
                }
                Err(LogError::Full(_)) if asking.less && !self.stop.is_cancelled() => {
                    self.metrics.log_refusals.inc();
                    refused_at.get_or_insert_with(Instant::now);
                    most = parts.len() / 2;
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
struct Finished {
    /// When the log first refused, if it did: from then on we waited.
    refused_at: Option<Instant>,
    /// How many go on waiting.
    hops: u32,
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

fn gauge(gauge: &postrider_metrics::Gauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
