//! A record meets its lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_model::{
    DeadLetter, DeathReason, Delivery, Endpoint, EndpointId, EndpointState, NewRecord, Timestamp,
};
use tokio::time::Instant;

use super::{Dispatcher, Entry};
use crate::attempt::park;
use crate::finisher::Finished;
use crate::proven::Proven;
use crate::reader::{Arrived, Inbound};
use crate::{
    Endpoints, Freshness, Lane, LaneLimits, Now, Offered, Options, ParkReason, Sender, Terms,
    Waiting, metrics::ByDeath,
};

/// A lane that waited for a socket so lately is still short of them.
const SHORT_FOR: Duration = Duration::from_millis(250);
/// How long a delivery is put aside while the store does not say whether its endpoint is still there.
const WHILE_STORE_DOWN: Duration = Duration::from_secs(5);

impl<S: Sender> Dispatcher<S> {
    pub(super) fn take_in(&mut self, inbound: Inbound, now: Now) {
        match inbound {
            Inbound::Assigned(assignments, states) => {
                for assignment in &assignments {
                    self.partitions.assign(assignment, now.instant);
                }
                for (id, state) in states {
                    if !self.lanes.contains_key(&id) {
                        self.restored.insert(id, state);
                    }
                }
            }
            Inbound::Revoking(partitions) => {
                let until = now.instant + self.options.revoke_drain;
                self.partitions.revoke(&partitions, until);
                self.drop_not_ours();
                self.publish(now);
            }
            Inbound::Lost(partitions) => {
                self.partitions.lose(&partitions);
                self.finisher.forget(&partitions);
                self.drop_not_ours();
            }
            Inbound::Read(arrived) if !self.stopping => {
                arrived
                    .into_iter()
                    .for_each(|arrived| self.arrived(arrived, now));
            }
            // Not started, so not finished: the next owner reads them again.
            Inbound::Read(_) => {}
        }
    }

    fn arrived(&mut self, arrived: Arrived, now: Now) {
        if !self
            .partitions
            .start(arrived.at, arrived.position, now.instant)
        {
            self.metrics.skipped.inc();
            return;
        }
        match arrived.delivery {
            Ok(delivery) => {
                self.held += delivery.weight();
                if delivery.parked_since.is_some() {
                    self.count_back(&delivery, now);
                }
                let waiting = Waiting {
                    at: arrived.at,
                    position: arrived.position,
                    delivery,
                };
                self.admit(waiting, now);
            }
            Err(set_aside) => {
                let finished = Finished {
                    record: Some((arrived.at, arrived.position)),
                    weight: 0,
                    aside: false,
                    outputs: vec![set_aside],
                };
                self.finisher.push(finished, now.instant);
            }
        }
    }

    fn admit(&mut self, waiting: Waiting, now: Now) {
        if waiting.delivery.deadline <= now.wall {
            return self.bury(waiting, DeathReason::Expired, now);
        }
        let known = waiting.delivery.registry_version <= self.ports.endpoints.version();
        match self.enabled(waiting.delivery.endpoint_id).filter(|_| known) {
            Some(endpoint) => self.place(waiting, &endpoint, now),
            None => self.judging.push(waiting),
        }
    }

    /// Judges what waited for a refresh.
    pub(super) fn judge(&mut self, freshness: Freshness, waiting: Vec<Waiting>, now: Now) {
        if freshness == Freshness::Stale {
            self.metrics.stale_parks.inc();
        }
        for waiting in waiting {
            if !self.partitions.keeps(waiting.at) {
                self.held -= waiting.delivery.weight();
                continue;
            }
            match (freshness, self.enabled(waiting.delivery.endpoint_id)) {
                (Freshness::Fresh, Some(endpoint)) => self.place(waiting, &endpoint, now),
                (Freshness::Fresh, None) => self.bury(waiting, DeathReason::EndpointGone, now),
                (Freshness::Stale, _) => {
                    self.park_for(waiting, WHILE_STORE_DOWN, ParkReason::StoreDown, now)
                }
            }
        }
    }

    /// The endpoint, if it is known and enabled.
    pub(super) fn enabled(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        let endpoint = self.ports.endpoints.endpoint(id);
        endpoint.filter(|endpoint| endpoint.disabled.is_none())
    }

    /// Puts it into its lane, or where the lane says.
    fn place(&mut self, waiting: Waiting, endpoint: &Endpoint, now: Now) {
        let (id, at) = (waiting.delivery.endpoint_id, waiting.at);
        let owned_since = self.partitions.owned_since(at).unwrap_or(now.instant);
        let limits = &self.options.lane;
        let terms = terms(&*self.ports.endpoints, endpoint, limits);
        let entry = entry_of(
            &mut self.lanes,
            &mut self.restored,
            &self.proven,
            &self.options,
            id,
            now,
        );
        entry.lane.configure(terms, owned_since, now.instant);
        let offered = entry.lane.offer(waiting, limits, now);
        self.note(id);
        match offered {
            Offered::Accepted => {
                self.waiting += 1;
                self.wake(id);
            }
            other => self.carry_out(other, now),
        }
    }

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
        let delivery = &waiting.delivery;
        self.count_parked(
            delivery.endpoint_id,
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
        self.finish(&waiting, output, now.instant);
    }

    /// The lane of an endpoint; a first one, if it has none.
    fn entry(&mut self, id: EndpointId, now: Now) -> &mut Entry {
        let (lanes, restored) = (&mut self.lanes, &mut self.restored);
        entry_of(lanes, restored, &self.proven, &self.options, id, now)
    }

    /// Every delivery that is parked is counted here, and nowhere else.
    pub(super) fn count_parked(
        &mut self,
        id: EndpointId,
        bytes: usize,
        deadline: Timestamp,
        until: Timestamp,
        now: Now,
    ) {
        self.entry(id, now).lane.parked(bytes, deadline, until, now);
        self.changed.insert(id);
    }

    /// Every delivery that was parked and has come back is counted off here, and nowhere else, whatever becomes of it.
    fn count_back(&mut self, delivery: &Delivery, now: Now) {
        let id = delivery.endpoint_id;
        // Of an endpoint of which nothing is known, nothing is counted.
        if self.lanes.contains_key(&id) || self.restored.contains_key(&id) {
            self.entry(id, now).lane.came_back(delivery);
            self.changed.insert(id);
        }
    }

    pub(super) fn bury(&mut self, waiting: Waiting, reason: DeathReason, now: Now) {
        self.metrics.dead.of(ByDeath(reason)).inc();
        let dead = DeadLetter::of(
            Arc::unwrap_or_clone(Arc::clone(&waiting.delivery)),
            reason,
            now.wall,
        );
        self.finish(&waiting, dead.to_record(), now.instant);
    }

    fn finish(&mut self, waiting: &Waiting, output: NewRecord, now: Instant) {
        let finished = Finished {
            record: Some((waiting.at, waiting.position)),
            weight: waiting.delivery.weight(),
            aside: true,
            outputs: vec![output],
        };
        self.finisher.push(finished, now);
    }

    /// Drops what waits of partitions that are not ours to send any more. It is not finished: the next owner reads it.
    fn drop_not_ours(&mut self) {
        for entry in self.lanes.values_mut() {
            let (count, bytes) = (entry.lane.queued(), entry.lane.queued_bytes());
            entry.lane.retain(|at| self.partitions.keeps(at));
            self.waiting -= count - entry.lane.queued();
            self.held -= bytes - entry.lane.queued_bytes();
        }
        self.held -= self.judging.retain(|at| self.partitions.keeps(at));
    }
}

/// What the configuration asks of an endpoint's lane at present.
pub(super) fn terms(endpoints: &dyn Endpoints, endpoint: &Endpoint, limits: &LaneLimits) -> Terms {
    let most = endpoint.policy.max_in_flight;
    Terms {
        rate: endpoints.rate_limit(endpoint),
        max_in_flight: most.unwrap_or(limits.max_in_flight),
    }
}

fn entry_of<'a>(
    lanes: &'a mut HashMap<EndpointId, Entry>,
    restored: &mut HashMap<EndpointId, EndpointState>,
    proven: &Proven,
    options: &Options,
    id: EndpointId,
    now: Now,
) -> &'a mut Entry {
    lanes.entry(id).or_insert_with(|| {
        let state = restored.remove(&id);
        let mut entry = Entry::first(state, options.cautious_start, &options.lane, now);
        if proven.contains(id) {
            entry.lane.is_proven();
        }
        entry
    })
}

impl Entry {
    /// True if it waits for a socket, or did lately, though its endpoint answers: we hold it up, and not its endpoint.
    pub(super) fn is_short_of_sockets(&self, now: Instant) -> bool {
        let waited = self.short_of_sockets;
        waited.is_some_and(|at| self.blocked || now < at + SHORT_FOR)
    }

    /// A lane for an endpoint that has none, going on with what an earlier owner knew.
    fn first(state: Option<EndpointState>, cautious: bool, limits: &LaneLimits, now: Now) -> Self {
        let lane = match &state {
            Some(state) => Lane::restore(state, limits, now),
            None if cautious => Lane::cautious(limits),
            None => Lane::new(limits),
        };
        Self {
            lane,
            target: None,
            runnable: false,
            blocked: false,
            short_of_sockets: None,
            timer: None,
            published: state.is_some(),
            open: false,
            idle_since: None,
        }
    }
}
