//! An attempt ends.

use postrider_metrics::Histogram;
use postrider_model::{EndpointId, Outcome};
use tokio::time::Instant;

use super::Dispatcher;
use crate::attempt::{End, Ended};
use crate::finished::{Finished, Of};
use crate::metrics::{ByDeath, ByOutcome};
use crate::{Now, ParkReason, Sender, Standing, Waiting};

impl<S: Sender> Dispatcher<S> {
    pub(super) fn settle(&mut self, ends: &mut Vec<(End, Standing)>, now: Now) {
        for (end, taken_as) in ends.drain(..) {
            self.sockets.give_back(taken_as);
            let ended = match end {
                End::Made(ended) => ended,
                End::Withheld(withheld) => {
                    self.take_back(withheld, now);
                    continue;
                }
            };
            if taken_as.has_answered() {
                self.sockets.answered(now.instant);
            }
            self.settle_one(ended, now);
        }
    }

    fn settle_one(&mut self, ended: Ended, now: Now) {
        self.count(&ended);
        let is_ours = self.partitions.attempt_ended(ended.at, ended.epoch);
        if is_ours && ended.parked_until.is_none() {
            self.partitions.attempted(ended.at, ended.step);
        }
        self.tell_lane(&ended, now);
        if !is_ours {
            // The next owner makes the attempt again: what followed from this one would fork the delivery.
            self.held -= ended.weight;
            return;
        }
        let id = ended.endpoint_id;
        if let Some(until) = ended.parked_until {
            let lane = (id, ended.at.partition);
            self.count_parked(lane, ended.weight, ended.deadline, until, now);
        }
        let finished = Finished {
            of: Of::Record(ended.at, ended.position),
            weight: ended.weight,
            aside: false,
            outputs: ended.outputs,
        };
        self.finisher.push(finished, now.instant);
    }

    /// The lane learns of the endpoint whether or not the attempt's partition is still ours: it stays while another one is
    /// that its endpoint's deliveries lie in.
    fn tell_lane(&mut self, ended: &Ended, now: Now) {
        let id = ended.endpoint_id;
        let entry = self.lanes.get_mut(&id);
        let Some(entry) = entry.filter(|entry| entry.had_out(ended.began)) else {
            return;
        };
        let draw = rand::random();
        let policy = &self.options.lane.breaker;
        let lane = &mut entry.lane;
        if self.awake_since <= ended.began {
            lane.took(ended.outcome, ended.began, now.instant);
        }
        if lane.ended(ended.outcome, ended.probe, ended.began, policy, now, draw) {
            self.shed(id, ParkReason::BreakerOpen, now);
        } else if lane.is_too_long(&self.options.lane) {
            let behind = lane.take_what_is_too_long(&self.options.lane);
            self.put_aside(id, behind, ParkReason::Slow, now);
        }
        self.note(id);
        self.wake(id);
    }

    fn count(&self, ended: &Ended) {
        let outcome = ByOutcome(ended.outcome);
        self.metrics.attempts.of(outcome).inc();
        self.metrics
            .attempt
            .of(outcome)
            .observe_duration(ended.duration);
        // What is made again without being counted was no attempt of the schedule's.
        if let Some(latency) = ended.latency.filter(|_| ended.parked_until.is_none()) {
            let (first, succeeded) = (ended.first, ended.outcome.is_success());
            let observe = |wanted: bool, histogram: &Histogram| {
                if wanted {
                    histogram.observe_duration(latency);
                }
            };
            observe(first, &self.metrics.first_attempt);
            observe(succeeded, &self.metrics.success);
            observe(first && succeeded, &self.metrics.latency);
        }
        if let Some(prompt) = ended.prompt {
            self.metrics.prompt.of(prompt).inc();
        }
        if let Some(reason) = ended.died {
            self.metrics.dead.of(ByDeath(reason)).inc();
        }
        if ended.outcome == Outcome::OwnFault {
            tracing::warn!(endpoint = %ended.endpoint_id, "an attempt failed by our own fault and is made again");
        }
    }

    /// Parks everything that waits in a lane.
    pub(super) fn shed(&mut self, id: EndpointId, reason: ParkReason, now: Now) {
        let Some(entry) = self.lanes.get_mut(&id) else {
            return;
        };
        let all = entry.lane.take_all();
        self.put_aside(id, all, reason, now);
    }

    /// Parks what was taken out of a lane.
    fn put_aside(&mut self, id: EndpointId, all: Vec<Waiting>, reason: ParkReason, now: Now) {
        self.waiting -= all.len();
        for waiting in all {
            let Some(entry) = self.lanes.get_mut(&id) else {
                return;
            };
            let offered = entry
                .lane
                .put_aside(waiting, reason, &self.options.lane, now);
            self.carry_out(offered, now);
        }
    }

    /// After a change of a lane: its state is published with the next tick, if there is anything to say of it.
    pub(super) fn note(&mut self, id: EndpointId) {
        let Some(entry) = self.lanes.get_mut(&id) else {
            return;
        };
        entry.idle_since = None;
        entry.count_open(&self.metrics);
        if entry.published || entry.lane.is_worth_publishing() {
            self.changed.insert(id);
        }
    }

    /// A lane has nothing to do: it is looked at again when it has been idle for long enough to be forgotten.
    pub(super) fn note_idle(&mut self, id: EndpointId, now: Instant) {
        if let Some(entry) = self.lanes.get_mut(&id)
            && entry.idle_since.is_none()
            && entry.lane.is_idle()
        {
            entry.idle_since = Some(now);
            self.idle.push_back((now, id));
        }
    }
}
