//! What keeps a partition's watermark back for long is parked. As long as the watermark stands, the log keeps everything
//! behind it, whoever's it is and however long finished, and the next owner reads all of it again before what is new.

use std::collections::HashMap;
use std::time::Duration;

use postrider_model::{EndpointId, Position, TopicPartition};

use super::{Dispatcher, Entry};
use crate::{Now, ParkReason, Sender, Waiting};

/// What has been in memory for longer, is near the watermark and was not started is parked with all that waits in its lane.
const AGE: Duration = Duration::from_secs(60);
/// Likewise where the watermark is so many positions behind what was read last.
const SPAN: u64 = 100_000;
/// How often lanes are looked through, at most: what is left of those that lag may be in flight alone.
const EVERY: Duration = Duration::from_secs(5);
/// After this process was stopped, what grew old meanwhile has so long to be started.
const AWAKE: Duration = Duration::from_secs(30);

/// Below which positions of a partition nothing is to wait. Where an attempt that is out for long holds the watermark back,
/// others' lanes are not emptied for it: that would not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Because it is old; unless only our own sockets hold it up, when all are old and none would come sooner.
    pub(crate) by_age: Position,
    /// Because it is far behind.
    pub(crate) by_span: Position,
}

impl<S: Sender> Dispatcher<S> {
    pub(super) fn move_watermarks(&mut self, now: Now) {
        let rests = now.instant < self.lagging_at || now.instant < self.awake_since + AWAKE;
        if rests || self.stopping || !self.finisher.is_writable() {
            return;
        }
        let mut lagging = self.partitions.lagging(now.instant, AGE, SPAN);
        // Without a lease another may have it by now.
        lagging.retain(|at, _| self.ports.committer.holds(*at));
        if lagging.is_empty() {
            return;
        }
        self.lagging_at = now.instant + EVERY;
        for id in self.those_behind(&lagging, now) {
            self.shed(id, ParkReason::Watermark, now);
            self.note(id);
        }
    }

    /// The endpoints of which something waits below these bounds.
    fn those_behind(&self, lagging: &HashMap<TopicPartition, Bounds>, now: Now) -> Vec<EndpointId> {
        let ours = self.sockets.are_the_bottleneck(now.instant);
        let is_behind = |entry: &Entry| {
            let held_up_by_us = ours && entry.is_short_of_sockets(now.instant);
            entry.lane.waiting().any(|waiting: &Waiting| {
                lagging.get(&waiting.at).is_some_and(|bounds| {
                    waiting.position < bounds.by_span
                        || !held_up_by_us && waiting.position < bounds.by_age
                })
            })
        };
        let behind = self.lanes.iter().filter(|(_, entry)| is_behind(entry));
        behind.map(|(id, _)| *id).collect()
    }
}
