//! What an open file was found to be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use postrider_store::StoreError;

use crate::error::REMEDY;

/// Whether a file was found damaged since it was opened. It stays so until it is opened again: no page that can be read
/// says anything of those that cannot.
#[derive(Debug, Clone)]
pub struct Damage(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    path: PathBuf,
    found: OnceLock<String>,
}

impl Damage {
    /// Of the file at `path`, of which nothing bad is known.
    pub(super) fn of(path: &Path) -> Self {
        Self(Arc::new(Seen {
            path: path.to_owned(),
            found: OnceLock::new(),
        }))
    }

    /// What was found first, and what to do about it.
    pub fn found(&self) -> Option<&str> {
        self.0.found.get().map(String::as_str)
    }

    /// The error of a call, which says which file it is and what to do where that is damaged.
    pub(super) fn seen(&self, error: StoreError) -> StoreError {
        let StoreError::Damaged(why) = error else {
            return error;
        };
        let words = format!("{} ({why}). {REMEDY}", self.0.path.display());
        self.0.found.get_or_init(|| {
            tracing::error!("the store is damaged: {words}");
            words.clone()
        });
        StoreError::Damaged(words)
    }
}
