//! A record meets its lane.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{DeathReason, Endpoint, EndpointId};

use super::Dispatcher;
use crate::reader::{Arrived, Inbound};
use crate::{Endpoints, Freshness, LaneLimits, Now, Offered, ParkReason, Sender, Terms, Waiting};

/// How long a delivery is put aside while the store does not say whether its endpoint is still there.
const WHILE_STORE_DOWN: Duration = Duration::from_secs(5);

impl<S: Sender> Dispatcher<S> {
    pub(super) fn take_in(&mut self, inbound: Inbound, now: Now) {
        match inbound {
            Inbound::Assigned(assignments) => {
                for assignment in &assignments {
                    self.partitions.assign(assignment, now.instant);
                }
            }
            Inbound::Restored(assigned, states) => self.restored(&assigned, states),
            Inbound::Revoking(partitions) => {
                let until = now.instant + self.options.revoke_drain;
                self.partitions.revoke(&partitions, until);
                self.drop_not_ours();
            }
            Inbound::Lost(partitions) => self.lose(&partitions),
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
        // What the reader passed over is finished for the tracker, too. If it were not, it would stay unfinished here, and be
        // read again by the next owner.
        let Some(delivery) = arrived.delivery else {
            return;
        };
        match delivery {
            Ok(delivery) if self.partitions.is_repeat(arrived.at, &delivery) => {
                self.metrics.repeats.inc();
                self.pass_over(arrived.at, arrived.position, None, now.instant);
            }
            Ok(delivery) => {
                self.held += delivery.weight();
                if delivery.parked_since.is_some() {
                    self.count_back(arrived.at, &delivery, now);
                }
                let waiting = Waiting {
                    at: arrived.at,
                    position: arrived.position,
                    delivery,
                    read_at: now.instant,
                    prompt: false,
                };
                self.admit(waiting, now);
            }
            Err(set_aside) => {
                self.pass_over(arrived.at, arrived.position, Some(set_aside), now.instant);
            }
        }
    }

    /// Takes what the log has no room for, and what is due, as if it had just been read.
    pub(super) fn take_again(&mut self, now: Now) {
        if self.stopping {
            return;
        }
        for recalled in self.finisher.recall(now.wall) {
            self.held = self.held - recalled.weight + recalled.delivery.weight();
            let delivery = Arc::new(recalled.delivery);
            if delivery.parked_since.is_some() {
                self.count_back(recalled.at, &delivery, now);
            }
            let waiting = Waiting {
                at: recalled.at,
                position: recalled.position,
                delivery,
                read_at: now.instant,
                prompt: false,
            };
            match self.partitions.keeps(recalled.at) {
                true => self.admit(waiting, now),
                false => self.held -= waiting.delivery.weight(),
            }
        }
    }

    fn admit(&mut self, waiting: Waiting, now: Now) {
        if waiting.delivery.deadline <= now.wall {
            return self.bury(waiting, DeathReason::Expired, now);
        }
        let version = waiting.delivery.registry_version;
        let endpoint = self.enabled(waiting.delivery.endpoint_id);
        match endpoint.filter(|endpoint| self.is_as_new(endpoint, version)) {
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

    /// Whether the endpoint is known here as it was at `version`, or as it became later.
    fn is_as_new(&self, endpoint: &Endpoint, version: u64) -> bool {
        // Of its application is asked only where that may say more.
        version <= endpoint.version || version <= self.ports.endpoints.version_of(endpoint)
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
        let terms = terms(&*self.ports.endpoints, endpoint, &self.options.lane);
        let entry = self.entry(id, at.partition, now);
        entry.lane.configure(terms, owned_since, now.instant);
        let Some(entry) = self.lanes.get_mut(&id) else {
            return;
        };
        let offered = entry.lane.offer(waiting, &self.options.lane, now);
        self.note(id);
        match offered {
            Offered::Accepted => {
                self.waiting += 1;
                self.wake(id);
            }
            other => self.carry_out(other, now),
        }
    }
}

/// What the configuration asks of an endpoint's lane at present.
pub(super) fn terms(endpoints: &dyn Endpoints, endpoint: &Endpoint, limits: &LaneLimits) -> Terms {
    let most = endpoint.policy.max_in_flight;
    Terms {
        rate: endpoints.rate_limit(endpoint),
        max_in_flight: most.unwrap_or(limits.max_in_flight),
        version: endpoint.version,
    }
}
