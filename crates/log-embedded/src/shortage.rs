//! Says once that there is no space for new work, and once that there is again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a write that found the disk full stands for the disk: quotas and the like are not told beforehand.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Why new work is refused at present, for whoever asks.
#[derive(Default)]
pub(crate) struct Told(Mutex<Option<String>>);

impl Told {
    pub(crate) fn why(&self) -> Option<String> {
        // An assignment cannot be left half done.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// The writer's own knowledge of it.
#[derive(Default)]
pub(crate) struct Shortage {
    is_told: bool,
    /// When a write found the disk full, and nothing had told it before.
    found_full: Option<Instant>,
}

impl Shortage {
    /// The space was asked for: `why` there is too little, or none.
    pub(crate) fn asked(&mut self, told: &Told, why: Option<String>) {
        let lately = self.found_full.is_some_and(|at| at.elapsed() < REMEMBERED);
        match why {
            Some(why) => self.tell(told, why),
            None if lately => {}
            None if self.is_told => {
                self.is_told = false;
                self.found_full = None;
                told.set(None);
                tracing::info!("there is space again, and new events are taken");
            }
            None => {}
        }
    }

    /// A write found the disk full.
    pub(crate) fn found(&mut self, told: &Told, why: String) {
        self.found_full = Some(Instant::now());
        self.tell(told, why);
    }

    fn tell(&mut self, told: &Told, why: String) {
        if !self.is_told {
            self.is_told = true;
            tracing::warn!("no new events are taken: {why}");
        }
        told.set(Some(why));
    }
}
