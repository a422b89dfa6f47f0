//! A lane, and what is kept beside it.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{EndpointId, EndpointState, Partition};
use tokio::time::Instant;

use super::Dispatcher;
use crate::{DeliveryMetrics, Lane, Now, Sender, Standing, Target};

/// A lane that waited for a socket so lately is still short of them.
const SHORT_FOR: Duration = Duration::from_millis(250);

/// A lane, and what the dispatcher keeps beside it.
pub(super) struct Entry {
    pub(super) lane: Lane,
    /// Since when there is this lane of its endpoint.
    pub(super) since: Instant,
    /// The number of the partition that its deliveries lie in.
    pub(super) partition: Partition,
    pub(super) target: Option<Arc<Target>>,
    /// It is in the queue of those to be asked.
    pub(super) runnable: bool,
    /// It is in the queue of those that wait for a socket, and how it stood when it went there.
    pub(super) blocked: Option<Standing>,
    /// When it last had to wait for a socket though its endpoint answers.
    pub(super) short_of_sockets: Option<Instant>,
    /// The next time at which it is to be asked.
    pub(super) timer: Option<Instant>,
    /// Its state is in the log.
    pub(super) published: bool,
    /// Counted among the open breakers.
    pub(super) open: bool,
    /// Since when it is in the list of idle lanes.
    pub(super) idle_since: Option<Instant>,
}

/// What the log has of an endpoint that has no lane yet.
pub(super) struct Inherited {
    /// As in [`Entry`].
    pub(super) partition: Partition,
    /// None if it is not valid.
    pub(super) state: Option<EndpointState>,
}

impl<S: Sender> Dispatcher<S> {
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
