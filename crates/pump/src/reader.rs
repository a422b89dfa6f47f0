//! One reader of all tiers of a kind: holds heads until they are due, and moves what is.

mod finish;

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{
    Assignment, BatchLimit, Committer, Followed, Follower, Log, LogError, Polled, Reader,
    Subscription, Weighted,
};
use postrider_model::{Clock, EndpointId, EndpointState, Record, TopicPartition, topics};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::breakers::Breakers;
use crate::hand::{Due, Hand};
use crate::moved::Moved;
use crate::pace::{self, Work};
use crate::{Kind, Options, PumpError, PumpMetrics};

/// The longest sleep: the wall clock may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Bytes read at once from one partition, at least.
const LEAST_BYTES: usize = 64 << 10;

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
}

fn gauge(gauge: &postrider_metrics::Gauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
