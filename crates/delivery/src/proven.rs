//! Endpoints that answered when they were last tried, and have no lane any more.

use std::collections::HashMap;

use postrider_model::{EndpointId, Partition};

/// So many are remembered at least, the latest (some 25 bytes each).
const REMEMBERED: usize = 50_000;

/// Without this memory, a healthy endpoint with an event an hour would stand among the untried each time, behind
/// thousands that hang. Two generations, so that it is bounded without an order kept for each.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    young: HashMap<EndpointId, Partition>,
    old: HashMap<EndpointId, Partition>,
}

impl Proven {
    /// Remembers one, whose deliveries lie in `partition`.
    pub(crate) fn insert(&mut self, id: EndpointId, partition: Partition) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, partition);
    }

    /// True if it answered.
    pub(crate) fn contains(&self, id: EndpointId) -> bool {
        self.young.contains_key(&id) || self.old.contains_key(&id)
    }

    /// Keeps only those whose deliveries lie where `keep` says.
    pub(crate) fn retain(&mut self, keep: impl Fn(Partition) -> bool) {
        for generation in [&mut self.young, &mut self.old] {
            generation.retain(|_, partition| keep(*partition));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_memory_is_bounded() {
        let id = |n: usize| EndpointId::derive(&[&n.to_be_bytes()]);
        let mut proven = Proven::default();
        (0..4 * REMEMBERED).for_each(|n| proven.insert(id(n), 0));
        assert!((3 * REMEMBERED..4 * REMEMBERED).all(|n| proven.contains(id(n))));
        assert!(!proven.contains(id(0)));
        assert!(proven.young.len() + proven.old.len() <= 2 * REMEMBERED);
    }
}
