//! How many attempts are in flight in all, and whose.

use std::collections::VecDeque;

use postrider_model::EndpointId;
use tokio::time::Instant;

use crate::Standing;
use crate::turnover::Turnover;

/// Bounds attempts in flight, with a share that only endpoints which answer may use: ten thousand that hang can take
/// the rest, and no more. Of that rest, a third is kept for endpoints that were not tried yet. Endpoints that answered may
/// begin to hang, a whole region of them in one moment: so half of that share is for those that were answered just now,
/// and where few sockets are left no endpoint gets many.
#[derive(Debug)]
pub(crate) struct Sockets {
    total: u32,
    /// For endpoints that were not answered by their last attempt, or not tried yet.
    unproven_total: u32,
    /// For all but those that were answered just now.
    not_now_total: u32,
    answering: u32,
    untried: u32,
    silent: u32,
    /// Lanes that wait for a socket.
    waiting: [VecDeque<EndpointId>; 4],
    /// Sockets that went to lanes which waited.
    unblocked: u32,
    turnover: Turnover,
}

/// Who comes first when a socket is free again: those that were not tried yet, or they would never be while others want
/// all there are; the silent last.
const ORDER: [Standing; 4] = [
    Standing::Untried,
    Standing::Answering,
    Standing::Known,
    Standing::Silent,
];
/// Every so often the silent come first, so that one which is back is found while others want all there are.
const SILENT_EVERY: u32 = 16;
/// Who comes first then.
const SILENT_FIRST: [Standing; 4] = [
    Standing::Silent,
    Standing::Untried,
    Standing::Answering,
    Standing::Known,
];

impl Sockets {
    /// `total` in all, `share` percent of them for endpoints that answer.
    pub(crate) fn new(total: u32, share: u32) -> Self {
        let kept = total / 100 * share.min(100) + total % 100 * share.min(100) / 100;
        Self {
            total,
            unproven_total: total - kept,
            not_now_total: total - kept / 2,
            answering: 0,
            untried: 0,
            silent: 0,
            waiting: Default::default(),
            unblocked: 0,
            turnover: Turnover::default(),
        }
    }

    /// Attempts of one endpoint, at most: the fewer, the fewer sockets are left; one each where those are scarce that it may
    /// have and it has not answered.
    pub(crate) fn most(&self, standing: Standing) -> u32 {
        let scarce = self.untried + self.silent > self.unproven_total / 2;
        let left = self.total.saturating_sub(self.in_flight());
        match standing {
            Standing::Untried | Standing::Silent if scarce => 1,
            _ if left > self.total / 4 => u32::MAX,
            _ if left > self.total / 8 => 8,
            _ if left > self.total / 16 => 2,
            _ => 1,
        }
    }

    /// Attempts that one lane starts before the next has its turn, with so many others that are to be asked: what is left
    /// goes round.
    pub(crate) fn share_of(&self, others: usize) -> u32 {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        let all = u32::try_from(waiting + others + 1).unwrap_or(u32::MAX);
        (self.total.saturating_sub(self.in_flight()) / all).max(1)
    }

    /// Takes one, if there is one for an endpoint of this standing. It is given back as what it was taken for.
    pub(crate) fn take(&mut self, standing: Standing) -> bool {
        let room = self.has_room(standing);
        if room {
            *self.count(standing) += 1;
        }
        room
    }

    /// Gives one back that was taken for `standing`.
    pub(crate) fn give_back(&mut self, standing: Standing) {
        let count = self.count(standing);
        *count = count.saturating_sub(1);
    }

    /// One was given back by an endpoint that answers.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.turnover.count(now);
    }

    /// True if there are too few sockets for what the endpoints would take: so few are free that not every endpoint gets what
    /// it would take, though all are given back quickly.
    pub(crate) fn are_the_bottleneck(&self, now: Instant) -> bool {
        self.most(Standing::Answering) < u32::MAX && self.turnover.is_quick(self.total, now)
    }

    /// The lane waits until there is a socket for it.
    pub(crate) fn block(&mut self, id: EndpointId, standing: Standing) {
        self.waiting[standing as usize].push_back(id);
    }

    /// A lane that waited and for which there is a socket again.
    pub(crate) fn unblock(&mut self) -> Option<EndpointId> {
        let order = match self.unblocked % SILENT_EVERY {
            0 => SILENT_FIRST,
            _ => ORDER,
        };
        let next = order.into_iter().find_map(|standing| {
            let room = self.has_room(standing);
            room.then(|| self.waiting[standing as usize].pop_front())?
        });
        self.unblocked = self.unblocked.wrapping_add(u32::from(next.is_some()));
        next
    }

    /// Attempts in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.answering + self.untried + self.silent
    }

    fn has_room(&self, standing: Standing) -> bool {
        let unproven = self.untried + self.silent;
        let share = match standing {
            Standing::Answering => true,
            Standing::Known => self.in_flight() < self.not_now_total,
            Standing::Untried => unproven < self.unproven_total,
            Standing::Silent => {
                let most = (self.unproven_total / 3 * 2).max(1);
                unproven < self.unproven_total && self.silent < most
            }
        };
        share && self.in_flight() < self.total
    }

    fn count(&mut self, standing: Standing) -> &mut u32 {
        match standing {
            Standing::Answering | Standing::Known => &mut self.answering,
            Standing::Untried => &mut self.untried,
            Standing::Silent => &mut self.silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints_that_hang_leave_a_share_to_those_that_answer_and_to_those_not_tried_yet() {
        let mut sockets = Sockets::new(100, 25);
        while sockets.take(Standing::Silent) {}
        assert_eq!(sockets.in_flight(), 50);
        while sockets.take(Standing::Untried) {}
        assert_eq!(sockets.in_flight(), 75);
        assert!((0..25).all(|_| sockets.take(Standing::Answering)));
        assert!(!sockets.take(Standing::Answering));
    }

    #[test]
    fn half_of_the_share_is_for_endpoints_that_were_answered_just_now() {
        let mut sockets = Sockets::new(100, 24);
        while sockets.take(Standing::Known) {}
        assert_eq!(sockets.in_flight(), 88);
        assert!((0..12).all(|_| sockets.take(Standing::Answering)));
        assert!(!sockets.take(Standing::Answering));
    }

    #[test]
    fn the_fewer_sockets_are_left_the_fewer_one_endpoint_may_have() {
        let mut sockets = Sockets::new(1_600, 25);
        let mut most = Vec::new();
        while sockets.take(Standing::Answering) {
            let now = sockets.most(Standing::Answering);
            if most.last().is_none_or(|(_, last)| *last != now) {
                most.push((sockets.in_flight(), now));
            }
        }
        assert_eq!(most, [(1, u32::MAX), (1_200, 8), (1_400, 2), (1_500, 1)]);
    }

    #[test]
    fn where_sockets_are_scarce_an_untried_endpoint_gets_one() {
        let mut sockets = Sockets::new(8, 25);
        assert_eq!(sockets.most(Standing::Untried), u32::MAX);
        (0..4).for_each(|_| assert!(sockets.take(Standing::Untried)));
        assert_eq!(sockets.most(Standing::Untried), 1);
        assert_eq!(sockets.most(Standing::Answering), u32::MAX);
    }

    #[test]
    fn every_standing_has_its_turn_while_those_that_answer_want_all_there_are() {
        let mut sockets = Sockets::new(8, 25);
        while sockets.take(Standing::Answering) {}
        let [silent, untried, good] = [1, 2, 3].map(|n| EndpointId::from_bytes([n; 16]));
        sockets.block(silent, Standing::Silent);
        sockets.block(untried, Standing::Untried);
        (0..40).for_each(|_| sockets.block(good, Standing::Answering));
        assert_eq!(sockets.unblock(), None);
        sockets.give_back(Standing::Answering);
        assert_eq!(sockets.unblock(), Some(silent));
        assert_eq!(sockets.unblock(), Some(untried));
        sockets.block(silent, Standing::Silent);
        let turns: Vec<_> = (0..20).filter_map(|_| sockets.unblock()).collect();
        assert_eq!(turns.iter().position(|id| *id == silent), Some(14));
    }

    #[test]
    fn the_sockets_are_the_bottleneck_only_while_all_are_taken_and_come_back_quickly() {
        let (mut sockets, began) = (Sockets::new(8, 25), Instant::now());
        let at = |ms| began + Duration::from_millis(ms);
        while sockets.take(Standing::Answering) {}
        (0..100).for_each(|n| sockets.answered(at(n * 5)));
        assert!(sockets.are_the_bottleneck(at(600)));
        (0..3).for_each(|_| sockets.give_back(Standing::Answering));
        assert!(!sockets.are_the_bottleneck(at(600)), "enough are free");
        assert!((0..3).all(|_| sockets.take(Standing::Answering)));
        (0..10).for_each(|n| sockets.answered(at(1_000 + n * 50)));
        assert!(
            !sockets.are_the_bottleneck(at(1_600)),
            "they come back slowly"
        );
    }

    proptest! {
        #[test]
        fn never_are_more_in_use_than_there_are(
            total in 8..64u32, share in 0..=90u32, steps in prop::collection::vec((any::<bool>(), 0..4usize), 0..300),
        ) {
            let mut sockets = Sockets::new(total, share);
            for standing in ORDER {
                prop_assert!(sockets.most(standing) > 0 && sockets.take(standing), "one where all are free");
                sockets.give_back(standing);
            }
            let mut taken = Vec::new();
            for (take, standing) in steps {
                if take {
                    taken.extend(sockets.take(ORDER[standing]).then_some(ORDER[standing]));
                } else if let Some(standing) = taken.pop() {
                    sockets.give_back(standing);
                }
                prop_assert_eq!(sockets.in_flight() as usize, taken.len());
                prop_assert!(sockets.in_flight() <= total);
                prop_assert!(sockets.untried + sockets.silent <= sockets.unproven_total);
            }
        }
    }
}
