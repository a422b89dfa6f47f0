//! Bodies on their way, of all connections together: what they hold in memory is bounded.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Of what is larger a part of the budget is kept free, so that small bodies are still taken while large ones that do not
/// end have the rest.
const SMALL_BYTES: usize = 16 << 10;

/// What bodies that have come in part may hold together, in bytes. Clones share it.
///
/// A body that comes as a whole takes nothing of it, however many there are: it is here for a moment only.
#[derive(Clone)]
pub struct BodyBudget(Arc<Bytes>);

struct Bytes {
    all: Semaphore,
    /// What those above [`SMALL_BYTES`] may hold.
    large: Semaphore,
}

impl BodyBudget {
    /// A budget of so many bytes; a quarter of it is for small bodies alone.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Bytes {
            all: Semaphore::new(bytes),
            large: Semaphore::new(bytes - bytes / 4),
        }))
    }

    /// What one body holds: nothing yet.
    pub(crate) fn hold(&self) -> Hold<'_> {
        Hold {
            budget: &self.0,
            bytes: 0,
            large: 0,
        }
    }

    /// Bytes that are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.0.all.available_permits()
    }
}

impl Default for BodyBudget {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl fmt::Debug for BodyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.0.all.available_permits();
        f.debug_struct("BodyBudget").field("free", &free).finish()
    }
}

/// What one body holds, until it is dropped.
pub(crate) struct Hold<'b> {
    budget: &'b Bytes,
    bytes: usize,
    large: usize,
}

impl Hold<'_> {
    /// Sees that it covers so many bytes. False if the budget has no room for them.
    pub(crate) fn cover(&mut self, bytes: usize) -> bool {
        let large = if bytes > SMALL_BYTES { bytes } else { 0 };
        take(&self.budget.large, &mut self.large, large)
            && take(&self.budget.all, &mut self.bytes, bytes)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.budget.all.add_permits(self.bytes);
        self.budget.large.add_permits(self.large);
    }
}

fn take(of: &Semaphore, held: &mut usize, wanted: usize) -> bool {
    let Some(more) = wanted.checked_sub(*held).filter(|more| *more > 0) else {
        return true;
    };
    // No body is that large: it would have no room either.
    let taken = u32::try_from(more).is_ok_and(|more| match of.try_acquire_many(more) {
        Ok(permits) => {
            permits.forget();
            true
        }
        Err(_) => false,
    });
    *held += if taken { more } else { 0 };
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_a_quarter_to_small_ones_and_all_is_given_back() {
        let budget = BodyBudget::new(1 << 20);
        let mut large: Vec<_> = (0..4).map(|_| budget.hold()).collect();
        let covered: Vec<_> = large.iter_mut().map(|hold| hold.cover(250 << 10)).collect();
        assert_eq!(covered, [true, true, true, false]);
        let mut small: Vec<_> = (0..20).map(|_| budget.hold()).collect();
        assert!(small.iter_mut().all(|hold| hold.cover(SMALL_BYTES / 2)));
        // What is held already is not taken twice, and one that grows is a large one.
        assert!(large[0].cover(100 << 10) && large[0].cover(250 << 10));
        assert!(!small[0].cover(SMALL_BYTES * 2));
        drop((large, small));
        assert_eq!(budget.free(), 1 << 20);
    }
}
