//! What ends alike is written once.
//!
//! The deliveries of an event carry its payload, each of them, and are appended one after the other. Of these the first is
//! written as a whole; the others are written without what they have in common with it at their end, and say where that
//! is. Readers put them together again, so nobody outside knows.
//!
//! Both are always of one append, hence of one commit: neither is there without the other. A trim stops before a record
//! that others need until these may go as well.

use postrider_log::Position;

/// The least that is worth the search when it is read.
const WORTH_BYTES: usize = 256;
/// How far behind the whole one others may lie: less than what is trimmed at once, so that a trim always moves on.
pub(crate) const REACH: u64 = 512;

/// Where a value's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// So many positions before, in a record that is there as a whole.
    pub(crate) back: u64,
    /// The last so many bytes of that one.
    pub(crate) bytes: usize,
}

/// The last value of a topic that was written as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole<'v> {
    /// Which append it is of.
    pub(crate) append: usize,
    pub(crate) position: Position,
    pub(crate) value: &'v [u8],
}

impl Whole<'_> {
    /// What a later value of the topic has in common with this one, if it is worth it.
    pub(crate) fn ending_of(
        &self,
        append: usize,
        position: Position,
        value: &[u8],
    ) -> Option<Ending> {
        let back = position.checked_sub(self.position)?;
        if append != self.append || back == 0 || back > REACH {
            return None;
        }
        let bytes = common(self.value, value);
        (bytes >= WORTH_BYTES).then_some(Ending { back, bytes })
    }
}

/// How many bytes are the same at both ends.
fn common(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.rchunks_exact(STEP).zip(b.rchunks_exact(STEP));
    let whole = steps.take_while(|(a, b)| a == b).count() * STEP;
    let (a, b) = (&a[..a.len() - whole], &b[..b.len() - whole]);
    let rest = a.iter().rev().zip(b.iter().rev());
    whole + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: Whole<'_> = Whole {
        append: 1,
        position: 10,
        value: &[7; 1000],
    };

    #[test]
    fn only_a_later_value_of_the_same_append_within_reach_has_its_end_elsewhere() {
        let of = |append, position| WHOLE.ending_of(append, position, &[7; 400]);
        let ending = |back| Some(Ending { back, bytes: 400 });
        assert_eq!(of(1, 11), ending(1));
        assert_eq!(of(1, 10 + REACH), ending(REACH));
        assert_eq!(of(1, 11 + REACH), None);
        assert_eq!(of(1, 10), None);
        assert_eq!(of(1, 9), None);
        assert_eq!(of(2, 11), None);
    }

    #[test]
    fn a_short_common_end_is_not_worth_it() {
        let of = |bytes| WHOLE.ending_of(1, 11, &vec![7; bytes]);
        assert_eq!(of(WORTH_BYTES - 1), None);
        assert_eq!(of(0), None);
        assert!(of(WORTH_BYTES).is_some());
    }

    proptest! {
        #[test]
        fn the_common_end_is_as_long_as_it_can_be(
            a in proptest::collection::vec(0_u8..3, 0..200),
            b in proptest::collection::vec(0_u8..3, 0..200),
            end in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let with = |begin: &[u8]| [begin, &end].concat();
            let (a, b) = (with(&a), with(&b));
            let same = common(&a, &b);
            prop_assert!(same >= end.len());
            prop_assert_eq!(&a[a.len() - same..], &b[b.len() - same..]);
            if let (Some(next_a), Some(next_b)) = (
                a.len().checked_sub(same + 1).map(|at| a[at]),
                b.len().checked_sub(same + 1).map(|at| b[at]),
            ) {
                prop_assert_ne!(next_a, next_b);
            }
        }
    }
}
