//! One endpoint's queue, and everything that decides when its next attempt starts. What becomes of a delivery that is
//! offered to it is decided in [`placing`].

mod limits;
mod placing;

use std::time::Duration;

use postrider_model::{
    BreakerState, Delivery, EndpointId, EndpointState, Health, Outcome, Timestamp,
};
use tokio::time::Instant;

pub use limits::{LaneLimits, Terms};
pub use placing::Offered;
pub(crate) use placing::is_new;

use crate::pace::Pace;
use crate::{
    Admission, Breaker, BreakerPolicy, Concurrency, Now, Owner, Parking, Queue, RateLimiter,
    Waiting,
};

/// When the next probe may go after one that said nothing of the endpoint.
const AFTER_LOST_PROBE: Duration = Duration::from_secs(1);
/// An endpoint whose last answer is older than this may hang by now.
const ANSWERED_NOW: Duration = Duration::from_secs(2);
/// A replay has an open breaker let a probe go at most this often.
const BETWEEN_REPLAYS: Duration = Duration::from_secs(30);

/// What a lane does next.
#[derive(Debug)]
pub enum Next {
    /// This starts now; `true` if it is the breaker's probe.
    Start(Waiting, bool),
    /// Nothing before this time.
    At(Instant),
    /// Nothing until something is offered or an attempt ends.
    Idle,
}

/// How an endpoint stands with the pool of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its last attempt was answered, just now.
    Answering,
    /// Its last attempt was answered, some time ago.
    Known,
    /// It was not tried yet.
    Untried,
    /// Its last attempt was not answered.
    Silent,
}

impl Standing {
    /// True if its last attempt was answered, whenever that was.
    pub fn has_answered(self) -> bool {
        matches!(self, Self::Answering | Self::Known)
    }
}

/// One endpoint's lane. There is none for an endpoint about which there is nothing to remember.
#[derive(Debug)]
pub struct Lane {
    queue: Queue,
    rate: Option<RateLimiter>,
    concurrency: Concurrency,
    breaker: Breaker,
    parking: Parking,
    /// By its last attempt.
    standing: Standing,
    /// When that was answered.
    answered_at: Option<Instant>,
    in_flight: u32,
    /// How long attempts take: for the time that the queue takes.
    pace: Pace,
    /// The terms that were taken.
    terms: Option<Terms>,
    /// The endpoint's version that is gone by; 0 where none is known.
    version: u64,
    /// When a replay last had the breaker let a probe go.
    tried_for_replay: Option<Instant>,
}

impl Lane {
    /// A lane about which nothing is known.
    pub fn new(limits: &LaneLimits) -> Self {
        Self {
            queue: Queue::default(),
            rate: None,
            concurrency: Concurrency::new(limits.first_in_flight, limits.max_in_flight),
            breaker: Breaker::default(),
            parking: Parking::default(),
            standing: Standing::Untried,
            answered_at: None,
            in_flight: 0,
            pace: Pace::default(),
            terms: None,
            version: 0,
            tried_for_replay: None,
        }
    }

    /// A lane that goes on where an earlier owner was.
    pub fn restore(state: &EndpointState, limits: &LaneLimits, now: Now) -> Self {
        let told = |at| now.instant_of_told(at, state.updated_at);
        let next_slot = state.next_slot.map(told);
        let standing = match state.consecutive_failures {
            0 => Standing::Untried,
            _ => Standing::Silent,
        };
        Self {
            breaker: Breaker::restore(state, now),
            parking: Parking::restore(next_slot, state.parked, state.parked_bytes, now),
            standing,
            version: state.endpoint_version,
            ..Self::new(limits)
        }
    }

    /// A lane without a valid state of an earlier owner: one attempt at a time at first, a breaker that opens on the
    /// first failure.
    pub fn cautious(limits: &LaneLimits) -> Self {
        Self {
            breaker: Breaker::cautious(),
            concurrency: Concurrency::new(1, limits.max_in_flight),
            ..Self::new(limits)
        }
    }

    /// The endpoint answered before it was forgotten.
    pub fn is_proven(&mut self) {
        self.standing = Standing::Known;
    }

    /// Takes the endpoint's terms, if they are others than those taken before. `owned_since` is when this process became
    /// its owner: what the one before started in the second before that is not known, so a limited endpoint waits it out;
    /// so does one that was not limited up to `now`. An endpoint that was changed may have been repaired: its breaker lets a
    /// probe go at once, or when the one has ended that is out. True if a probe had to wait.
    pub fn configure(&mut self, terms: Terms, owned_since: Instant, now: Instant) -> bool {
        let before = self.terms.replace(terms);
        if before == Some(terms) {
            return false;
        }
        let known = std::mem::replace(&mut self.version, terms.version);
        let may_be_repaired = known != 0 && known < terms.version;
        self.concurrency.set_max(terms.max_in_flight);
        match (&mut self.rate, terms.rate) {
            (Some(limiter), Some(rate)) => {
                let before = limiter.interval();
                limiter.set_rate(rate);
                self.parking.repaced(now, before, limiter.interval());
            }
            (limiter @ None, Some(rate)) => {
                let since = if before.is_none() { owned_since } else { now };
                *limiter = Some(RateLimiter::cautious(rate, since));
            }
            (limiter, None) => {
                if limiter.take().is_some() {
                    self.parking.unpaced();
                }
            }
        }
        may_be_repaired && self.breaker.repaired(now)
    }

    /// Somebody has a delivery made again that was given up, which says that the endpoint is to be tried now: but one that is
    /// still dead is not tried for each of a hundred thousand.
    fn try_for_replay(&mut self, now: Instant) {
        let lately = |at: Instant| now < at + BETWEEN_REPLAYS;
        if !self.tried_for_replay.is_some_and(lately) && self.breaker.try_now(now) {
            self.tried_for_replay = Some(now);
        }
    }

    /// A delivery of its endpoint is parked until then.
    pub fn parked(&mut self, bytes: usize, deadline: Timestamp, until: Timestamp, now: Now) {
        self.parking.parked.add(bytes, deadline);
        self.parking.is_due(now.instant_of(until));
    }

    /// A delivery came back that was parked.
    pub fn came_back(&mut self, delivery: &Delivery) {
        let parked = &mut self.parking.parked;
        parked.came_back(delivery.weight(), delivery.deadline);
    }

    /// The endpoint is disabled or deleted: nothing that is known of it is of use, and nothing parked is held back any
    /// more.
    pub fn endpoint_is_gone(&mut self) {
        (self.breaker, self.parking) = Default::default();
    }

    /// Forgets what was parked and will not come back; true if there was anything.
    pub fn forget_parked(&mut self, now: Now) -> bool {
        self.parking.forget(self.breaker.knows_nothing(), now)
    }

    /// Empties the queue: what is in it is to be [put aside](Self::put_aside).
    pub fn take_all(&mut self) -> Vec<Waiting> {
        self.queue.take()
    }

    /// What starts next. `most` bounds the attempts in flight from outside (sockets are scarce).
    pub fn poll(&mut self, now: Instant, most: u32) -> Next {
        if !self.queue.has_ready(now) {
            return self.queue.next_due().map_or(Next::Idle, Next::At);
        }
        let probe = match self.breaker.admits(now) {
            Admission::Pass => false,
            Admission::Probe => true,
            Admission::ProbeOut => return Next::Idle,
            Admission::Refused(until) => return Next::At(until),
        };
        if self.in_flight >= self.concurrency.limit().min(most) {
            return Next::Idle;
        }
        if let Some(rate) = &mut self.rate {
            let at = rate.next_start(now);
            if at > now {
                return Next::At(at);
            }
        }
        self.queue
            .pop()
            .map_or(Next::Idle, |waiting| Next::Start(waiting, probe))
    }

    /// What [`Self::poll`] gave is started.
    pub fn started(&mut self, probe: bool, now: Instant) {
        self.in_flight += 1;
        if let Some(rate) = &mut self.rate {
            rate.record(now);
        }
        if probe {
            self.breaker.probe_started();
        }
    }

    /// What [started](Self::started) at `began` did not go: it counts as nothing.
    pub fn withheld(&mut self, probe: bool, began: Instant, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(rate) = &mut self.rate {
            rate.take_back(began);
        }
        if probe {
            self.breaker.probe_was_lost(now + AFTER_LOST_PROBE);
        }
    }

    /// What [`Self::poll`] gave cannot start now and waits again, at the head.
    pub fn put_back(&mut self, waiting: Waiting) {
        self.queue.push_front(waiting);
    }

    /// An attempt took as long as from `began` to `now`, and that says something of its endpoint's pace.
    pub fn took(&mut self, outcome: Outcome, began: Instant, now: Instant) {
        if !matches!(outcome, Outcome::Forbidden | Outcome::OwnFault) {
            self.pace.count(now.saturating_duration_since(began), now);
        }
    }

    /// An attempt that began at `began` ended. True if the breaker opened with it: [take](Self::take_all) what waits and put
    /// it aside.
    pub fn ended(
        &mut self,
        outcome: Outcome,
        probe: bool,
        began: Instant,
        policy: &BreakerPolicy,
        now: Now,
        draw: f64,
    ) -> bool {
        let in_flight = self.in_flight;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.stood(outcome, began, now.instant);
        match outcome.health() {
            Health::Well => {
                self.concurrency.succeeded(in_flight, began, now.instant);
                if self.breaker.succeeded(probe, began, policy, now) {
                    self.parking.probe_succeeded();
                    // How it was while it failed is no measure of it now.
                    self.pace = Pace::default();
                }
                false
            }
            Health::Failing => self.breaker.failed(probe, began, policy, now, draw),
            Health::Barred | Health::Unknown => {
                if probe {
                    self.breaker.probe_was_lost(now.instant + AFTER_LOST_PROBE);
                }
                false
            }
        }
    }

    /// Takes from an attempt's end whether the endpoint answers, and whether it had too much at once.
    fn stood(&mut self, outcome: Outcome, began: Instant, now: Instant) {
        match outcome {
            Outcome::Succeeded
            | Outcome::Final
            | Outcome::Gone
            | Outcome::Redirected
            | Outcome::Refused => self.answered(now),
            Outcome::Throttled => {
                self.answered(now);
                self.concurrency.pushed_back(began, now);
            }
            Outcome::TimedOut => {
                self.standing = Standing::Silent;
                self.concurrency.pushed_back(began, now);
            }
            Outcome::Unreachable => self.standing = Standing::Silent,
            Outcome::Forbidden | Outcome::OwnFault => {}
        }
    }

    fn answered(&mut self, now: Instant) {
        (self.standing, self.answered_at) = (Standing::Answering, Some(now));
    }

    /// Drops what lies in partitions that are no longer owned.
    pub fn retain(&mut self, keep: impl Fn(postrider_model::TopicPartition) -> bool) {
        self.queue.retain(keep);
    }

    /// Deliveries waiting.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Their bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Everything that waits in it.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.iter()
    }

    /// Deliveries that wait here or are parked.
    pub(crate) fn backlog(&self) -> u64 {
        self.queue.len() as u64 + self.parking.parked.count()
    }

    /// The delivery that has waited longest, if one could start now as far as its endpoint is concerned: we hold it up.
    pub(crate) fn first_held_up(&mut self, now: Instant) -> Option<&Waiting> {
        let has_place = self.in_flight < self.concurrency.limit()
            && self.breaker.admits(now) == Admission::Pass
            && self
                .rate
                .as_mut()
                .is_none_or(|rate| rate.next_start(now) <= now);
        self.queue.first().filter(|_| has_place)
    }

    /// Where its breaker stands.
    pub(crate) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// When the first failure since the last success was.
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        self.breaker.failing_since()
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// True if nothing waits in it and no attempt is out.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    /// How the endpoint stands with the pool of sockets.
    pub fn standing(&self, now: Instant) -> Standing {
        let is_now = |at: Instant| now < at + ANSWERED_NOW;
        match self.standing {
            Standing::Answering if !self.answered_at.is_some_and(is_now) => Standing::Known,
            standing => standing,
        }
    }

    /// True while the breaker is not closed.
    pub fn is_open(&self) -> bool {
        self.breaker.probe_at().is_some() || self.breaker.state() == BreakerState::HalfOpen
    }

    /// True if a new lane would do as well as this one.
    pub fn is_forgettable(&mut self, now: Instant) -> bool {
        self.is_idle()
            && self.breaker.knows_nothing()
            && self.parking.parked.count() == 0
            && self.rate.as_mut().is_none_or(|rate| rate.is_idle(now))
    }

    /// True if the next owner, the pump or fan-out should know of it.
    pub fn is_worth_publishing(&self) -> bool {
        !self.breaker.knows_nothing() || self.parking.parked.count() > 0
    }

    /// What the next owner, the pump and fan-out should know; `None` if there is nothing worth knowing.
    pub fn state(&self, endpoint_id: EndpointId, owner: Owner, now: Now) -> Option<EndpointState> {
        self.is_worth_publishing().then(|| EndpointState {
            endpoint_id,
            breaker: self.breaker.state(),
            probe_at: self.breaker.probe_at().map(|at| now.wall_of(at)),
            openings: self.breaker.openings(),
            consecutive_failures: self.breaker.consecutive_failures(),
            next_slot: self.parking.next_slot().map(|at| now.wall_of(at)),
            parked: self.parking.parked.count(),
            parked_bytes: self.parking.parked.bytes(),
            epoch: owner.epoch,
            updated_at: now.wall,
            failing_since: self.breaker.failing_since(),
            partition: owner.partition,
            nonce: owner.nonce,
            newer: Box::default(),
            opened_at: self.breaker.opened_at(),
            endpoint_version: self.version,
        })
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
