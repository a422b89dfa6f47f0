//! A store in memory, with switches for what goes wrong with real ones.

mod config;
mod dead_letters;
mod history;
mod idempotency;
mod paging;
mod replays;
mod timeline;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use postrider_model::{Attempt, DeadLetter, Event, EventId, Fanout};
use tokio::sync::watch;

use crate::{Closing, StoreError, StoreId};

/// A store in memory. Its clones are the same store; dropping them all is the end of it.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    id: StoreId,
    available: AtomicBool,
    refuses: Mutex<Option<Predicate>>,
    spoiled: Mutex<HashSet<[u8; 16]>>,
    state: Mutex<State>,
    /// Whether listings wait.
    held: watch::Sender<bool>,
    /// Listings that were asked for.
    listings: AtomicUsize,
}

type Predicate = Box<dyn Fn(Row<'_>) -> bool + Send>;

/// A row that is about to be written, for [`MemoryStore::refuse`].
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// An archived event.
    Event(&'a Event),
    /// Whom an event went to.
    Fanout(&'a Fanout),
    /// An attempt.
    Attempt(&'a Attempt),
    /// A dead letter.
    DeadLetter(&'a DeadLetter),
}

#[derive(Default)]
struct State {
    config: config::Config,
    history: history::Archive,
    dead_letters: dead_letters::Letters,
    replays: replays::Queue,
    claims: idempotency::Held,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store, with an id of its own.
    pub fn new() -> Self {
        let shared = Shared {
            id: StoreId(*EventId::new().as_bytes()),
            available: AtomicBool::new(true),
            refuses: Mutex::new(None),
            spoiled: Mutex::default(),
            state: Mutex::default(),
            held: watch::Sender::default(),
            listings: AtomicUsize::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// While not available, every call returns `Unavailable` and does nothing. Closing it switches it off.
    pub fn set_available(&self, available: bool) {
        self.shared.available.store(available, Ordering::SeqCst);
    }

    /// While held, listings of events, attempts and dead letters, and counts of those, wait.
    pub fn hold_listings(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// From now on a batch with a row for which `predicate` is true is `Refused`, as a real store does with content that
    /// it can never hold.
    pub fn refuse(&self, predicate: impl Fn(Row<'_>) -> bool + Send + 'static) {
        *lock(&self.shared.refuses) = Some(Box::new(predicate));
    }

    /// From now on reading the endpoint, the attempt or the dead letter of this id is `Unreadable`, as it is with a row
    /// that a real store cannot read. Listings of attempts and dead letters leave it out.
    pub fn spoil(&self, id: [u8; 16]) {
        lock(&self.shared.spoiled).insert(id);
    }

    /// How many listings of events, attempts and dead letters, and counts of those, were asked for.
    pub fn listings(&self) -> usize {
        self.shared.listings.load(Ordering::SeqCst)
    }

    fn is_spoiled(&self, id: &[u8; 16]) -> bool {
        lock(&self.shared.spoiled).contains(id)
    }

    fn check_readable(&self, id: &[u8; 16]) -> Result<(), StoreError> {
        if self.is_spoiled(id) {
            return Err(StoreError::Unreadable("the test has spoiled it".into()));
        }
        Ok(())
    }

    /// As [`Self::state`], once listings are not held.
    async fn listing(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        self.shared.listings.fetch_add(1, Ordering::SeqCst);
        let mut held = self.shared.held.subscribe();
        // What is waited for outlives the wait.
        let _ = held.wait_for(|held| !held).await;
        self.state()
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        if self.shared.available.load(Ordering::SeqCst) {
            Ok(lock(&self.shared.state))
        } else {
            Err(StoreError::Unavailable(
                "the test has switched it off".into(),
            ))
        }
    }

    fn check<'a>(&self, mut rows: impl Iterator<Item = Row<'a>>) -> Result<(), StoreError> {
        let refuses = lock(&self.shared.refuses);
        let refused = rows.any(|row| {
            refuses.as_ref().is_some_and(|refuses| refuses(row)) || number_too_large(row)
        });
        if refused {
            return Err(StoreError::Refused("a row that cannot be kept".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Closing for MemoryStore {
    async fn close(&self) {
        self.set_available(false);
    }
}

/// Real stores have no unsigned numbers of 64 bits.
fn number_too_large(row: Row<'_>) -> bool {
    let number = match row {
        Row::Attempt(attempt) => attempt.generation,
        Row::DeadLetter(letter) => letter.delivery.generation,
        Row::Event(_) | Row::Fanout(_) => 0,
    };
    i64::try_from(number).is_err()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}
