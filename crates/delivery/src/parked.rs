//! How much of one endpoint lies parked in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::Timestamp;

/// Deadlines are kept in steps of this many milliseconds, so that their number is bounded by days, not by deliveries.
const STEP_MS: i64 = 600_000;
/// How long after its deadline a delivery that did not come back is counted as gone.
const GRACE: Duration = Duration::from_secs(300);
/// How long what an earlier owner counted, whose deadlines are not known, counts at most.
const INHERITED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Deliveries and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Amount {
    count: u64,
    bytes: u64,
}

/// What is parked and has not come back. The pump holds parked deliveries for as long as the breaker is open, and turns
/// into dead letters those whose deadline passes meanwhile, without a word to the lane: so each counts until a while
/// after its deadline, and no longer.
#[derive(Debug, Default)]
pub struct Parked {
    /// By the step in which the deadline lies.
    by_deadline: BTreeMap<i64, Amount>,
    /// What an earlier owner counted, and until when it counts.
    inherited: Option<(Amount, Timestamp)>,
    /// The sum of all.
    total: Amount,
}

fn step_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(STEP_MS)
}

fn end_of(step: i64) -> Timestamp {
    Timestamp::from_millis((step + 1).saturating_mul(STEP_MS))
}

impl Amount {
    /// Takes so much away.
    fn take(&mut self, amount: Amount) {
        self.count = self.count.saturating_sub(amount.count);
        self.bytes = self.bytes.saturating_sub(amount.bytes);
    }

    /// What one of `bytes` is of it: nothing of nothing, and of the last one all that is left.
    fn one_of(&self, bytes: usize) -> Amount {
        match self.count {
            0 | 1 => *self,
            _ => Amount {
                count: 1,
                bytes: self.bytes.min(bytes as u64),
            },
        }
    }
}

impl Parked {
    /// Goes on with what an earlier owner counted.
    pub fn inherit(count: u64, bytes: u64, now: Timestamp) -> Self {
        let amount = Amount { count, bytes };
        Self {
            inherited: (count > 0).then(|| (amount, now.plus(INHERITED_FOR))),
            total: amount,
            ..Self::default()
        }
    }

    /// A delivery of `bytes` that expires at `deadline` is parked.
    pub fn add(&mut self, bytes: usize, deadline: Timestamp) {
        let of_step = self.by_deadline.entry(step_of(deadline)).or_default();
        for amount in [of_step, &mut self.total] {
            amount.count += 1;
            amount.bytes += bytes as u64;
        }
    }

    /// It came back. One that is not known is taken for one that an earlier owner parked.
    pub fn came_back(&mut self, bytes: usize, deadline: Timestamp) {
        let step = step_of(deadline);
        let known = self.by_deadline.get_mut(&step);
        let inherited = self.inherited.as_mut().map(|(amount, _)| amount);
        let Some(amount) = known.or(inherited) else {
            return;
        };
        let one = amount.one_of(bytes);
        amount.take(one);
        if amount.count == 0 {
            self.by_deadline.remove(&step);
        }
        self.total.take(one);
    }

    /// Forgets what has expired; true if there was anything.
    pub fn forget_expired(&mut self, now: Timestamp) -> bool {
        let before = self.total;
        while let Some(first) = self.by_deadline.first_entry()
            && end_of(*first.key()).plus(GRACE) <= now
        {
            self.total.take(first.remove());
        }
        if let Some((amount, _)) = self.inherited.take_if(|(_, until)| *until <= now) {
            self.total.take(amount);
        }
        self.total != before
    }

    /// Deliveries.
    pub fn count(&self) -> u64 {
        self.total.count
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.total.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn start() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    #[test]
    fn what_expired_on_its_way_does_not_count_for_ever_though_others_come_and_go() {
        let (mut parked, mut now) = (Parked::default(), start());
        for _ in 0..10_000 {
            let deadline = now.plus(60 * S);
            parked.add(100, deadline);
            parked.add(100, deadline);
            parked.came_back(100, deadline);
            now = now.plus(10 * S);
            parked.forget_expired(now);
            assert!(parked.count() <= 102 && parked.bytes() == 100 * parked.count());
        }
        assert!(parked.forget_expired(now.plus(1_000 * S)));
        assert_eq!((parked.count(), parked.bytes()), (0, 0));
    }

    #[test]
    fn what_an_earlier_owner_counted_comes_back_or_is_forgotten_within_a_day() {
        let (mut parked, now) = (Parked::inherit(3, 300, start()), start());
        parked.came_back(100, now.plus(60 * S));
        assert_eq!((parked.count(), parked.bytes()), (2, 200));
        assert!(!parked.forget_expired(now.plus(3_600 * S)));
        assert!(parked.forget_expired(now.plus(24 * 3_600 * S)));
        assert_eq!((parked.count(), parked.bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn what_comes_back_in_time_leaves_nothing(
            deliveries in prop::collection::vec((1..1_000usize, 0..500_000u64), 0..200),
        ) {
            let mut parked = Parked::default();
            let deadline = |seconds: u64| start().plus(Duration::from_secs(seconds));
            for (bytes, seconds) in &deliveries {
                parked.add(*bytes, deadline(*seconds));
            }
            let bytes: usize = deliveries.iter().map(|(bytes, _)| bytes).sum();
            prop_assert_eq!((parked.count(), parked.bytes()), (deliveries.len() as u64, bytes as u64));
            for (bytes, seconds) in deliveries.iter().rev() {
                parked.came_back(*bytes, deadline(*seconds));
            }
            prop_assert_eq!((parked.count(), parked.bytes()), (0, 0));
        }
    }
}
