//! What is due every second, and what is due when memory is short.

use std::time::Duration;

use postrider_model::{
    BreakerState, EndpointId, EndpointState, NewRecord, Partition, TopicPartition,
};

use super::admit::terms;
use super::{Dispatcher, Entry};
use crate::finished::{Finished, Of};
use crate::{Now, Owner, ParkReason, Sender};

/// How long reading waits, at most, for lanes that only our own sockets hold up. What goes on for longer is no burst, and
/// others are behind it.
const BURST: Duration = Duration::from_secs(10);
/// Room for so many lanes is not given back.
const FEW_LANES: usize = 4_096;
/// How often memory is looked after, at most: the longest lanes are found by looking at all.
const RELIEF_EVERY: Duration = Duration::from_millis(50);

impl<S: Sender> Dispatcher<S> {
    pub(super) fn tick(&mut self, now: Now) {
        self.forget_idle(now);
        self.try_changed(now);
        self.publish(now);
        self.report(now);
        self.survey(now);
    }

    /// Endpoints that were changed while their breakers are open are tried again, and the pump hears of it.
    fn try_changed(&mut self, now: Now) {
        let version = self.ports.endpoints.version();
        if std::mem::replace(&mut self.looked_at, version) == version {
            return;
        }
        let open = self.lanes.iter().filter(|(_, entry)| entry.open);
        let open = open.map(|(id, entry)| (*id, entry.partition));
        let inherited = self.restored.iter().filter(|(id, known)| {
            let open = known.state.as_ref();
            let open = open.filter(|state| state.breaker != BreakerState::Closed);
            let endpoint = self.ports.endpoints.endpoint(**id);
            open.zip(endpoint)
                .is_some_and(|(state, endpoint)| state.endpoint_version < endpoint.version)
        });
        let inherited = inherited.map(|(id, known)| (*id, known.partition));
        let all: Vec<_> = open.chain(inherited).collect();
        for (id, partition) in all {
            let Some(endpoint) = self.enabled(id) else {
                continue;
            };
            let terms = terms(&*self.ports.endpoints, &endpoint, &self.options.lane);
            let entry = self.entry(id, partition, now);
            if entry.lane.configure(terms, now.instant, now.instant) {
                self.note(id);
                self.wake(id);
            }
        }
    }

    /// Writes the states that have changed, behind what is being finished. While its partition's lease does not last, the
    /// state of an endpoint is another's to publish.
    pub(super) fn publish(&mut self, now: Now) {
        let epoch = self.partitions.epoch();
        let publishable = self.partitions.publishable(&*self.ports.committer);
        for id in std::mem::take(&mut self.changed) {
            let Some(entry) = self.lanes.get_mut(&id) else {
                continue;
            };
            let partition = entry.partition;
            if !publishable.contains(&partition) {
                self.changed.insert(id);
                continue;
            }
            // What is only counted in it goes without an attempt, after which it would be noted as idle.
            if entry.idle_since.is_none() && entry.lane.is_idle() {
                entry.idle_since = Some(now.instant);
                self.idle.push_back((now.instant, id));
            }
            let owner = Owner {
                epoch,
                partition,
                nonce: 0,
            };
            let state = entry.lane.state(id, owner, now);
            let output = match &state {
                Some(state) => state.to_record(),
                None if entry.published => EndpointState::forget(id),
                None => continue,
            };
            entry.published = state.is_some();
            self.push_state(partition, output, now);
        }
    }

    /// Writes what is known of an endpoint whose deliveries lie in `partition`.
    pub(super) fn push_state(&mut self, partition: Partition, output: NewRecord, now: Now) {
        let finished = Finished {
            of: Of::State(partition),
            weight: 0,
            aside: false,
            outputs: vec![output],
        };
        self.finisher.push(finished, now.instant);
    }

    /// Forgets lanes that have been idle and know nothing, and what is known of endpoints that are gone: their state would
    /// keep their backlog waiting, which is to become dead letters.
    fn forget_idle(&mut self, now: Now) {
        let keep = self.options.keep_idle;
        while let Some((since, id)) = self.idle.front().copied()
            && since + keep <= now.instant
        {
            self.idle.pop_front();
            let gone = self.enabled(id).is_none();
            let Some(entry) = self.lanes.get_mut(&id) else {
                continue;
            };
            if entry.idle_since != Some(since) {
                continue;
            }
            if gone {
                entry.lane.endpoint_is_gone();
                entry.count_open(&self.metrics);
            }
            let forgot = entry.lane.forget_parked(now);
            if entry.lane.is_forgettable(now.instant) && !entry.published && !entry.runnable {
                if entry.lane.standing(now.instant).has_answered() {
                    self.proven.insert(id, entry.partition);
                }
                self.lanes.remove(&id);
                continue;
            }
            if entry.published && (forgot || !entry.lane.is_worth_publishing()) {
                self.changed.insert(id);
            }
            entry.idle_since = Some(now.instant);
            self.idle.push_back((now.instant, id));
        }
        // Lanes of a crowd that has gone: half a kilobyte each.
        if self.lanes.capacity() > FEW_LANES && self.lanes.len() < self.lanes.capacity() / 4 {
            self.lanes.shrink_to(self.lanes.len() * 2);
        }
    }

    /// Parks the longest lanes while memory or the budget of unfinished records is short. What is in flight is not
    /// parked; if only that is left, reading waits. What is to be written already comes free by that: while the log takes its
    /// time, nothing more is parked for the same bytes.
    pub(super) fn relieve(&mut self, now: Now) {
        let rested = self
            .shed_at
            .is_none_or(|at| at + RELIEF_EVERY <= now.instant);
        if rested && !self.stopping && self.finisher.is_writable() {
            let memory = self.options.memory / 4 * 3;
            if self.held < memory / 2 {
                self.burst_since = None;
            }
            let to_come = self.finisher.weight();
            let bytes = self.held.saturating_sub(to_come + memory);
            let records = self.beyond_budget(now);
            // Some more than needed, so that it does not come to this with every record.
            if bytes > 0 {
                self.shed_longest(bytes + memory / 8, ParkReason::Memory, now);
            }
            if records > 0 {
                self.shed_longest(
                    records + self.options.unfinished / 8,
                    ParkReason::Budget,
                    now,
                );
            }
        }
        self.pause_reading();
    }

    /// How many unfinished records of one partition are too many, without those that are to be written. Those are counted one
    /// by one, so not with every turn.
    fn beyond_budget(&mut self, now: Now) -> usize {
        let budget = self.options.unfinished;
        if self.partitions.most_unfinished() <= budget {
            return 0;
        }
        self.shed_at = Some(now.instant);
        let to_finish = self.finisher.to_finish();
        let beyond = |at: TopicPartition| {
            let to_finish = to_finish.get(&at).copied().unwrap_or(0);
            let unfinished = self.partitions.unfinished(at);
            unfinished.saturating_sub(to_finish + budget)
        };
        self.partitions.all().map(beyond).max().unwrap_or(0)
    }

    /// Parks the longest lanes until so many bytes, or deliveries, are parked.
    fn shed_longest(&mut self, mut excess: usize, reason: ParkReason, now: Now) {
        self.shed_at = Some(now.instant);
        let size = |entry: &Entry| match reason {
            ParkReason::Memory => entry.lane.queued_bytes(),
            _ => entry.lane.queued(),
        };
        // Where we are too slow, and not the endpoints, what is parked only comes back to wait again: reading waits.
        let ours = self.sockets.are_the_bottleneck(now.instant)
            && now.instant < *self.burst_since.get_or_insert(now.instant) + BURST;
        let held_up_by_us = |entry: &Entry| ours && entry.is_short_of_sockets(now.instant);
        let mut longest: Vec<(usize, EndpointId)> = self
            .lanes
            .iter()
            .filter(|(_, entry)| !held_up_by_us(entry))
            .map(|(id, entry)| (size(entry), *id))
            .collect();
        longest.sort_unstable_by(|a, b| b.cmp(a));
        for (size, id) in longest {
            if excess == 0 || size == 0 {
                return;
            }
            self.shed(id, reason, now);
            excess = excess.saturating_sub(size);
        }
    }

    /// Tells the reader what not to read at present: everything while memory or the log is short, a partition while its
    /// unfinished records are beyond what parking can help.
    fn pause_reading(&mut self) {
        let paused_before = !self.ports.pause.borrow().is_empty();
        // With a distance between on and off, so that it does not flutter.
        let most = if paused_before {
            self.options.memory / 8 * 7
        } else {
            self.options.memory
        };
        let all = self.stopping || self.held > most || !self.finisher.is_writable();
        let beyond = self.options.unfinished + self.options.unfinished / 4;
        let paused: Vec<TopicPartition> = self
            .partitions
            .all()
            .filter(|at| all || self.partitions.unfinished(*at) > beyond)
            .collect();
        self.ports.pause.send_if_modified(|current| {
            let changed =
                current.len() != paused.len() || !paused.iter().all(|at| current.contains(at));
            if changed {
                *current = paused;
            }
            changed
        });
    }

    fn report(&self, now: Now) {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        metrics.in_flight.set(self.sockets.in_flight().into());
        metrics.lanes.set(whole(self.lanes.len()));
        metrics.waiting.set(whole(self.waiting));
        metrics.held.set(whole(self.held));
        metrics
            .unfinished
            .set(whole(self.partitions.most_unfinished()));
        if self.waiting == 0 {
            metrics.oldest_waiting.set_duration(Duration::ZERO);
        }
        metrics
            .oldest_unfinished
            .set_duration(self.partitions.oldest(now.instant));
        metrics.paused.set(whole(self.ports.pause.borrow().len()));
    }
}
