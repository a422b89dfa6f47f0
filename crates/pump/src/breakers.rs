//! Which endpoints' breakers are open, and when one of their deliveries may pass.

use std::collections::HashMap;
use std::time::Duration;

use postrider_model::topics::Tier;
use postrider_model::{BreakerState, EndpointId, EndpointState, Timestamp, tier_for};

/// A probe's time that is told again is sooner only by more than this: its owner works it out anew for each state that it
/// publishes, from two clocks that are rounded and of which one is set now and then.
const TOLD_ALIKE: Duration = Duration::from_secs(1);

/// What becomes of a parked delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The breaker is closed, or the delivery's own time is later than all that it asks for: go by `not_before` alone.
    ByTime,
    /// The breaker is open, but this one may go on to probe.
    LetThrough,
    /// The breaker is open: wait in this tier.
    Wait(&'static Tier),
}

/// One open endpoint.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// The probe's time that its owner told last.
    told: Option<Timestamp>,
    /// When that was, by the owner's clock.
    told_at: Timestamp,
    /// How far off the probe was by that, or the interval where that is longer: none waits longer to be let through, by no
    /// clock.
    longest_wait: Duration,
    /// From when on the next one is let through.
    let_through_at: Timestamp,
    /// When the delivery comes back that was sent ahead of the others so that one is there at `let_through_at`.
    scout_back_at: Timestamp,
    /// Until when returns are spoken for, one each 1/rate seconds: thereby the many stay long in one tier.
    returns_until_micros: i64,
}

/// The open endpoints; closed ones take no place.
#[derive(Debug)]
pub(crate) struct Breakers {
    tiers: &'static [Tier],
    interval: Duration,
    /// Between two returns of deliveries of one endpoint, in microseconds.
    spacing_micros: i64,
    open: HashMap<EndpointId, Open>,
    /// The wall clock when it was last looked at.
    seen: Timestamp,
}

impl Breakers {
    /// All closed.
    pub(crate) fn new(
        tiers: &'static [Tier],
        interval: Duration,
        rewrites_per_second: u32,
    ) -> Self {
        Self {
            tiers,
            interval,
            spacing_micros: (1_000_000 / i64::from(rewrites_per_second.max(1))).max(1),
            open: HashMap::new(),
            seen: Timestamp::default(),
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The owner says how its endpoint is.
    pub(crate) fn heard(&mut self, state: &EndpointState) {
        if state.breaker == BreakerState::Closed {
            self.open.remove(&state.endpoint_id);
            return;
        }
        // Without a time for the probe one is out already: the next is due an interval later.
        let probe_at = state
            .probe_at
            .unwrap_or_else(|| state.updated_at.plus(self.interval));
        let open = self.open.entry(state.endpoint_id).or_insert(Open {
            told: None,
            told_at: state.updated_at,
            longest_wait: self.interval,
            let_through_at: probe_at,
            scout_back_at: Timestamp::default(),
            returns_until_micros: 0,
        });
        // Waits only begin later, but for an endpoint of which somebody says that it was repaired. An owner whose clock was
        // set back tells all of its times sooner, and says nothing by it.
        let is_set_back = state.updated_at < open.told_at;
        let sooner = open
            .told
            .is_some_and(|told| told.since(probe_at) > TOLD_ALIKE && !is_set_back);
        open.told = state.probe_at.or(open.told);
        open.told_at = state.updated_at;
        open.longest_wait = probe_at.since(state.updated_at).max(self.interval);
        if sooner {
            (open.let_through_at, open.scout_back_at) = (probe_at, Timestamp::default());
        }
        // The same state may be heard again: what was let through since counts.
        open.let_through_at = open.let_through_at.max(probe_at);
    }

    /// Nothing is known of the endpoint any more.
    pub(crate) fn forget(&mut self, endpoint: EndpointId) {
        self.open.remove(&endpoint);
    }

    /// When the wall clock is set back, what was reckoned by it is as far off as before.
    fn look(&mut self, now: Timestamp) {
        let by = self.seen.since(now);
        self.seen = now;
        if by.is_zero() {
            return;
        }
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        for open in self.open.values_mut() {
            open.scout_back_at = open.scout_back_at.minus(by);
            open.returns_until_micros = open.returns_until_micros.saturating_sub(micros);
        }
    }

    /// What becomes of one parked delivery of `endpoint`, due at `not_before`, that has come to the head of its tier.
    ///
    /// Whatever the state says, one passes when the probe is due and then one in each interval, so an owner that died
    /// with its breaker open parks nobody for ever. One delivery, the scout, comes back in time for that; the others stay
    /// the longer the more there are, and none goes from tier to tier for a time of its own that comes before its turn.
    pub(crate) fn judge(
        &mut self,
        endpoint: EndpointId,
        not_before: Timestamp,
        now: Timestamp,
    ) -> Verdict {
        self.look(now);
        let Some(open) = self.open.get_mut(&endpoint) else {
            return Verdict::ByTime;
        };
        open.let_through_at = open.let_through_at.min(now.plus(open.longest_wait));
        let Some(shortest) = self.tiers.first() else {
            return Verdict::ByTime;
        };
        let is_due = now >= not_before;
        if is_due && now >= open.let_through_at {
            open.let_through_at = now.plus(self.interval);
            return Verdict::LetThrough;
        }
        let until_next = open.let_through_at.since(now);
        let in_time = tier_for(self.tiers, until_next, until_next).unwrap_or(shortest);
        if now >= open.scout_back_at && now.plus(in_time.delay) >= not_before {
            open.scout_back_at = now.plus(in_time.delay);
            return Verdict::Wait(in_time);
        }
        let now_micros = now.as_millis().saturating_mul(1000);
        open.returns_until_micros = open.returns_until_micros.max(now_micros) + self.spacing_micros;
        let spread_micros = open.returns_until_micros - now_micros;
        let spread = Duration::from_micros(spread_micros.unsigned_abs());
        if not_before.since(now) > spread {
            return Verdict::ByTime;
        }
        let spreading = self.tiers.iter().find(|tier| tier.delay >= spread);
        let spreading = spreading.or(self.tiers.last()).unwrap_or(shortest);
        Verdict::Wait(if spreading.delay > in_time.delay {
            spreading
        } else {
            in_time
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics::PARK;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn state(
        endpoint_id: EndpointId,
        breaker: BreakerState,
        probe_at: Option<Timestamp>,
    ) -> EndpointState {
        EndpointState {
            endpoint_id,
            breaker,
            probe_at,
            openings: 1,
            consecutive_failures: 5,
            next_slot: None,
            parked: 0,
            parked_bytes: 0,
            epoch: 1,
            updated_at: at(0),
            failing_since: None,
            partition: 0,
            nonce: 0,
            newer: Box::default(),
            opened_at: Some(at(0)),
            endpoint_version: 1,
        }
    }

    fn open_until(probe_at: Timestamp) -> (Breakers, EndpointId) {
        let endpoint = EndpointId::new();
        let mut breakers = Breakers::new(&PARK, INTERVAL, 5000);
        breakers.heard(&state(endpoint, BreakerState::Open, Some(probe_at)));
        (breakers, endpoint)
    }

    fn delay(verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Wait(tier) => tier.delay.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_is_let_through_when_the_probe_is_due_and_then_one_in_each_interval() {
        let (mut breakers, endpoint) = open_until(at(30));
        let passed: Vec<i64> = (0..60)
            .filter(|s| breakers.judge(endpoint, at(*s), at(*s)) == Verdict::LetThrough)
            .collect();
        assert_eq!(passed, [30, 35, 40, 45, 50, 55]);
    }

    #[test]
    fn the_same_state_heard_again_lets_none_through_earlier_and_a_later_probe_puts_it_off() {
        let (mut breakers, endpoint) = open_until(at(30));
        assert_eq!(
            breakers.judge(endpoint, at(30), at(30)),
            Verdict::LetThrough
        );
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(30))));
        assert_ne!(
            breakers.judge(endpoint, at(31), at(31)),
            Verdict::LetThrough
        );
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(90))));
        assert_ne!(
            breakers.judge(endpoint, at(89), at(89)),
            Verdict::LetThrough
        );
        assert_eq!(
            breakers.judge(endpoint, at(90), at(90)),
            Verdict::LetThrough
        );
    }

    #[test]
    fn a_probe_that_was_put_forward_lets_the_next_one_through() {
        let (mut breakers, endpoint) = open_until(at(300));
        assert_ne!(breakers.judge(endpoint, at(9), at(9)), Verdict::LetThrough);
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(10))));
        assert_eq!(
            breakers.judge(endpoint, at(10), at(10)),
            Verdict::LetThrough
        );
        assert_ne!(
            breakers.judge(endpoint, at(11), at(11)),
            Verdict::LetThrough
        );
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(10))));
        assert_ne!(
            breakers.judge(endpoint, at(12), at(12)),
            Verdict::LetThrough
        );
    }

    #[test]
    fn the_same_probes_time_told_a_moment_sooner_lets_nothing_through_and_sends_no_scout() {
        let (mut breakers, endpoint) = open_until(at(30));
        // The scout, and one that waits behind it.
        assert_eq!(delay(breakers.judge(endpoint, at(0), at(0))), 20);
        let passed = |breakers: &mut Breakers, now| {
            breakers.judge(endpoint, at(now), at(now)) == Verdict::LetThrough
        };
        assert!(passed(&mut breakers, 30));
        let before = breakers.open[&endpoint];
        for early in [1, 2, 900] {
            let told = at(30).minus(Duration::from_millis(early));
            breakers.heard(&state(endpoint, BreakerState::Open, Some(told)));
            let open = breakers.open[&endpoint];
            assert_eq!(open.let_through_at, before.let_through_at);
            assert_eq!(open.scout_back_at, before.scout_back_at);
        }
        assert!(!passed(&mut breakers, 31));
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(90))));
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(80))));
        assert!(!passed(&mut breakers, 79));
        assert!(passed(&mut breakers, 80), "ten seconds are a repair");
    }

    #[test]
    fn a_probes_time_that_is_sooner_because_its_owners_clock_was_set_back_lets_nothing_through() {
        let (mut breakers, endpoint) = open_until(at(30));
        let told = |probe_at: i64, updated_at: i64| EndpointState {
            updated_at: at(updated_at),
            ..state(endpoint, BreakerState::Open, Some(at(probe_at)))
        };
        breakers.heard(&told(30, 20));
        breakers.heard(&told(25, 16));
        let judge = |breakers: &mut Breakers, now| breakers.judge(endpoint, at(0), at(now));
        assert_ne!(judge(&mut breakers, 25), Verdict::LetThrough);
        breakers.heard(&told(18, 17));
        assert_eq!(
            judge(&mut breakers, 25),
            Verdict::LetThrough,
            "by that clock a repair"
        );
    }

    #[test]
    fn a_half_open_breaker_whose_owner_died_lets_the_next_one_through_after_an_interval() {
        let (mut breakers, endpoint) = (Breakers::new(&PARK, INTERVAL, 5000), EndpointId::new());
        breakers.heard(&state(endpoint, BreakerState::HalfOpen, None));
        assert_ne!(breakers.judge(endpoint, at(4), at(4)), Verdict::LetThrough);
        assert_eq!(breakers.judge(endpoint, at(5), at(5)), Verdict::LetThrough);
    }

    #[test]
    fn a_closed_or_forgotten_endpoint_takes_no_place() {
        let (mut breakers, endpoint) = open_until(at(30));
        breakers.heard(&state(endpoint, BreakerState::Closed, None));
        assert_eq!(
            (breakers.len(), breakers.judge(endpoint, at(1), at(1))),
            (0, Verdict::ByTime)
        );
        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(30))));
        breakers.forget(endpoint);
        assert_eq!(
            (breakers.len(), breakers.judge(endpoint, at(1), at(1))),
            (0, Verdict::ByTime)
        );
    }

    #[test]
    fn few_wait_for_the_probe_and_many_stay_longer_the_more_there_are() {
        let (mut breakers, endpoint) = open_until(at(30));
        assert_eq!(delay(breakers.judge(endpoint, at(0), at(0))), 20);
        assert_eq!(delay(breakers.judge(endpoint, at(0), at(0))), 20);
        let longest = (0..299_000)
            .map(|_| delay(breakers.judge(endpoint, at(0), at(0))))
            .max();
        assert_eq!(longest, Some(60), "299,000 at 5,000 a second");
        let longest = (0..701_000)
            .map(|_| delay(breakers.judge(endpoint, at(0), at(0))))
            .max();
        assert_eq!(longest, Some(300), "1,000,000 at 5,000 a second");
    }

    #[test]
    fn a_million_parked_are_rewritten_no_more_often_than_the_rate_and_one_is_there_for_each_probe()
    {
        let (mut breakers, endpoint) = open_until(at(30));
        breakers.spacing_micros = 1_000_000 / 50;
        let mut back: std::collections::BTreeMap<i64, u32> = [(0, 10_000)].into();
        let (mut writes, mut passed) = (0, Vec::new());
        while let Some((now, count)) = back.pop_first().filter(|(now, _)| *now < 3600) {
            for _ in 0..count {
                match breakers.judge(endpoint, at(now), at(now)) {
                    Verdict::Wait(tier) => {
                        writes += 1;
                        *back.entry(now + tier.delay.as_secs() as i64).or_default() += 1;
                    }
                    Verdict::LetThrough => {
                        passed.push(now);
                        breakers.heard(&state(endpoint, BreakerState::Open, Some(at(now + 60))));
                        *back.entry(now + 20).or_default() += 1;
                    }
                    Verdict::ByTime => panic!("closed"),
                }
            }
        }
        assert!(writes < 3600 * 50 * 2, "{writes} writes in an hour");
        assert!(passed.len() >= 50, "{passed:?}");
    }

    #[test]
    fn a_crowd_does_not_go_from_tier_to_tier_for_times_of_its_own_before_its_turn() {
        let (mut breakers, endpoint) = open_until(at(40));
        let now = at(0);
        // Their own times come every tenth of a millisecond, their turns every fifth.
        let slot = |n: i64| Timestamp::from_millis(now.as_millis() + n / 10);
        let verdicts: Vec<_> = (0..100_000)
            .map(|n| breakers.judge(endpoint, slot(n), now))
            .collect();
        assert!(!verdicts.contains(&Verdict::ByTime));
        assert_eq!(delay(verdicts[99_999]), 20);
    }

    #[test]
    fn a_time_of_its_own_that_is_later_than_its_turn_is_kept_and_nothing_passes_before_it() {
        let (mut breakers, endpoint) = open_until(at(0));
        assert_eq!(breakers.judge(endpoint, at(3600), at(1)), Verdict::ByTime);
        assert_eq!(breakers.judge(endpoint, at(1), at(1)), Verdict::LetThrough);
    }
}
