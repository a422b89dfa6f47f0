//! Endpoints that answered when they were last tried, and have no lane any more.

use std::collections::HashSet;

use postrider_model::EndpointId;

/// So many are remembered at least, the latest (some 20 bytes each).
const REMEMBERED: usize = 50_000;

/// Without this memory, a healthy endpoint with an event an hour would stand among the untried each time, behind
/// thousands that hang. Two generations, so that it is bounded without an order kept for each.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    young: HashSet<EndpointId>,
    old: HashSet<EndpointId>,
}

impl Proven {
    /// Remembers one.
    pub(crate) fn insert(&mut self, id: EndpointId) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id);
    }

    /// True if it answered.
    pub(crate) fn contains(&self, id: EndpointId) -> bool {
        self.young.contains(&id) || self.old.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_memory_is_bounded() {
        let id = |n: usize| EndpointId::derive(&[&n.to_be_bytes()]);
        let mut proven = Proven::default();
        (0..4 * REMEMBERED).for_each(|n| proven.insert(id(n)));
        assert!((3 * REMEMBERED..4 * REMEMBERED).all(|n| proven.contains(id(n))));
        assert!(!proven.contains(id(0)));
        assert!(proven.young.len() + proven.old.len() <= 2 * REMEMBERED);
    }
}
