//! Why there is no snapshot to go on with.

use std::io;
use std::time::Duration;

/// Why a snapshot cannot be used. Whoever starts without the store then waits for it.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// None was written yet.
    #[error("there is none yet")]
    Missing,
    /// The file system said no.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
    /// Something else.
    #[error("it is no snapshot of Postrider's configuration")]
    Stranger,
    /// Another version of Postrider wrote it.
    #[error("its format is {0}, and this program reads format {known} alone", known = super::FORMAT)]
    Format(u16),
    /// Another key.
    #[error("it was sealed with another key than registry.snapshot_key")]
    OtherKey,
    /// It was torn, or somebody changed it.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is of another database.
    #[error("it is of the database {found}, and store.url names {expected}")]
    OtherStore {
        /// Whose it is.
        found: String,
        /// Whose it would have to be.
        expected: String,
    },
    /// Nobody knows what happened since.
    #[error("it is {}s old, and registry.snapshot_max_age is {}s", .age.as_secs(), .bears.as_secs())]
    Old {
        /// Its age.
        age: Duration,
        /// How old it may be.
        bears: Duration,
    },
}

impl SavedError {
    /// What an error while the sealed content is read means.
    pub(super) fn of_content(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}
