//! Whose turn it is, among topics that are read by weight.

/// Deals turns to the topics of a subscription in proportion to their weights.
///
/// A topic that has nothing gives its turn away at once and saves nothing up, so no topic waits for an empty one and
/// none comes back with a claim on everything. Adapters share it, so that a weight means the same on each.
#[derive(Debug, Clone)]
pub struct Turns {
    /// Records that each may give in one turn; at least 1.
    quanta: Vec<u32>,
    /// Whose turn it is.
    at: usize,
    /// What is left of it, in records.
    left: u32,
}

impl Turns {
    /// Turns of `weight × scale` records: a larger `scale` changes between topics less often.
    pub fn new(weights: impl IntoIterator<Item = u32>, scale: u32) -> Self {
        let quanta: Vec<u32> = weights
            .into_iter()
            .map(|weight| weight.max(1).saturating_mul(scale.max(1)))
            .collect();
        let left = quanta.first().copied().unwrap_or(0);
        Self {
            quanta,
            at: 0,
            left,
        }
    }

    /// The topic, by its index, whose turn it is among those that are `ready`, and how many records it may give; none
    /// if none is ready.
    pub fn deal(&mut self, ready: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        for _ in 0..=self.quanta.len() {
            if self.left > 0 && ready(self.at) {
                return Some((self.at, self.left as usize));
            }
            self.pass();
        }
        None
    }

    /// The topic whose turn it is gave this many records.
    pub fn took(&mut self, records: usize) {
        self.left = self
            .left
            .saturating_sub(u32::try_from(records).unwrap_or(u32::MAX));
    }

    fn pass(&mut self) {
        self.at = (self.at + 1) % self.quanta.len().max(1);
        self.left = self.quanta.get(self.at).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal(turns: &mut Turns, rounds: usize, ready: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut counts = vec![0; turns.quanta.len()];
        for _ in 0..rounds {
            let (at, _) = turns.deal(&ready).expect("one is ready");
            turns.took(1);
            counts[at] += 1;
        }
        counts
    }

    #[test]
    fn records_are_dealt_in_proportion_to_the_weights() {
        let mut turns = Turns::new([6, 3, 1], 1);
        assert_eq!(deal(&mut turns, 1000, |_| true), [600, 300, 100]);
    }

    #[test]
    fn an_empty_topic_holds_nobody_up_and_saves_nothing_up() {
        let mut turns = Turns::new([6, 3, 1], 1);
        assert_eq!(deal(&mut turns, 10, |at| at == 2), [0, 0, 10]);
        assert_eq!(deal(&mut turns, 10, |_| true), [6, 3, 1]);
    }

    #[test]
    fn where_nothing_is_ready_nobody_has_a_turn() {
        assert!(Turns::new([1, 2], 1).deal(|_| false).is_none());
        assert!(Turns::new([], 1).deal(|_| true).is_none());
    }
}
