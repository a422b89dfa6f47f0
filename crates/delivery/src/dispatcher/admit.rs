//! A record meets its lane.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{
    DeadLetter, DeathReason, Endpoint, EndpointId, EndpointState, NewRecord, Timestamp,
};
use tokio::time::Instant;

use super::{Dispatcher, Entry};
use crate::attempt::park;
use crate::finisher::Finished;
use crate::reader::{Arrived, Inbound};
use crate::{
    Endpoints, Freshness, Lane, LaneLimits, Now, Offered, ParkReason, Sender, Terms, Waiting,
    metrics::ByDeath,
};

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
        let restored = &mut self.restored;
        let cautious = self.options.cautious_start;
        let proven = &self.proven;
        let entry = self.lanes.entry(id).or_insert_with(|| {
            let mut entry = Entry::first(restored.remove(&id), cautious, limits, now);
            if proven.contains(id) {
                entry.lane.is_proven();
            }
            entry
        });
        let terms = terms(&*self.ports.endpoints, endpoint, limits);
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
                self.changed.insert(waiting.delivery.endpoint_id);
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
        let output = park(
            Arc::unwrap_or_clone(Arc::clone(&waiting.delivery)),
            now.wall,
            until,
        );
        self.finish(&waiting, output, now.instant);
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

impl Entry {
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
            timer: None,
            published: state.is_some(),
            open: false,
            idle_since: None,
        }
    }
}
