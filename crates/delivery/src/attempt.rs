//! One attempt, from the signature to the records that follow from it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_log::Committer;
use postrider_model::{
    Attempt, Clock, DeadLetter, DeathReason, Delivery, EndpointId, NewRecord, Outcome, Position,
    Schedule, Timestamp, TopicPartition, tier_for, topics,
};
use tokio::time::Instant;

use crate::classify::{self, Verdict};
use crate::metrics::Prompt;
use crate::repeats::Step;
use crate::traced::Traced;
use crate::{Answer, Failure, Now, Outgoing, Sender, Target, Waiting};

/// Within this time of its acceptance a delivery is to be made, if its endpoint can take it.
const IN_TIME: Duration = Duration::from_secs(30);
/// The wait after an attempt that a mistake of ours ended.
const AFTER_OUR_FAULT: Duration = Duration::from_secs(60);

/// An attempt that is to be made.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) waiting: Waiting,
    /// Of the ownership of its partition under which it was let through.
    pub(crate) epoch: u64,
    pub(crate) target: Arc<Target>,
    /// True for the breaker's probe.
    pub(crate) probe: bool,
    /// When it was let through: what the endpoint's limit counts, and so what is recorded as its start.
    pub(crate) began: Now,
    pub(crate) timeout: Duration,
    /// Its spans, if it is sampled.
    pub(crate) traced: Traced,
    /// The schedule of endpoints that set none.
    pub(crate) schedule: Schedule,
}

/// What became of a [`Begin`].
#[derive(Debug)]
pub(crate) enum End {
    /// The attempt was made.
    Made(Ended),
    /// It was not: the lease of its partition had ended.
    Withheld(Withheld),
}

/// An attempt that was let through and did not go.
#[derive(Debug)]
pub(crate) struct Withheld {
    pub(crate) waiting: Waiting,
    /// As in [`Begin`].
    pub(crate) epoch: u64,
    pub(crate) probe: bool,
    /// When it was let through.
    pub(crate) began: Instant,
}

/// An attempt that was made, and what is to be written for it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) at: TopicPartition,
    /// As in [`Begin`].
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) step: Step,
    /// Bytes of memory that it held.
    pub(crate) weight: usize,
    pub(crate) probe: bool,
    pub(crate) began: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
    /// From acceptance to the answer; none of a replay, which comes long after, by an operator's choice.
    pub(crate) latency: Option<Duration>,
    /// It was the first attempt.
    pub(crate) first: bool,
    /// Whether we were prompt, of a delivery of which that can be said.
    pub(crate) prompt: Option<Prompt>,
    pub(crate) died: Option<DeathReason>,
    /// Until when the delivery is parked, if it is made again without being counted.
    pub(crate) parked_until: Option<Timestamp>,
    pub(crate) deadline: Timestamp,
    pub(crate) outputs: Vec<NewRecord>,
}

impl Begin {
    /// True if the lease still lasts: between the turn that let this through and now, the process may have been stopped for
    /// as long as anything.
    pub(crate) fn may_go(&self, lease: &dyn Committer, clock: &dyn Clock) -> bool {
        // The time is taken before the lease is asked for, so that who reads the log can say that it lasted then.
        let asked_at = tracing::enabled!(tracing::Level::DEBUG).then(|| clock.now().as_millis());
        let Waiting {
            at,
            delivery,
            position,
            ..
        } = &self.waiting;
        let goes = lease.holds(*at);
        tracing::debug!(
            event = %delivery.event_id, endpoint = %delivery.endpoint_id, number = delivery.attempts_made + 1, %at, position,
            epoch = self.epoch, asked_at, goes, "an attempt"
        );
        goes
    }

    /// It does not go.
    pub(crate) fn withhold(self) -> Withheld {
        Withheld {
            waiting: self.waiting,
            epoch: self.epoch,
            probe: self.probe,
            began: self.began.instant,
        }
    }

    /// Makes the attempt.
    pub(crate) async fn run(self, sender: &impl Sender, clock: &dyn Clock) -> Ended {
        let started_at = self.began.wall;
        let result = sender
            .send(Outgoing {
                target: Arc::clone(&self.target),
                delivery: Arc::clone(&self.waiting.delivery),
                trace: self.traced.context(),
                at: started_at,
                timeout: self.timeout,
            })
            .await;
        self.conclude(result, started_at, clock.now())
    }

    /// What follows from `result`.
    fn conclude(
        self,
        result: Result<Answer, Failure>,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Ended {
        let policy = &self.target.endpoint.policy;
        let outcome = classify::outcome(&result, &policy.final_statuses);
        let delivery = &self.waiting.delivery;
        let made = delivery.attempts_made.saturating_add(1);
        let schedule = policy.schedule.as_ref().unwrap_or(&self.schedule);
        let asked = result.as_ref().ok().and_then(|answer| answer.retry_after);
        let verdict = classify::verdict(outcome, made, schedule, asked, rand::random());

        let latency = now.since(delivery.accepted_at);
        let prompt = self.waiting.prompt && !self.probe;
        let duration = self.began.instant.elapsed();
        let mut ended = Ended {
            at: self.waiting.at,
            epoch: self.epoch,
            position: self.waiting.position,
            endpoint_id: delivery.endpoint_id,
            step: Step::of(delivery),
            weight: delivery.weight(),
            probe: self.probe,
            began: self.began.instant,
            outcome,
            duration,
            latency: (delivery.generation == 0).then_some(latency),
            first: made == 1,
            prompt: prompt.then(|| promptness(outcome, latency)),
            died: None,
            parked_until: None,
            deadline: delivery.deadline,
            outputs: Vec::with_capacity(2),
        };
        let repeated = self.traced.to_repeat(Arc::clone(delivery));
        self.traced.end(&result, outcome, &verdict);
        let attempt = attempt(
            delivery,
            &self.target,
            made,
            outcome,
            result,
            started_at,
            duration,
        );
        conclude(&mut ended, attempt, repeated, verdict, now);
        ended
    }
}

impl Ended {
    /// An attempt that a mistake of ours ended: it counts for nothing, and is made again.
    pub(crate) fn by_our_fault(
        waiting: &Waiting,
        epoch: u64,
        probe: bool,
        began: Instant,
        now: Timestamp,
    ) -> Self {
        let delivery = &waiting.delivery;
        let at = now.plus(AFTER_OUR_FAULT);
        let again = park(Delivery::clone(delivery), now, at);
        Self {
            at: waiting.at,
            epoch,
            position: waiting.position,
            endpoint_id: delivery.endpoint_id,
            step: Step::of(delivery),
            weight: delivery.weight(),
            probe,
            began,
            outcome: Outcome::OwnFault,
            duration: began.elapsed(),
            latency: None,
            first: false,
            prompt: waiting.prompt.then_some(Prompt::PutOff),
            died: None,
            parked_until: Some(at),
            deadline: delivery.deadline,
            outputs: vec![again],
        }
    }
}

/// How prompt we were with a first attempt that ended so, `latency` after the event was accepted.
fn promptness(outcome: Outcome, latency: Duration) -> Prompt {
    match outcome {
        Outcome::Succeeded if latency <= IN_TIME => Prompt::InTime,
        Outcome::Succeeded => Prompt::Late,
        Outcome::OwnFault => Prompt::PutOff,
        Outcome::Final
        | Outcome::Gone
        | Outcome::Redirected
        | Outcome::Refused
        | Outcome::Throttled
        | Outcome::TimedOut
        | Outcome::Unreachable
        | Outcome::Forbidden => Prompt::Failed,
    }
}

/// Adds the records that follow from `verdict`.
fn conclude(
    ended: &mut Ended,
    attempt: Attempt,
    delivery: Arc<Delivery>,
    verdict: Verdict,
    now: Timestamp,
) {
    match verdict {
        Verdict::Done => ended.outputs.push(attempt.to_record()),
        Verdict::Retry(wait) => {
            let at = now.plus(wait);
            let attempt = Attempt {
                next_attempt_at: Some(at),
                ..attempt
            };
            ended.outputs.push(attempt.to_record());
            ended
                .outputs
                .push(retry(Arc::unwrap_or_clone(delivery), now, at));
        }
        Verdict::Dead(reason) => {
            ended.died = Some(reason);
            let attempt = Attempt {
                exhausted: true,
                ..attempt
            };
            ended.outputs.push(attempt.to_record());
            let dead = DeadLetter::of(
                made_one_more(Arc::unwrap_or_clone(delivery), now),
                reason,
                now,
            );
            let dead = dead.after(attempt.outcome, attempt.status_code, attempt.error);
            ended.outputs.push(dead.to_record());
        }
        // No record of the attempt: its number is used again by the one that counts.
        Verdict::Again(wait) => {
            let at = now.plus(wait);
            ended.parked_until = Some(at);
            ended
                .outputs
                .push(park(Arc::unwrap_or_clone(delivery), now, at));
        }
    }
}

/// The record that brings a failed delivery back at `at`.
fn retry(delivery: Delivery, now: Timestamp, at: Timestamp) -> NewRecord {
    let delivery = delivery.retry_at(now, at);
    let wait = delivery.wait(now);
    match tier_for(&topics::RETRY, wait, wait) {
        Some(tier) => delivery.to_record_in(tier.topic),
        None => delivery.to_record(),
    }
}

/// The record that brings a delivery back at `at` without an attempt.
pub(crate) fn park(delivery: Delivery, now: Timestamp, at: Timestamp) -> NewRecord {
    let delivery = delivery.parked_until(now, at);
    let wait = delivery.wait(now);
    let tier = tier_for(&topics::PARK, wait, wait).unwrap_or(&topics::PARK[0]);
    delivery.to_record_in(tier.topic)
}

/// The delivery with the attempt counted that was its last.
fn made_one_more(delivery: Delivery, now: Timestamp) -> Delivery {
    delivery.retry_at(now, now)
}

fn attempt(
    delivery: &Delivery,
    target: &Target,
    number: u32,
    outcome: Outcome,
    result: Result<Answer, Failure>,
    started_at: Timestamp,
    duration: Duration,
) -> Attempt {
    let (status_code, response_body, error) = match result {
        Ok(answer) => (Some(answer.status), answer.body, String::new()),
        Err(failure) => (None, Bytes::new(), failure.to_string()),
    };
    Attempt {
        id: delivery.attempt_id(number),
        delivery_id: delivery.id,
        generation: delivery.generation,
        number,
        event_id: delivery.event_id,
        app_id: delivery.app_id,
        endpoint_id: delivery.endpoint_id,
        event_type: delivery.event_type.clone(),
        endpoint_version: target.endpoint.version,
        url: target.endpoint.url.to_string(),
        started_at,
        duration,
        outcome,
        status_code,
        response_body,
        error,
        next_attempt_at: None,
        trigger: delivery.trigger,
        accepted_at: delivery.accepted_at,
        exhausted: false,
    }
}
