//! One replay, carried out by its owner.

use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_log::{Backoff, Durability, LogError, Purpose};
use postrider_metrics::Gauge;
use postrider_model::{DeadLetter, Delivery, NewRecord, Schedule, Timestamp};
use postrider_store::{DeadLetters, Replay, ReplayStatus, ReplayStep, Replays, StoreError};
use postrider_trace::Span;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::page::{self, Part};
use crate::{DeadLetterError, DeadLetterMetrics, Options, Ports, Takes};

/// Nothing is published in the last part of a lease: the write may take a while.
const MARGIN: Duration = Duration::from_secs(2);

/// Characters of the reason why a replay was paused, at most.
const MOST_WORDS: usize = 500;

/// Carries one replay out under one lease.
pub(crate) struct Carrier<S: ?Sized> {
    ports: Ports<S>,
    options: Options,
    metrics: DeadLetterMetrics,
    owner: String,
    lease_until: Timestamp,
}

/// What has become of a replay that takes no further step.
const fn why_let_go(status: ReplayStatus) -> &'static str {
    match status {
        ReplayStatus::Done => "a replay is done: all that it was to publish is published",
        ReplayStatus::Paused => "a replay rests: it is paused",
        ReplayStatus::Cancelled => "a replay has ended: it was cancelled",
        ReplayStatus::Running => "a replay goes on elsewhere",
    }
}

/// What of a replay that is done was left to another one, or removed before this one came to it, or its endpoint was.
const fn skipped(replay: &Replay) -> u64 {
    match replay.status {
        ReplayStatus::Done => replay.total.saturating_sub(replay.done + replay.failed),
        ReplayStatus::Running | ReplayStatus::Paused | ReplayStatus::Cancelled => 0,
    }
}

/// What a replay that is carried out here has still to do, as part of the gauge of all such.
struct Remaining {
    gauge: Gauge,
    counted: i64,
}

impl Remaining {
    fn new(gauge: Gauge) -> Self {
        Self { gauge, counted: 0 }
    }

    fn set(&mut self, replay: &Replay) {
        let left = replay.total.saturating_sub(replay.done + replay.failed);
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        self.gauge.add(left - self.counted);
        self.counted = left;
    }
}

impl Drop for Remaining {
    fn drop(&mut self) {
        self.gauge.add(-self.counted);
    }
}

/// Why a step was not taken.
enum Stalled {
    /// The store or the log does not answer at present.
    Later(String),
    /// The lease is over or nearly so: whoever claims the replay next goes on where it stands.
    LeaseOver,
    /// The log has stopped.
    Stopped(LogError),
}

impl From<StoreError> for Stalled {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) | StoreError::NotFound(_) => Self::LeaseOver,
            StoreError::Refused(why)
            | StoreError::Unreadable(why)
            | StoreError::Unavailable(why)
            | StoreError::Damaged(why) => Self::Later(why),
        }
    }
}

/// What a step does.
struct Planned {
    records: Vec<NewRecord>,
    /// Of those that are sampled. They end when it is published.
    spans: Vec<Span>,
    heaviest: usize,
    step: ReplayStep,
}

impl<S: DeadLetters + Replays + ?Sized> Carrier<S> {
    pub(crate) fn new(
        ports: Ports<S>,
        options: Options,
        metrics: DeadLetterMetrics,
        owner: String,
        lease_until: Timestamp,
    ) -> Self {
        Self {
            ports,
            options,
            metrics,
            owner,
            lease_until,
        }
    }

    /// Takes steps at the replay's rate until it is finished, paused or cancelled, or the lease is lost.
    pub(crate) async fn carry_out(
        mut self,
        mut replay: Replay,
        stop: &CancellationToken,
    ) -> Result<(), DeadLetterError> {
        let mut pace = Pace::new(replay.rate, self.options.step, Instant::now());
        let mut backoff = Backoff::default();
        let mut remaining = Remaining::new(self.metrics.replay_remaining.clone());
        while replay.status == ReplayStatus::Running {
            remaining.set(&replay);
            tokio::select! {
                () = stop.cancelled() => return self.let_go(&replay).await,
                () = tokio::time::sleep_until(pace.next_at()) => {}
            }
            match self.step(&replay, &mut pace).await {
                Ok(advanced) => {
                    replay = advanced;
                    backoff = Backoff::default();
                }
                Err(Stalled::LeaseOver) => return Ok(()),
                Err(Stalled::Stopped(error)) => return Err(error.into()),
                Err(Stalled::Later(why)) => {
                    tracing::warn!(replay = %replay.id, why, "a replay cannot go on at present");
                    tokio::select! {
                        () = stop.cancelled() => return self.let_go(&replay).await,
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                    }
                }
            }
        }
        tracing::info!(
            replay = %replay.id, status = replay.status.label(), done = replay.done, failed = replay.failed,
            skipped = skipped(&replay), "{}", why_let_go(replay.status)
        );
        Ok(())
    }

    /// We are to stop between two steps: another goes on at once. If the store does not answer it waits for the lease.
    async fn let_go(&self, replay: &Replay) -> Result<(), DeadLetterError> {
        let store = &self.ports.store;
        let released = tokio::time::timeout(MARGIN, store.release_replay(replay.id, &self.owner));
        if !matches!(released.await, Ok(Ok(()))) {
            tracing::warn!(replay = %replay.id, "a replay waits for the end of its lease");
        }
        Ok(())
    }

    /// Publishes the next part, Synced, and only then records that it did.
    async fn step(&mut self, replay: &Replay, pace: &mut Pace) -> Result<Replay, Stalled> {
        self.check_lease()?;
        let store = self.ports.store.as_ref();
        let mut part = page::next(store, replay, pace.size()).await?;
        fail_point!("replay.take.before");
        part.keep_taken(store, replay, self.ports.clock.now())
            .await?;
        fail_point!("replay.take.after");
        self.ports.endpoints.refresh().await?;
        let planned = self.plan(replay, part);
        let published = planned.records.len();
        self.check_lease()?;
        if published > 0 {
            fail_point!("replay.publish.before");
            self.publish(planned.records).await?;
            fail_point!("replay.publish.after");
            planned.spans.into_iter().for_each(Span::end);
        }
        pace.took(published, planned.heaviest, Instant::now());
        fail_point!("replay.advance.before");
        let advanced = self.advance(replay, &planned.step).await?;
        fail_point!("replay.advance.after");
        self.metrics.replay_published.inc_by(published as u64);
        self.metrics.replay_failed.inc_by(planned.step.failed);
        Ok(advanced)
    }

    fn check_lease(&self) -> Result<(), Stalled> {
        if self.ports.clock.now().plus(MARGIN) < self.lease_until {
            Ok(())
        } else {
            Err(Stalled::LeaseOver)
        }
    }

    /// Which of these are published, and what is recorded of it.
    fn plan(&self, replay: &Replay, part: Part) -> Planned {
        let now = self.ports.clock.now();
        let most = self.ports.log.limits().record_bytes;
        let mut planned = Planned {
            records: Vec::with_capacity(part.letters.len()),
            spans: Vec::new(),
            heaviest: 0,
            step: ReplayStep {
                cursor: part.cursor,
                published: Vec::with_capacity(part.letters.len()),
                failed: part.missing,
                finished: part.last,
            },
        };
        for letter in part.letters {
            let id = letter.id;
            let made = self.delivery(replay, letter, now).map(|delivery| {
                let (delivery, mut span) = self.ports.tracer.send_again(delivery);
                span.note(|note| note.show("postrider.replay.id", replay.id));
                (delivery.to_record(), span)
            });
            match made.filter(|(record, _)| record.size() <= most) {
                Some((record, span)) => {
                    planned.heaviest = planned.heaviest.max(record.size());
                    planned.records.push(record);
                    planned.spans.extend(span.is_recording().then_some(span));
                    planned.step.published.push(id);
                }
                None => planned.step.failed += 1,
            }
        }
        planned
    }

    /// The delivery that repeats a dead letter; `None` if its endpoint takes nothing, or the payload is not there.
    fn delivery(&self, replay: &Replay, letter: DeadLetter, now: Timestamp) -> Option<Delivery> {
        if letter.payload_left_out {
            return None;
        }
        // A worker that knows the endpoint of before, disabled, must not judge by that: the version travels with it.
        let (own, version) = match self.ports.endpoints.takes(letter.delivery.endpoint_id) {
            Takes::Nothing => return None,
            Takes::Deliveries { schedule, version } => (schedule, version),
        };
        let schedule = own.unwrap_or_else(|| self.options.schedule.clone());
        let longest = Schedule::with_jitter(schedule.total(), 1.0);
        let deadline = now.plus(longest).plus(self.options.deadline_slack);
        let delivery = letter.delivery;
        Some(delivery.again(replay.generation, version, now, deadline))
    }

    async fn publish(&self, records: Vec<NewRecord>) -> Result<(), Stalled> {
        let log = &self.ports.log;
        let appended = log.append(records, Durability::Synced, Purpose::Intake);
        match appended.await {
            Ok(_) => Ok(()),
            Err(error) if error.is_passing() => {
                self.metrics.log_refusals.inc();
                Err(Stalled::Later(error.to_string()))
            }
            Err(error) => Err(Stalled::Stopped(error)),
        }
    }

    /// Records what was published. Asked again while the lease lasts: giving up here is what repeats a step.
    async fn advance(&mut self, replay: &Replay, step: &ReplayStep) -> Result<Replay, Stalled> {
        let mut backoff = Backoff::default();
        loop {
            let now = self.ports.clock.now();
            let until = now.plus(self.options.lease);
            let store = &self.ports.store;
            let advanced = store.advance_replay(replay.id, &self.owner, step, now, until);
            match advanced.await {
                Ok(replay) => {
                    self.lease_until = until;
                    return Ok(replay);
                }
                Err(StoreError::Unavailable(why) | StoreError::Damaged(why))
                    if now < self.lease_until =>
                {
                    tracing::warn!(replay = %replay.id, why, "a replay's progress cannot be recorded yet");
                    self.metrics.store_failures.inc();
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                // Published, not recorded, and the lease is over: the next owner repeats this one step.
                Err(StoreError::Unavailable(_) | StoreError::Damaged(_)) => {
                    return Err(Stalled::LeaseOver);
                }
                Err(error @ (StoreError::Refused(_) | StoreError::Unreadable(_))) => {
                    self.halt(replay, &error).await;
                    return Err(Stalled::LeaseOver);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The store will never take what we published: left running, the replay would publish it again with each lease.
    async fn halt(&self, replay: &Replay, why: &StoreError) {
        tracing::error!(
            replay = %replay.id, %why,
            "a replay is paused: the store refuses its progress; resumed, it repeats its last step"
        );
        self.metrics.replays_halted.inc();
        let because = reason(why);
        let mut backoff = Backoff::default();
        let store = self.ports.store.as_ref();
        while self.ports.clock.now() < self.lease_until {
            let (now, running) = (self.ports.clock.now(), [ReplayStatus::Running]);
            let (to, because) = (ReplayStatus::Paused, Some(because.as_str()));
            let paused = store.set_replay_status(replay.id, &running, to, because, now);
            match paused.await {
                Err(StoreError::Unavailable(_) | StoreError::Damaged(_)) => {
                    self.metrics.store_failures.inc();
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                Err(error) => {
                    tracing::warn!(replay = %replay.id, %error, "a replay could not be paused");
                    return;
                }
                Ok(_) => return,
            }
        }
    }
}

/// What an operator is told of a replay that we paused. The store is certain to take it.
fn reason(why: &StoreError) -> String {
    let why = why.to_string();
    let words = why.chars().filter(|c| !c.is_control()).take(MOST_WORDS);
    format!(
        "its progress cannot be recorded: {}",
        String::from_iter(words)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_of_a_replay_says_whether_it_ended_or_rests() {
        for (status, says) in [
            (ReplayStatus::Done, "is done"),
            (ReplayStatus::Paused, "rests"),
            (ReplayStatus::Cancelled, "was cancelled"),
        ] {
            assert!(why_let_go(status).contains(says), "{}", why_let_go(status));
        }
    }
}
