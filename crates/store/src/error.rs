//! What can go wrong, divided by what the caller does next.

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another thing has that name already, or it changed since it was read: tell the user, or read it again.
    #[error("{0}")]
    Conflict(String),
    /// What the call refers to is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The store will never take this content, or cannot be asked so. Set it aside.
    #[error("the store refuses this: {0}")]
    Refused(String),
    /// What was asked for is there, and cannot be read: now or ever, until somebody mends it. Go past it.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
    /// The store cannot be reached or is busy. Try again later; the same call may have been carried out.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What the store is kept in is damaged, which only an operator can mend: say so. What must not be lost waits, as for one
    /// that cannot be reached.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}
