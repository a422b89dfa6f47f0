//! What goes around its lane: parked, or given up.

use std::sync::Arc;
use std::time::Duration;

use postrider_metrics::Label;
use postrider_model::{
    DeadLetter, DeathReason, Delivery, EndpointId, NewRecord, Partition, Position, Timestamp,
    TopicPartition,
};
use tokio::time::Instant;

use super::Dispatcher;
use crate::attempt::park;
use crate::finished::{Finished, Of};
use crate::lane::is_new;
use crate::metrics::{ByDeath, Prompt};
use crate::{Now, Offered, ParkReason, Sender, Waiting, traced};

impl<S: Sender> Dispatcher<S> {
    /// Writes what a lane did not take.
    pub(super) fn carry_out(&mut self, offered: Offered, now: Now) {
        match offered {
            Offered::Accepted => {}
            Offered::Park(waiting, until, reason) => {
                self.park(waiting, until, reason, now);
            }
            Offered::Overflow(waiting) => self.bury(waiting, DeathReason::ParkedOverflow, now),
        }
    }

    pub(super) fn park_for(
        &mut self,
        waiting: Waiting,
        wait: Duration,
        reason: ParkReason,
        now: Now,
    ) {
        self.park(waiting, now.wall.plus(wait), reason, now);
    }

    fn park(&mut self, waiting: Waiting, until: Timestamp, reason: ParkReason, now: Now) {
        self.metrics.parked.of(reason).inc();
        let why = ParkReason::VALUES[reason.index()];
        traced::put_aside(&self.ports.tracer, &waiting, now.instant, "parked", why);
        let delivery = &waiting.delivery;
        // While the store is down the lane was not asked.
        let unasked = reason == ParkReason::StoreDown && is_new(delivery);
        if reason.is_ours() && (waiting.prompt || unasked) {
            self.metrics.prompt.of(Prompt::PutOff).inc();
        }
        self.count_parked(
            (delivery.endpoint_id, waiting.at.partition),
            delivery.weight(),
            delivery.deadline,
            until,
            now,
        );
        let output = park(
            Arc::unwrap_or_clone(Arc::clone(&waiting.delivery)),
            now.wall,
            until,
        );
        self.finish(&waiting, Some(output), now.instant);
    }

    /// Every delivery that is parked is counted here, and nowhere else.
    pub(super) fn count_parked(
        &mut self,
        (id, partition): (EndpointId, Partition),
        bytes: usize,
        deadline: Timestamp,
        until: Timestamp,
        now: Now,
    ) {
        let entry = self.entry(id, partition, now);
        entry.lane.parked(bytes, deadline, until, now);
        self.changed.insert(id);
    }

    /// Every delivery that was parked and has come back is counted off here, and nowhere else, whatever becomes of it.
    pub(super) fn count_back(&mut self, at: TopicPartition, delivery: &Delivery, now: Now) {
        let id = delivery.endpoint_id;
        // Of an endpoint of which nothing is known, nothing is counted.
        if self.lanes.contains_key(&id) || self.restored.contains_key(&id) {
            let entry = self.entry(id, at.partition, now);
            entry.lane.came_back(delivery);
            self.changed.insert(id);
        }
    }

    pub(super) fn bury(&mut self, waiting: Waiting, reason: DeathReason, now: Now) {
        self.metrics.dead.of(ByDeath(reason)).inc();
        let (tracer, why) = (&self.ports.tracer, reason.label());
        traced::put_aside(tracer, &waiting, now.instant, "dead_letter", why);
        let dead = DeadLetter::of(
            Arc::unwrap_or_clone(Arc::clone(&waiting.delivery)),
            reason,
            now.wall,
        );
        self.finish(&waiting, Some(dead.to_record()), now.instant);
    }

    /// Finishes what no attempt was made of.
    pub(super) fn finish(&mut self, waiting: &Waiting, output: Option<NewRecord>, now: Instant) {
        let finished = Finished {
            of: Of::Record(waiting.at, waiting.position),
            weight: waiting.delivery.weight(),
            aside: true,
            outputs: output.into_iter().collect(),
        };
        self.finisher.push(finished, now);
    }

    /// Finishes a record that never was in hand.
    pub(super) fn pass_over(
        &mut self,
        at: TopicPartition,
        position: Position,
        output: Option<NewRecord>,
        now: Instant,
    ) {
        let finished = Finished {
            of: Of::Record(at, position),
            weight: 0,
            aside: false,
            outputs: output.into_iter().collect(),
        };
        self.finisher.push(finished, now);
    }
}
