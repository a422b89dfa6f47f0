//! Who wants what, with which policy and token: the configuration in memory, kept current from the store.
//!
//! **In → out.** The store's feed of changes in; a [`Snapshot`] out, which readers take without a lock, and which a
//! [`Keeper`] keeps in a sealed file.
//!
//! **Invariants.** A refresh applies every change that was visible when it began. A snapshot never changes; the next one
//! shares all that stayed the same. One refresh runs at a time, and serves all who asked before it began.
//!
//! **Authority.** The store. What is here is read again at the start; until the first read has succeeded there is no
//! registry, unless one is restored from a file, which goes on as it was when it was saved.
//!
//! **Failure.** With the store down the last snapshot goes on and grows old, and [`Registry::age`] says how old. What is not
//! in it is then [`Found::Unknown`], which is no verdict: not 401, not 404.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod away;
mod keeper;
#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod memory_tests;
mod metrics;
mod registry;
mod saved;
mod snapshot;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use away::AWAY_AFTER;
pub use keeper::Keeper;
pub use metrics::{KeeperMetrics, RegistryMetrics};
pub use registry::{AuthError, Found, Registry};
pub use saved::{Saved, SavedError, SealKey, SnapshotFile};
pub use snapshot::Snapshot;
