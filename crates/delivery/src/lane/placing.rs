//! Where a delivery goes that is offered to a lane: into its queue, aside until a slot that is its own, or, if too much lies
//! there already, to the dead letters.

use std::time::Duration;

use postrider_model::{Delivery, Timestamp};
use tokio::time::Instant;

use super::{Lane, LaneLimits};
use crate::parking::SPREAD;
use crate::{Admission, Now, ParkReason, Waiting};

/// When what found a probe's waiting room full comes back.
const AFTER_PROBE: Duration = Duration::from_secs(2);

/// How long at least what was accepted and then had no place in memory stays away.
const SHED_FOR: Duration = Duration::from_secs(5);

/// How long at least what a lane cannot take stays away.
const LEAST: Duration = Duration::from_secs(1);

/// What became of a delivery that was offered.
#[derive(Debug)]
pub enum Offered {
    /// It waits in the lane.
    Accepted,
    /// It is to be parked until then; once it is, the lane is [told](Lane::parked).
    Park(Waiting, Timestamp, ParkReason),
    /// More is parked than may be: it is to become a dead letter.
    Overflow(Waiting),
}

/// True if fan-out made it to be tried at once, and nobody has held it up so far.
pub(crate) fn is_new(delivery: &Delivery) -> bool {
    delivery.generation == 0
        && delivery.attempts_made == 0
        && delivery.parked_since.is_none()
        && delivery.not_before == Timestamp::default()
}

/// True if a replay or a resend has just brought it.
fn is_replayed(delivery: &Delivery) -> bool {
    delivery.generation > 0 && delivery.attempts_made == 0 && delivery.parked_since.is_none()
}

impl Lane {
    /// Takes a delivery, or says where it goes instead.
    pub fn offer(&mut self, mut waiting: Waiting, limits: &LaneLimits, now: Now) -> Offered {
        if is_replayed(&waiting.delivery) {
            self.try_for_replay(now.instant);
        }
        waiting.prompt = is_new(&waiting.delivery) && self.has_a_place_at_once(now.instant);
        match self.place(&waiting.delivery, limits, now) {
            None => {
                let due = now.instant + waiting.delivery.wait(now.wall);
                self.queue.push(waiting, due, now.instant);
                Offered::Accepted
            }
            Some((until, reason)) => self.park(waiting, until, reason, limits, now),
        }
    }

    /// Parks what was accepted: the breaker has opened, or memory is short.
    pub fn put_aside(
        &mut self,
        waiting: Waiting,
        reason: ParkReason,
        limits: &LaneLimits,
        now: Now,
    ) -> Offered {
        let (until, reason) = self
            .place(&waiting.delivery, limits, now)
            .unwrap_or_else(|| {
                let slot = self.later(&waiting.delivery, limits, now, SHED_FOR);
                (slot, reason)
            });
        self.park(waiting, until, reason, limits, now)
    }

    /// True if, as far as its endpoint is concerned, one more could start now.
    fn has_a_place_at_once(&mut self, now: Instant) -> bool {
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.breaker.admits(now) == Admission::Pass
            && queued.saturating_add(self.in_flight) < self.concurrency.limit()
            && self
                .rate
                .as_mut()
                .is_none_or(|rate| queued == 0 && rate.next_start(now) <= now)
    }

    /// Until when, and why, a delivery cannot be taken; `None` if it can.
    fn place(
        &mut self,
        delivery: &Delivery,
        limits: &LaneLimits,
        now: Now,
    ) -> Option<(Timestamp, ParkReason)> {
        let wait = delivery.wait(now.wall);
        if wait > limits.hold {
            return Some((now.wall.plus(wait), ParkReason::NotDue));
        }
        match self.breaker.admits(now.instant) {
            Admission::Refused(until) => {
                let slot = self.parking.reserve_behind_probe(now.instant, until);
                return Some((now.wall_of(slot), ParkReason::BreakerOpen));
            }
            Admission::ProbeOut | Admission::Probe if self.queue.len() >= limits.behind_probe => {
                let soon = now.instant + AFTER_PROBE;
                let slot = self.parking.reserve(now.instant, soon, SPREAD);
                return Some((now.wall_of(slot), ParkReason::BreakerOpen));
            }
            Admission::ProbeOut | Admission::Probe | Admission::Pass => {}
        }
        if let Some(slot) = self.limited(delivery, limits, now.instant) {
            return Some((now.wall_of(slot), ParkReason::Limited));
        }
        let full = self.queue.len() >= limits.deliveries
            || self.queue.bytes() + delivery.weight() > limits.bytes;
        let reason = match full {
            true => ParkReason::Full,
            false if self.is_too_slow(delivery, limits, now.instant) => ParkReason::Slow,
            false => return None,
        };
        let slot = self.later(delivery, limits, now, Duration::ZERO);
        Some((slot, reason))
    }

    /// True if too much waits for it to start soon at the pace at which the endpoint answers. While slots are reserved that
    /// are far off, newcomers stand behind them, unless next to nothing waits here.
    fn is_too_slow(&self, delivery: &Delivery, limits: &LaneLimits, now: Instant) -> bool {
        // Where nothing waits there is nothing to reckon: the usual case.
        if self.queue.is_empty() {
            return false;
        }
        let Some(wait) = self.time_for_queue(limits) else {
            return false;
        };
        let newcomer = delivery.parked_since.is_none();
        wait > limits.ahead
            || newcomer && wait > limits.hold && self.parking.is_reserved_beyond(now + limits.ahead)
    }

    /// True if so much waits that the end of it is to be parked: more than would be taken, by some distance, so that it does
    /// not come to this with every answer.
    pub(crate) fn is_too_long(&self, limits: &LaneLimits) -> bool {
        let wait = || self.time_for_queue(limits);
        !self.queue.is_empty() && wait().is_some_and(|wait| wait > limits.ahead * 2)
    }

    /// Takes the end of the queue, of which too much waits: it is to be [put aside](Self::put_aside).
    pub(crate) fn take_what_is_too_long(&mut self, limits: &LaneLimits) -> Vec<Waiting> {
        match self.interval(limits) {
            Some((each, at_a_time)) if !each.is_zero() => {
                let keep = limits.ahead.as_secs_f64() / each.as_secs_f64();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates, and is not negative"
                )]
                // As many as may be out wait here: what starts next is not parked just when it could start.
                self.queue.take_behind((keep as usize).max(at_a_time))
            }
            _ => Vec::new(),
        }
    }

    /// How long what waits here takes, if the endpoint's pace is known.
    fn time_for_queue(&self, limits: &LaneLimits) -> Option<Duration> {
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        Some(self.interval(limits)?.0.saturating_mul(queued))
    }

    /// The time between two deliveries at the pace at which the endpoint answers, if that is known, and how many it is
    /// expected to take at a time.
    fn interval(&self, limits: &LaneLimits) -> Option<(Duration, usize)> {
        let attempt = self.pace.attempt()?;
        let at_a_time = self.concurrency.expected(limits.ahead, attempt).max(1);
        Some((attempt / at_a_time, at_a_time as usize))
    }

    /// The slot that a limited endpoint has for a delivery that cannot start within the hold.
    ///
    /// While slots are reserved, newcomers stand behind them, or they would starve what was parked before.
    fn limited(
        &mut self,
        delivery: &Delivery,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<Instant> {
        let rate = self.rate.as_mut()?;
        let interval = rate.interval();
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let start = rate.next_start(now) + interval.saturating_mul(queued);
        let horizon = now + limits.hold;
        let newcomer = delivery.parked_since.is_none();
        if start <= horizon && !(newcomer && self.parking.is_reserved_beyond(horizon)) {
            return None;
        }
        Some(
            self.parking
                .reserve(now, start.max(now + Duration::from_secs(1)), interval),
        )
    }

    /// A slot when half of the queue is done at its present pace, so that it does not run empty before what is parked comes
    /// back, and after `least`.
    fn later(
        &mut self,
        delivery: &Delivery,
        limits: &LaneLimits,
        now: Now,
        least: Duration,
    ) -> Timestamp {
        let half = self.time_for_queue(limits).unwrap_or_default() / 2;
        let wait = half.min(limits.ahead).max(LEAST).max(least);
        let each = self
            .interval(limits)
            .map_or(SPREAD, |(each, _)| each.max(SPREAD));
        let waited = delivery.parked_since.map(|since| now.wall.since(since));
        let slot = self.parking.reserve_in_line(
            now.instant,
            now.instant + wait,
            each,
            waited.unwrap_or_default(),
        );
        now.wall_of(slot)
    }

    fn park(
        &mut self,
        waiting: Waiting,
        until: Timestamp,
        reason: ParkReason,
        limits: &LaneLimits,
        now: Now,
    ) -> Offered {
        self.forget_parked(now);
        let parked = self.parking.parked.bytes() + waiting.delivery.weight() as u64;
        let came_round = waiting.delivery.parked_since.is_some();
        let most = if came_round {
            limits.parked_bytes
        } else {
            limits.parked_bytes.saturating_mul(2)
        };
        if parked > most {
            return Offered::Overflow(waiting);
        }
        Offered::Park(waiting, until, reason)
    }
}
