//! When a parked delivery comes back, and how much is parked.

use std::time::Duration;

use postrider_model::Schedule;
use tokio::time::Instant;

use crate::Now;
use crate::parked::Parked;

/// Parked deliveries of one endpoint come back at most this often where nothing else sets the pace (2,000 a second), so
/// that a million of them is not read and rewritten every few seconds.
pub(crate) const SPREAD: Duration = Duration::from_micros(500);
/// What an endpoint is too slow for comes back after this long at most, or after as long again as it has waited already, if
/// so much is parked. So the backlog of one that recovers is found soon, and that of one that does not is written anew a dozen
/// times, however long it waits. No slot at its pace is farther off.
const ROUND: Duration = Duration::from_secs(300);
/// So many of one endpoint's that are too many for a round of that length make it longer.
const A_SECOND: u32 = 500;
/// While the breaker is closed: how long after the last one was due what did not come back is counted as gone.
const GRACE: Duration = Duration::from_secs(300);

/// What of one endpoint is parked, and the slots that are reserved for it.
#[derive(Debug, Default)]
pub struct Parking {
    /// The first time that is not reserved.
    next_slot: Option<Instant>,
    /// What is parked and not yet back.
    pub(crate) parked: Parked,
    /// When the last of it is due.
    last_due: Option<Instant>,
    /// For which probe one delivery is on its way already.
    probe_at: Option<Instant>,
    /// By which interval slots were last reserved for what the endpoint is too slow for.
    interval: Option<Duration>,
    /// How many had no slot in the line.
    rounds: u32,
}

impl Parking {
    /// Goes on with what an earlier owner counted.
    pub fn restore(next_slot: Option<Instant>, parked: u64, parked_bytes: u64, now: Now) -> Self {
        Self {
            next_slot,
            parked: Parked::inherit(parked, parked_bytes, now.wall),
            last_due: next_slot.max(Some(now.instant)),
            ..Self::default()
        }
    }

    /// A slot at or after `earliest`, behind all that were reserved, `interval` before the next.
    pub fn reserve(&mut self, now: Instant, earliest: Instant, interval: Duration) -> Instant {
        let slot = self.next_slot.map_or(earliest, |next| next.max(earliest));
        let slot = slot.min(now + Schedule::MAX_WAIT);
        self.next_slot = Some(slot + interval);
        slot
    }

    /// A slot at or after `earliest` for what the endpoint, which takes one each `interval`, is too slow for and which has
    /// waited for `waited` already: behind the others, or, where that line is long, some time before its end, to be put
    /// off again if need be. Times like these are a guess: who is slow now may be quick in a minute.
    pub fn reserve_in_line(
        &mut self,
        now: Instant,
        earliest: Instant,
        interval: Duration,
        waited: Duration,
    ) -> Instant {
        let before = self.interval.replace(interval).unwrap_or(interval);
        if interval * 2 <= before {
            self.repaced(now, before, interval);
        } else if interval < before {
            self.interval = Some(before);
        }
        let line = self.next_slot.map_or(earliest, |next| next.max(earliest));
        if line <= now + ROUND {
            return self.reserve(now, earliest, interval);
        }
        let round = self.round(interval, waited);
        let (begins, golden) = (
            (round / 2).min(ROUND),
            self.rounds.wrapping_mul(0x9E37_79B9),
        );
        self.rounds = self.rounds.wrapping_add(1);
        // Spread evenly, however many there are and will be, from where the line may be at its end.
        now + begins + (round - begins).mul_f64(f64::from(golden) / f64::from(u32::MAX))
    }

    /// Within which time what has no slot in the line comes back: no later than all that is parked could be delivered.
    fn round(&self, interval: Duration, waited: Duration) -> Duration {
        let parked = u32::try_from(self.parked.count()).unwrap_or(u32::MAX);
        let crowd = Duration::from_secs((parked / A_SECOND).into());
        let waited = waited.min(interval.saturating_mul(parked));
        waited.max(crowd).max(ROUND).min(Schedule::MAX_WAIT)
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

    /// The endpoint bears one each `interval` instead of one each `before`: where that is sooner, newcomers stand behind as
    /// many as before and no longer behind their times, which were reckoned by the old pace.
    pub fn repaced(&mut self, now: Instant, before: Duration, interval: Duration) {
        if interval < before {
            let sooner = interval.as_secs_f64() / before.as_secs_f64();
            let next = self
                .next_slot
                .map(|next| next.saturating_duration_since(now));
            self.next_slot = next.map(|wait| now + wait.mul_f64(sooner));
        }
    }

    /// The endpoint has no limit any more: newcomers stand behind nobody.
    pub fn unpaced(&mut self) {
        self.next_slot = None;
    }

    /// The probe was answered well: what is parked may come in its slots, and newcomers need not stand behind it.
    pub fn probe_succeeded(&mut self) {
        self.next_slot = None;
    }

    /// True if slots are reserved beyond `horizon`.
    pub fn is_reserved_beyond(&self, horizon: Instant) -> bool {
        self.next_slot.is_some_and(|next| next > horizon)
    }

    /// Something was parked that is due at `due`.
    pub fn is_due(&mut self, due: Instant) {
        self.last_due = self.last_due.max(Some(due));
    }

    /// Forgets what will not come back: what has expired, and, while the breaker is closed and so nothing is held back,
    /// what should have come long ago. True if there was anything.
    pub fn forget(&mut self, is_closed: bool, now: Now) -> bool {
        let last = self.last_due.max(self.next_slot);
        if is_closed && last.is_none_or(|last| last + GRACE <= now.instant) {
            return std::mem::take(self).parked.count() > 0;
        }
        self.parked.forget_expired(now.wall)
    }

    /// The first time that is not reserved.
    pub fn next_slot(&self) -> Option<Instant> {
        self.next_slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::Timestamp;
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
    fn a_quicker_pace_brings_the_next_slot_nearer_by_as_much_and_a_slower_one_leaves_it() {
        let (mut parking, now) = (Parking::default(), Instant::now());
        (0..1_000).for_each(|_| {
            parking.reserve(now, now, S);
        });
        parking.repaced(now, S, S / 100);
        assert_eq!(parking.next_slot(), Some(now + 10 * S));
        parking.repaced(now, S / 100, S);
        assert_eq!(parking.next_slot(), Some(now + 10 * S));
        parking.repaced(now + 60 * S, S, S / 100);
        assert_eq!(
            parking.next_slot(),
            Some(now + 60 * S),
            "what is past stays past"
        );
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
    fn what_never_came_back_though_nothing_held_it_is_forgotten_soon() {
        let mut parking = Parking::default();
        let now = Now {
            instant: Instant::now(),
            wall: Timestamp::from_millis(1_700_000_000_000),
        };
        parking.parked.add(100, now.wall.plus(3_600 * S));
        parking.is_due(now.instant + S);
        assert!(!parking.forget(true, now.plus(60 * S)));
        assert!(!parking.forget(false, now.plus(400 * S)));
        assert!(parking.forget(true, now.plus(400 * S)));
        assert_eq!(parking.parked.count(), 0);
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
