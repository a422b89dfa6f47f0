//! Whether the store is worth waiting for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A store that takes longer than this to say what has changed counts as away.
pub const AWAY_AFTER: Duration = Duration::from_secs(1);

/// How the refreshes end.
#[derive(Default)]
pub(crate) struct Away {
    /// The newest refresh failed, or was given up after [`AWAY_AFTER`].
    failed: AtomicBool,
    /// When the one that is out was begun.
    out_since: Mutex<Option<Instant>>,
}

impl Away {
    pub(crate) fn is_away(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
            || self
                .out_since()
                .is_some_and(|since| since.elapsed() >= AWAY_AFTER)
    }

    /// One refresh begins; there is no other.
    pub(crate) fn begin(&self) -> Out<'_> {
        *self.out_since() = Some(Instant::now());
        Out(self)
    }

    fn out_since(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing in here panics halfway through a change.
        self.out_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A refresh that is out. Whoever waits for it may give it up, which drops this.
pub(crate) struct Out<'a>(&'a Away);

impl Out<'_> {
    pub(crate) fn ended(self, well: bool) {
        *self.0.out_since() = None;
        self.0.failed.store(!well, Ordering::Relaxed);
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        let since = self.0.out_since().take();
        if since.is_some_and(|since| since.elapsed() >= AWAY_AFTER) {
            self.0.failed.store(true, Ordering::Relaxed);
        }
    }
}
