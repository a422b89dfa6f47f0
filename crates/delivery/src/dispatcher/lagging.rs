//! What keeps a partition's watermark back for long is parked. As long as the watermark stands, the log keeps everything
//! behind it, whoever's it is and however long finished, and the next owner reads all of it again before what is new. Where
//! a log bounds what goes with a position, the map of what is finished behind the watermark must fit, too: the next owner
//! sends again what it does not name.

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
/// Likewise where maps are near the longest that a commit takes: what was parked is in the next one.
const CROWDED_EVERY: Duration = Duration::from_millis(100);
/// After this process was stopped, what grew old meanwhile has so long to be started.
const AWAKE: Duration = Duration::from_secs(30);

/// Below which positions of a partition nothing is to wait. Where an attempt that is out for long holds the watermark back,
/// others' lanes are not emptied for it: that would not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Because it is old, or the map is long; unless only our own sockets hold it up, when all are old and none would come
    /// sooner.
    pub(crate) by_age: Position,
    /// Because it is far behind.
    pub(crate) by_span: Position,
}

impl<S: Sender> Dispatcher<S> {
    pub(super) fn move_watermarks(&mut self, now: Now) {
        if now.instant < self.lagging_at || now.instant < self.awake_since + AWAKE {
            return;
        }
        let lagging = self.partitions.lagging(now.instant, AGE, SPAN);
        if self.shed_behind(lagging, now) {
            self.lagging_at = now.instant + EVERY;
        }
    }

    /// Likewise where the map of what is finished is about to be cut, however short it is that something waits.
    pub(super) fn make_room_in_maps(&mut self, now: Now) {
        if now.instant >= self.crowded_at {
            let crowded = self.partitions.crowded();
            if self.shed_behind(crowded, now) {
                self.crowded_at = now.instant + CROWDED_EVERY;
            }
        }
    }

    /// Parks what waits below these bounds. False if there are none for what is ours.
    fn shed_behind(&mut self, mut behind: HashMap<TopicPartition, Bounds>, now: Now) -> bool {
        if behind.is_empty() || self.stopping || !self.finisher.is_writable() {
            return false;
        }
        // Without a lease another may have it by now.
        behind.retain(|at, _| self.ports.committer.holds(*at));
        for id in self.those_behind(&behind, now) {
            self.shed(id, ParkReason::Watermark, now);
            self.note(id);
        }
        !behind.is_empty()
    }

    /// The endpoints of which something waits below these bounds.
    fn those_behind(&self, behind: &HashMap<TopicPartition, Bounds>, now: Now) -> Vec<EndpointId> {
        let ours = self.sockets.are_the_bottleneck(now.instant);
        let is_behind = |entry: &Entry| {
            let held_up_by_us = ours && entry.is_short_of_sockets(now.instant);
            entry.lane.waiting().any(|waiting: &Waiting| {
                behind.get(&waiting.at).is_some_and(|bounds| {
                    waiting.position < bounds.by_span
                        || !held_up_by_us && waiting.position < bounds.by_age
                })
            })
        };
        let lanes = self.lanes.iter().filter(|(_, entry)| is_behind(entry));
        lanes.map(|(id, _)| *id).collect()
    }
}
