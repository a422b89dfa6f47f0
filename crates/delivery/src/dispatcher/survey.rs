//! Which endpoints are worst, and what has waited longest: all lanes are looked at, now and then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use postrider_model::{BreakerState, EndpointId};

use super::Dispatcher;
use crate::metrics::BreakerAt;
use crate::{Now, Sender};

/// So many endpoints have series of their own, at most.
const WORST: usize = 10;
/// How often, at most.
const EVERY: Duration = Duration::from_secs(5);
/// A second more between two for each so many lanes, so that looking takes a thousandth of the time however many there are.
const LANES_A_SECOND: u64 = 5_000;

/// The largest of what it was shown.
#[derive(Default)]
struct Largest(BinaryHeap<Reverse<(u64, EndpointId)>>);

impl Largest {
    fn see(&mut self, size: u64, id: EndpointId) {
        let smallest = self.0.peek().map_or(0, |Reverse((size, _))| *size);
        if size == 0 || self.0.len() >= WORST && size <= smallest {
            return;
        }
        self.0.push(Reverse((size, id)));
        if self.0.len() > WORST {
            self.0.pop();
        }
    }

    /// What has been seen, each size divided by `unit`.
    fn named(self, unit: f64) -> Vec<(String, f64)> {
        let all = self.0.into_iter();
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^52")]
        all.map(|Reverse((size, id))| (id.to_string(), size as f64 / unit))
            .collect()
    }
}

impl<S: Sender> Dispatcher<S> {
    pub(super) fn survey(&mut self, now: Now) {
        if now.instant < self.survey_at {
            return;
        }
        let longer = Duration::from_secs(self.lanes.len() as u64 / LANES_A_SECOND);
        self.survey_at = now.instant + EVERY + longer;
        let (mut backlog, mut failing) = (Largest::default(), Largest::default());
        let [mut closed, mut open, mut half_open] = [0; 3];
        let mut oldest = now.instant;
        for (id, entry) in &mut self.lanes {
            backlog.see(entry.lane.backlog(), *id);
            if let Some(since) = entry.lane.failing_since() {
                let ms = now.wall.since(since).as_millis();
                failing.see(u64::try_from(ms).unwrap_or(u64::MAX), *id);
            }
            let first = entry.lane.first_held_up(now.instant);
            oldest = first.map_or(oldest, |one| one.read_at.min(oldest));
            *match entry.lane.breaker() {
                BreakerState::Closed => &mut closed,
                BreakerState::Open => &mut open,
                BreakerState::HalfOpen => &mut half_open,
            } += 1;
        }
        let metrics = &self.metrics;
        metrics.breakers.of(BreakerAt::Closed).set(closed);
        metrics.breakers.of(BreakerAt::Open).set(open);
        metrics.breakers.of(BreakerAt::HalfOpen).set(half_open);
        metrics.oldest_waiting.set_duration(now.instant - oldest);
        let lookups = self.ports.sender.lookups_waiting();
        metrics
            .lookups
            .set(i64::try_from(lookups).unwrap_or(i64::MAX));
        metrics.worst_backlog.show(&backlog.named(1.0));
        metrics.worst_failing.show(&failing.named(1000.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_however_many_are_seen() {
        let mut largest = Largest::default();
        let ids: Vec<_> = (0..100)
            .map(|n: u64| EndpointId::derive(&[&n.to_be_bytes()]))
            .collect();
        for (size, id) in (0..).zip(&ids) {
            largest.see(size, *id);
        }
        largest.see(0, ids[0]);
        let mut kept = largest.named(2.0);
        kept.sort_by(|one, other| other.1.total_cmp(&one.1));
        assert_eq!(kept.len(), WORST);
        assert_eq!(kept[0], (ids[99].to_string(), 49.5));
        assert_eq!(kept[9], (ids[90].to_string(), 45.0));
    }
}
