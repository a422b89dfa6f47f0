//! When a parked delivery comes back, and how much is parked.

use std::time::Duration;

use postrider_model::Schedule;
use tokio::time::Instant;

/// Parked deliveries of one endpoint come back at most this often where nothing else sets the pace (2,000 a second), so
/// that a million of them is not read and rewritten every few seconds.
pub(crate) const SPREAD: Duration = Duration::from_micros(500);
/// How long after the last reserved slot what did not come back is counted as gone (expired on its way).
const GRACE: Duration = Duration::from_secs(300);

/// What of one endpoint is parked, and the slots that are reserved for it.
#[derive(Debug, Default)]
pub struct Parking {
    /// The first time that is not reserved.
    next_slot: Option<Instant>,
    parked: u64,
    parked_bytes: u64,
    /// For which probe one delivery is on its way already.
    probe_at: Option<Instant>,
}

impl Parking {
    /// Goes on with what an earlier owner counted.
    pub fn restore(next_slot: Option<Instant>, parked: u64, parked_bytes: u64) -> Self {
        Self {
            next_slot,
            parked,
            parked_bytes,
            probe_at: None,
        }
    }

    /// A slot at or after `earliest`, behind all that were reserved, `interval` before the next.
    pub fn reserve(&mut self, now: Instant, earliest: Instant, interval: Duration) -> Instant {
        let slot = self.next_slot.map_or(earliest, |next| next.max(earliest));
        let slot = slot.min(now + Schedule::MAX_WAIT);
        self.next_slot = Some(slot + interval);
        slot
    }

    /// A slot behind a breaker that lets a probe through at `probe_at`: the first delivery is to be the probe and comes
    /// back just then, the others after it.
    pub fn reserve_behind_probe(&mut self, now: Instant, probe_at: Instant) -> Instant {
        if self.probe_at != Some(probe_at) {
            self.probe_at = Some(probe_at);
            return probe_at;
        }
        self.reserve(now, probe_at + Duration::from_secs(1), SPREAD)
    }

    /// The probe was answered well: what is parked may come in its slots, and newcomers need not stand behind it.
    pub fn probe_succeeded(&mut self) {
        self.next_slot = None;
    }

    /// True if slots are reserved beyond `horizon`.
    pub fn is_reserved_beyond(&self, horizon: Instant) -> bool {
        self.next_slot.is_some_and(|next| next > horizon)
    }

    /// A delivery of `bytes` is parked.
    pub fn parked(&mut self, bytes: usize) {
        self.parked += 1;
        self.parked_bytes += bytes as u64;
    }

    /// A delivery of `bytes` came back.
    pub fn came_back(&mut self, bytes: usize) {
        self.parked = self.parked.saturating_sub(1);
        self.parked_bytes = self.parked_bytes.saturating_sub(bytes as u64);
    }

    /// While the endpoint takes deliveries: forgets what should have come back long ago and did not, because it expired
    /// on its way.
    pub fn forget_overdue(&mut self, now: Instant) {
        if self.next_slot.is_none_or(|next| next + GRACE <= now) {
            *self = Self::default();
        }
    }

    /// The first time that is not reserved.
    pub fn next_slot(&self) -> Option<Instant> {
        self.next_slot
    }

    /// Deliveries parked and not yet back.
    pub fn count(&self) -> u64 {
        self.parked
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.parked_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_behind_an_open_breaker_comes_back_as_its_probe_and_the_others_after_it() {
        let (mut parking, now) = (Parking::default(), Instant::now());
        let probe_at = now + 10 * S;
        assert_eq!(parking.reserve_behind_probe(now, probe_at), probe_at);
        assert_eq!(parking.reserve_behind_probe(now, probe_at), probe_at + S);
        assert_eq!(
            parking.reserve_behind_probe(now, probe_at),
            probe_at + S + SPREAD
        );
        let next_probe = now + 60 * S;
        assert_eq!(parking.reserve_behind_probe(now, next_probe), next_probe);
    }

    #[test]
    fn a_million_parked_come_back_over_minutes() {
        let (mut parking, now) = (Parking::default(), Instant::now());
        let last = (0..1_000_000)
            .map(|_| parking.reserve_behind_probe(now, now + 2 * S))
            .last();
        assert!(last.unwrap() - now > 480 * S);
    }

    #[test]
    fn what_never_came_back_is_forgotten_in_the_end() {
        let (mut parking, now) = (Parking::default(), Instant::now());
        parking.parked(100);
        parking.reserve(now, now + S, S);
        parking.forget_overdue(now + 60 * S);
        assert_eq!(parking.count(), 1);
        parking.forget_overdue(now + 400 * S);
        assert_eq!((parking.count(), parking.bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn slots_are_never_two_within_an_interval_nor_before_the_earliest(
            waits in prop::collection::vec(0..5_000u64, 1..200), interval in 1..1_000u64,
        ) {
            let (mut parking, now) = (Parking::default(), Instant::now());
            let interval = Duration::from_millis(interval);
            let mut last: Option<Instant> = None;
            for wait in waits {
                let earliest = now + Duration::from_millis(wait);
                let slot = parking.reserve(now, earliest, interval);
                prop_assert!(slot >= earliest);
                prop_assert!(last.is_none_or(|last| slot >= last + interval));
                last = Some(slot);
            }
        }
    }
}
