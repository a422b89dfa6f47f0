//! One process at a time: a lock on a file beside the log, which the system gives back when its owner dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_model::is_held;

use crate::OpenError;

const LOCK: &str = "log.lock";

/// How long a lock is waited for: one that was just given up may still be held for a moment, by a process that its
/// owner was starting just then and that has not yet closed what it inherited. Nor does one who only looks hold it longer.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(20);

/// Payloads are nobody else's to read.
pub(crate) const PRIVATE: u32 = 0o600;

/// Takes the data directory for as long as the file is open.
pub(crate) fn take(dir: &Path) -> Result<Arc<File>, OpenError> {
    let path = dir.join(LOCK);
    let failed = |source| OpenError::io(&path)(source);
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(&path)
        .map_err(failed)?;
    match try_for(&file, PATIENCE) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Only for the error's text.
            let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            let owner = match known {
                true => format!(" (process {})", owner.trim()),
                false => String::new(),
            };
            let dir = dir.to_owned();
            return Err(OpenError::InUse { dir, owner });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let written = file.set_len(0).and_then(|()| file.rewind());
    written
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(Arc::new(file))
}

/// Whether a process has the data directory just now. Nothing is made or changed.
pub(crate) fn is_taken(dir: &Path) -> bool {
    is_held(&dir.join(LOCK))
}

fn try_for(file: &File, patience: Duration) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                std::thread::sleep(AGAIN);
            }
            tried => return tried,
        }
    }
}
