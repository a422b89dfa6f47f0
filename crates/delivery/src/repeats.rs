//! Which deliveries were taken lately, where a crash can lie between what was written and the position that it finished:
//! fan-out, the pump and other workers then write some of it twice. Pure.

use postrider_model::{Delivery, DeliveryId, Timestamp};

/// Steps that share a place in the table, the newest first.
const WAYS: usize = 8;
/// Such places of a partition; a power of two. Whoever takes over after a kill repeats what was written last, and comes
/// after the rest of a session. Half of the table is about what lies between the two at 90 deliveries a second and
/// partition and the brokers' default of 45 s.
const SETS: usize = 1_024;

/// One step of a delivery's schedule: the delivery, its generation and the attempts made, folded into one. The id is a hash
/// of 122 bits, so two steps are taken for one as rarely as two deliveries have one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step(u64, u64);

/// A step, and the largest [`waiting_since`](Delivery::waiting_since) with which it was taken.
#[derive(Debug, Clone, Copy)]
struct Taken(Step, Timestamp);

/// Nothing was taken with it.
const NEVER: Timestamp = Timestamp::from_millis(i64::MIN);
/// The step's attempt was made.
const ATTEMPTED: Timestamp = Timestamp::from_millis(i64::MAX);

/// The steps of one partition that were taken last; about 8,000, and never fewer than eight.
///
/// Those in hand count, too: a second one that is finished at once costs nothing, because the position of the first stays
/// unfinished until what follows from it is written. What is parked comes back with a later
/// [`waiting_since`](Delivery::waiting_since), and so is none. An older repeat passes, and costs a delivery twice, never one.
///
/// A map beside a queue of its keys took 1 MB a partition and, with 48 of them, microseconds for each delivery, because
/// nothing of it was in the processor's caches; this takes 192 KiB, from the first delivery on, and no hash.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Vec<[Taken; WAYS]>);

impl Repeats {
    /// Takes what was read; false if it is a repeat.
    pub(crate) fn take(&mut self, delivery: &Delivery) -> bool {
        // Not as late as an attempt, whatever a record says.
        let since = delivery.waiting_since.min(Timestamp::LAST);
        self.raise(Step::of(delivery), since)
    }

    /// True if its attempt was made, as another form of it asked for it that was in hand, too.
    pub(crate) fn was_attempted(&self, delivery: &Delivery) -> bool {
        let step = Step::of(delivery);
        let set = self.0.get(step.set());
        set.is_some_and(|set| set.iter().any(|one| one.0 == step && one.1 == ATTEMPTED))
    }

    /// The step's attempt was made: whatever else asks for it is a repeat.
    pub(crate) fn attempted(&mut self, step: Step) {
        self.raise(step, ATTEMPTED);
    }

    /// False if the step was taken with this or a later wait.
    fn raise(&mut self, step: Step, since: Timestamp) -> bool {
        if self.0.is_empty() {
            self.0 = vec![[Taken(Step::default(), NEVER); WAYS]; SETS];
        }
        let Some(set) = self.0.get_mut(step.set()) else {
            return true;
        };
        match set.iter_mut().find(|one| one.0 == step && one.1 > NEVER) {
            Some(known) if known.1 >= since => return false,
            Some(known) => known.1 = since,
            None => {
                set.rotate_right(1);
                set[0] = Taken(step, since);
            }
        }
        true
    }
}

impl Step {
    pub(crate) fn of(delivery: &Delivery) -> Self {
        let (left, right) = halves(delivery.id);
        Self(
            left ^ delivery.generation,
            right ^ u64::from(delivery.attempts_made),
        )
    }

    /// Its place in the table.
    fn set(self) -> usize {
        // Not the lowest bits: they are the attempts', of which a delivery has a few.
        (self.1 >> 16) as usize % SETS
    }
}

fn halves(id: DeliveryId) -> (u64, u64) {
    let id = u128::from_be_bytes(*id.as_bytes());
    ((id >> 64) as u64, id as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use bytes::Bytes;
    use postrider_model::{AppId, Class, EndpointId, EventId, EventOrigin};
    use proptest::prelude::*;

    fn delivery(n: u64) -> Delivery {
        let event = postrider_model::Event {
            id: EventId::derive(&[&n.to_be_bytes()]),
            app_id: AppId::new(),
            event_type: "order.paid".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: "application/json".to_owned(),
            payload: Bytes::from_static(b"{}"),
            accepted_at: Timestamp::from_millis(1_700_000_000_000),
            trace: None,
            origin: EventOrigin::Accepted,
        };
        let endpoint = EndpointId::from_bytes([7; 16]);
        Delivery::of_event(&event, (0, 0), endpoint, 1, Class::Normal, Timestamp::LAST)
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    #[test]
    fn a_second_of_the_same_is_a_repeat_and_what_follows_from_it_is_none() {
        let (mut repeats, first) = (Repeats::default(), delivery(1));
        assert!(repeats.take(&first) && !repeats.take(&first));
        let again = first.clone().again(5, 1, now(), Timestamp::LAST);
        assert!(repeats.take(&again), "another generation");
        let retry = first.clone().retry_at(now(), now());
        assert!(repeats.take(&retry), "another attempt");
        assert!(!repeats.take(&first));
    }

    #[test]
    fn what_was_parked_comes_back_whatever_the_clocks_of_its_owners_say() {
        let mut repeats = Repeats::default();
        let mut parked = delivery(1);
        assert!(repeats.take(&parked));
        // In the same millisecond, and by a clock that is a minute behind.
        for clock in [now(), now(), now().minus(Duration::from_secs(60))] {
            parked = parked.parked_until(clock, clock.plus(Duration::from_secs(1)));
            assert!(repeats.take(&parked), "at {clock:?}");
            assert!(!repeats.take(&parked));
        }
    }

    #[test]
    fn of_two_forms_that_a_crash_made_of_one_the_attempt_is_made_once() {
        let (mut repeats, first) = (Repeats::default(), delivery(1));
        let at = |seconds| now().plus(Duration::from_secs(seconds));
        let by_the_one_killed = first.clone().parked_until(at(1), at(9));
        let by_the_next = first.clone().parked_until(at(2), at(10));
        assert!(repeats.take(&first) && repeats.take(&by_the_one_killed));
        assert!(!repeats.was_attempted(&by_the_next));
        repeats.attempted(Step::of(&by_the_one_killed));
        assert!(repeats.was_attempted(&by_the_next) && !repeats.take(&by_the_next));
    }

    proptest! {
        /// Against a plain map, which forgets nothing: what is new is never called a repeat, and of what was taken last
        /// nothing is forgotten.
        #[test]
        fn what_is_new_is_never_called_a_repeat(
            steps in proptest::collection::vec((0..40u64, 0..3u32, 0..4u64, any::<bool>()), 1..300),
        ) {
            let (mut repeats, mut model) = (Repeats::default(), HashMap::new());
            for (n, attempts_made, wait, attempted) in steps {
                let waiting_since = now().plus(Duration::from_secs(wait));
                let form = Delivery { attempts_made, waiting_since, ..delivery(n) };
                let known: &mut Timestamp = model.entry((n, attempts_made)).or_insert(NEVER);
                // So few fit: the table forgets none.
                prop_assert_eq!(repeats.take(&form), *known < waiting_since);
                *known = waiting_since.max(*known);
                if attempted {
                    repeats.attempted(Step::of(&form));
                    *known = ATTEMPTED;
                }
                prop_assert_eq!(repeats.was_attempted(&form), *known == ATTEMPTED);
            }
        }
    }

    #[test]
    fn the_newest_are_known_and_memory_does_not_grow() {
        const COUNT: u64 = 20_000;
        let mut repeats = Repeats::default();
        assert!((0..COUNT).all(|n| repeats.take(&delivery(n))));
        let known = |newest: u64| {
            let known = |n: &u64| {
                let step = Step::of(&delivery(*n));
                repeats.0[step.set()].iter().any(|one| one.0 == step)
            };
            (COUNT - newest..COUNT).filter(known).count()
        };
        assert!(
            known(1_000) == 1_000 && known(4_096) > 4_000,
            "{}",
            known(4_096)
        );
        assert_eq!(repeats.0.len() * size_of::<[Taken; WAYS]>(), 192 << 10);
    }
}
