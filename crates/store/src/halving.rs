//! Finding the one row that the store refuses among many that it takes.

use std::ops::Range;

/// Writes `len` items in parts. A part that is refused is halved, until the item that is refused stands alone.
///
/// Write the items of [`Halving::part`], then say how it went. With one bad item among n, about 2·log2(n) parts are
/// written.
#[derive(Debug, Clone)]
pub struct Halving {
    /// What is left, the next part last.
    parts: Vec<Range<usize>>,
}

impl Halving {
    /// All items in one part.
    pub fn over(len: usize) -> Self {
        Self {
            parts: (len > 0).then_some(0..len).into_iter().collect(),
        }
    }

    /// The items to write now, by their indices; `None` when nothing is left.
    pub fn part(&self) -> Option<Range<usize>> {
        self.parts.last().cloned()
    }

    /// The part was written.
    pub fn written(&mut self) {
        self.parts.pop();
    }

    /// The part was refused. Returns the item that the store will never take, once it stood alone.
    pub fn refused(&mut self) -> Option<usize> {
        let part = self.part()?;
        if part.len() <= 1 {
            self.parts.pop();
            return Some(part.start);
        }
        self.halve();
        None
    }

    /// The part is to be tried again, and may have been too much for the time that it had: half of it first, and the more
    /// after that, the more was written.
    pub fn halve(&mut self) {
        let Some(part) = self.parts.pop() else {
            return;
        };
        let middle = part.start + part.len() / 2;
        if part.len() > 1 {
            self.parts.push(middle..part.end);
        }
        self.parts.push(part.start..middle.max(part.start + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_good_item_is_written_once_and_every_bad_one_stands_alone(
            bad in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut halving = Halving::over(bad.len());
            let (mut written, mut set_aside) = (Vec::new(), BTreeSet::new());
            while let Some(part) = halving.part() {
                if part.clone().any(|item| bad[item]) {
                    set_aside.extend(halving.refused());
                } else {
                    written.extend(part);
                    halving.written();
                }
            }
            let expected: Vec<usize> = (0..bad.len()).filter(|item| !bad[*item]).collect();
            prop_assert_eq!(written, expected);
            prop_assert!(set_aside.into_iter().eq((0..bad.len()).filter(|item| bad[*item])));
        }
    }

    #[test]
    fn what_is_tried_again_gets_smaller_to_one_item_and_grows_with_what_is_written() {
        let mut halving = Halving::over(16);
        let mut sizes = Vec::new();
        for _ in 0..6 {
            sizes.push(halving.part().unwrap().len());
            halving.halve();
        }
        assert_eq!(sizes, [16, 8, 4, 2, 1, 1]);
        let mut written = Vec::new();
        while let Some(part) = halving.part() {
            written.push(part);
            halving.written();
        }
        assert_eq!(written, [0..1, 1..2, 2..4, 4..8, 8..16]);
    }

    #[test]
    fn one_bad_item_among_a_thousand_costs_about_twenty_writes() {
        let mut halving = Halving::over(1000);
        let mut writes = 0;
        while let Some(part) = halving.part() {
            writes += 1;
            if part.contains(&337) {
                halving.refused();
            } else {
                halving.written();
            }
        }
        assert!(writes <= 22, "{writes} writes");
    }
}
