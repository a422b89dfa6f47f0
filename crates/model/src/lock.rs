//! Whether a process has what belongs to one process at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Whether a process holds this lock file just now. Nothing is made or changed. Whoever takes it just while this looks finds it
/// held for a moment, and has to try again.
pub fn is_held(lock: &Path) -> bool {
    File::open(lock)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
