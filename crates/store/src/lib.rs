//! The port to the store: configuration and its feed, history, dead letters and replays, idempotency.
//!
//! **In → out.** Small traits by use, so that a service asks only for what it needs; [`Store`] is all of them.
//!
//! **Invariants.** Every change of configuration gets a version, larger than all before; the feed shows each change
//! once it is visible, and never hides one behind a later one. Writing history or a dead letter twice is harmless.
//! What returns `Ok` would survive loss of power.
//!
//! **Authority.** The store is the truth of configuration, history and dead letters; never of what is in flight: it is
//! not on the path of a delivery.
//!
//! **Failure.** [`StoreError`] is divided by what the caller does next: answer, set the row aside, or try later.

mod config;
mod dead_letters;
mod error;
mod halving;
mod history;
mod idempotency;
mod page;
mod patience;
#[cfg(feature = "testing")]
pub mod testing;
mod turns;

use async_trait::async_trait;

pub use config::{
    Application, ApplicationRef, Applications, Change, Changes, ConfigFeed, EndpointRef, Endpoints,
    EventTypeInfo, EventTypes, StoreId, TokenRecord, TokenScope, Tokens, all_tokens, revoke_token,
};
pub use dead_letters::{
    DeadLetterFilter, DeadLetters, Deleted, Replay, ReplayStatus, ReplayStep, Replays, Selection,
    StoredDeadLetter,
};
pub use error::StoreError;
pub use halving::Halving;
pub use history::{
    AttemptFilter, EncodedAttempt, EventFilter, EventRef, FannedOut, History, HistoryBatch,
    StatusFilter, Tried,
};
pub use idempotency::{Claim, Claims};
pub use page::{HistoryKey, Order, Page, PageStart};
pub use patience::{Patience, Stopped, Writing};
pub use turns::in_turn;

/// The end of a store.
#[async_trait]
pub trait Closing: Send + Sync + 'static {
    /// Ends the store once what is under way is finished, and leaves what it holds where it belongs: SQLite in its one file.
    /// Later calls return [`StoreError::Unavailable`]. What ends without it loses nothing.
    async fn close(&self);
}

/// All that a store does.
pub trait Store:
    Applications
    + Endpoints
    + EventTypes
    + Tokens
    + ConfigFeed
    + History
    + DeadLetters
    + Replays
    + Claims
    + Closing
{
}

impl<S> Store for S where
    S: Applications
        + Endpoints
        + EventTypes
        + Tokens
        + ConfigFeed
        + History
        + DeadLetters
        + Replays
        + Claims
        + Closing
{
}
