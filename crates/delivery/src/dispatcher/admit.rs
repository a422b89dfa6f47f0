//! A record meets its lane.

use std::sync::Arc;
use std::time::Duration;

use postrider_metrics::Label;
use postrider_model::{
    DeadLetter, DeathReason, Delivery, Endpoint, EndpointId, NewRecord, Partition, Position,
    Timestamp, TopicPartition,
};
use tokio::time::Instant;

use super::{Dispatcher, Entry};
use crate::attempt::park;
use crate::finished::{Finished, Of};
use crate::reader::{Arrived, Inbound};
use crate::{
    DeliveryMetrics, Endpoints, Freshness, Lane, LaneLimits, Now, Offered, ParkReason, Sender,
    Standing, Terms, Waiting,
    lane::is_new,
    metrics::{ByDeath, Prompt},
    traced,
};

/// A lane that waited for a socket so lately is still short of them.
const SHORT_FOR: Duration = Duration::from_millis(250);
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

    /// Finishes a record that never was in hand.
    fn pass_over(
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

    /// The lane of an endpoint whose deliveries lie in `partition`; a first one, if it has none.
    pub(super) fn entry(&mut self, id: EndpointId, partition: Partition, now: Now) -> &mut Entry {
        self.lanes.entry(id).or_insert_with(|| {
            let known = self.restored.remove(&id);
            let known = known.filter(|known| known.partition == partition);
            let (published, limits) = (known.is_some(), &self.options.lane);
            let is_proven = self.proven.contains(id);
            // Of what was handed over, an endpoint without a state is one of which there was nothing to say.
            let nothing_is_known = known.is_some()
                || self.options.cautious_start
                    && !is_proven
                    && self.partitions.inherited(partition).is_none();
            let mut lane = match known.and_then(|known| known.state) {
                Some(state) => Lane::restore(&state, limits, now),
                None if nothing_is_known => Lane::cautious(limits),
                None => Lane::new(limits),
            };
            if is_proven {
                lane.is_proven();
            }
            Entry::new(lane, now.instant, partition, published)
        })
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
    fn count_back(&mut self, at: TopicPartition, delivery: &Delivery, now: Now) {
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

impl Entry {
    /// Counts it among the open breakers, or not any more.
    pub(super) fn count_open(&mut self, metrics: &DeliveryMetrics) {
        let open = self.lane.is_open();
        if std::mem::replace(&mut self.open, open) != open {
            metrics.open_breakers.add(if open { 1 } else { -1 });
        }
    }

    /// It would take one more socket, if we had enough.
    pub(super) fn is_short_by_us(&mut self, standing: Standing, now: Instant) {
        self.short_of_sockets = standing.has_answered().then_some(now);
    }

    /// True if it waits for a socket, or did lately, though its endpoint answers: we hold it up, and not its endpoint.
    pub(super) fn is_short_of_sockets(&self, now: Instant) -> bool {
        let waited = self.short_of_sockets;
        waited.is_some_and(|at| self.blocked.is_some() || now < at + SHORT_FOR)
    }

    /// True if an attempt that began then went from this lane, and not from one of the same endpoint that is lost.
    pub(super) fn had_out(&self, began: Instant) -> bool {
        self.since <= began
    }

    fn new(lane: Lane, since: Instant, partition: Partition, published: bool) -> Self {
        Self {
            lane,
            since,
            partition,
            target: None,
            runnable: false,
            blocked: None,
            short_of_sockets: None,
            timer: None,
            published,
            open: false,
            idle_since: None,
        }
    }
}
