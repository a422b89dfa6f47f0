//! How many attempts are in flight in all, and whose.

use std::collections::VecDeque;

use postrider_model::EndpointId;
use tokio::time::Instant;

use crate::Standing;
use crate::turnover::Turnover;

/// Bounds attempts in flight, with a share that only endpoints which answer may use: ten thousand that hang can take
/// the rest, and no more. Of that rest, a third is kept for endpoints that were not tried yet.
#[derive(Debug)]
pub(crate) struct Sockets {
    total: u32,
    /// For endpoints that were not answered by their last attempt, or not tried yet.
    unproven_total: u32,
    answering: u32,
    untried: u32,
    silent: u32,
    /// Lanes that wait for a socket.
    waiting: [VecDeque<EndpointId>; 3],
    /// Sockets that went to lanes which waited.
    unblocked: u32,
    turnover: Turnover,
}

/// Who comes first when a socket is free again: those that were not tried yet, or they would never be while others want
/// all there are; the silent last.
const ORDER: [Standing; 3] = [Standing::Untried, Standing::Answering, Standing::Silent];
/// Every so often the silent come first, so that one which is back is found while others want all there are.
const SILENT_EVERY: u32 = 16;
/// Who comes first then.
const SILENT_FIRST: [Standing; 3] = [Standing::Silent, Standing::Untried, Standing::Answering];

impl Sockets {
    /// `total` in all, `share` percent of them for endpoints that answer.
    pub(crate) fn new(total: u32, share: u32) -> Self {
        Self {
            total,
            unproven_total: total
                - total / 100 * share.min(100)
                - total % 100 * share.min(100) / 100,
            answering: 0,
            untried: 0,
            silent: 0,
            waiting: Default::default(),
            unblocked: 0,
            turnover: Turnover::default(),
        }
    }

    /// Attempts of one endpoint, at most: one each where sockets are scarce and the endpoint has not answered.
    pub(crate) fn most(&self, standing: Standing) -> u32 {
        let scarce = self.untried + self.silent > self.unproven_total / 2;
        match standing {
            Standing::Untried | Standing::Silent if scarce => 1,
            Standing::Answering | Standing::Untried | Standing::Silent => u32::MAX,
        }
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

    /// True if there are too few sockets for what the endpoints would take: none is free, though all are given back
    /// quickly.
    pub(crate) fn are_the_bottleneck(&self, now: Instant) -> bool {
        self.in_flight() >= self.total && self.turnover.is_quick(self.total, now)
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
            Standing::Untried => unproven < self.unproven_total,
            Standing::Silent => {
                unproven < self.unproven_total && self.silent < self.unproven_total / 3 * 2
            }
        };
        share && self.in_flight() < self.total
    }

    fn count(&mut self, standing: Standing) -> &mut u32 {
        match standing {
            Standing::Answering => &mut self.answering,
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
        sockets.give_back(Standing::Answering);
        assert!(!sockets.are_the_bottleneck(at(600)), "one is free");
        assert!(sockets.take(Standing::Answering));
        (0..10).for_each(|n| sockets.answered(at(1_000 + n * 50)));
        assert!(
            !sockets.are_the_bottleneck(at(1_600)),
            "they come back slowly"
        );
    }

    proptest! {
        #[test]
        fn never_are_more_in_use_than_there_are(
            total in 8..64u32, share in 0..90u32, steps in prop::collection::vec((any::<bool>(), 0..3usize), 0..300),
        ) {
            let mut sockets = Sockets::new(total, share);
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
