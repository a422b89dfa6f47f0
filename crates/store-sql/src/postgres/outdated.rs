//! Connections whose prepared statements were made for an older schema. A statement that asks for all columns of a table
//! fails from the moment on in which the table has another, and would do so for as long as its connection lasts: after the
//! first failure every connection of before is closed instead of used, and new ones prepare anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a statement was last found outdated. Shared by the pools of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Outdated(Arc<Mutex<Option<Instant>>>);

impl Outdated {
    /// One was found just now.
    pub(super) fn found(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age was there when it happened.
    pub(super) fn includes(&self, age: Duration) -> bool {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| age > at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_of_before_are_outdated() {
        let outdated = Outdated::default();
        assert!(!outdated.includes(Duration::from_secs(3600)));
        outdated.found();
        assert!(outdated.includes(Duration::from_secs(3600)));
        assert!(!outdated.includes(Duration::ZERO));
    }
}
