//! Who wants what, with which policy and token: the configuration in memory, kept current from the store.
//!
//! **In → out.** The store's feed of changes in; a [`Snapshot`] out, which readers take without a lock.
//!
//! **Invariants.** A refresh applies every change that was visible when it began. A snapshot never changes; the next one
//! shares all that stayed the same. One refresh runs at a time, and serves all who asked before it began.
//!
//! **Authority.** The store. What is here survives nothing and is read again at the start; until the first read has
//! succeeded there is no registry.
//!
//! **Failure.** With the store down the last snapshot goes on and grows old, and [`Registry::age`] says how old. What is not
//! in it is then [`Found::Unknown`], which is no verdict: not 401, not 404.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

#[cfg(test)]
mod memory_tests;
mod metrics;
mod registry;
mod snapshot;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use metrics::RegistryMetrics;
pub use registry::{AuthError, Found, Registry};
pub use snapshot::Snapshot;
