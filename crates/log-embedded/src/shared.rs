//! What the log's threads and its callers share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_log::LogError;
use postrider_model::Clock;
use tokio::sync::{Notify, watch};

use crate::LogMetrics;
use crate::catalog::Catalog;
use crate::checkpoint::Checkpoints;
use crate::disk::ReadPool;
use crate::queue::Queue;
use crate::shortage::Told;
use crate::state::State;
use crate::syncer::Syncs;

/// What the log's threads and its callers share.
pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    pub(crate) record_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: LogMetrics,
    pub(crate) file: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) queue: Queue,
    pub(crate) syncs: Syncs,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) disk: ReadPool,
    /// Whether new work is refused for want of space.
    pub(crate) shortage: Told,
    /// Says that some group has finished something, or that the log has stopped.
    pub(crate) progress: watch::Sender<()>,
    state: Mutex<State>,
}

/// The parts of [`Shared`] that are made elsewhere.
pub(crate) struct Parts {
    pub(crate) catalog: Catalog,
    pub(crate) state: State,
    pub(crate) file: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) disk: ReadPool,
}

impl Shared {
    pub(crate) fn new(parts: Parts, options: &crate::Options) -> Self {
        Self {
            catalog: parts.catalog,
            record_bytes: options.record_bytes,
            clock: Arc::clone(&options.clock),
            metrics: options.metrics.clone(),
            file: parts.file,
            wal: parts.wal,
            queue: Queue::new(options.queue_bytes),
            syncs: Syncs::default(),
            checkpoints: Checkpoints::default(),
            disk: parts.disk,
            shortage: Told::default(),
            progress: watch::Sender::new(()),
            state: Mutex::new(parts.state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the log for everybody, for good: what waits and what comes is told why. After an error that leaves open
    /// what is on disk, nothing may be tried again.
    pub(crate) fn stop(&self, reason: &str) {
        let mut wake: Vec<Arc<Notify>> = Vec::new();
        {
            let mut state = self.state();
            state.stop(reason);
            state.everybody(&mut wake);
        }
        let stopped = || Err(LogError::Stopped(reason.to_owned()));
        for request in self.queue.abandon() {
            // Whoever asked may have gone.
            let _ = request.reply.send(stopped());
        }
        self.syncs.stop(reason);
        self.checkpoints.close();
        wake.iter().for_each(|reader| reader.notify_one());
        self.progress.send_replace(());
    }

    /// The same because of an error.
    pub(crate) fn fail(&self, doing: &str, error: &(dyn std::error::Error + 'static)) {
        let reason = crate::error::stopped(doing, &self.file, error);
        tracing::error!(reason, "the log has stopped");
        self.metrics.stopped.set(1);
        self.stop(&reason);
    }

    /// Bytes of the log's files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        // By name: a file handle of our own on `log.db` would drop SQLite's locks when it is closed.
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        size(&self.file) + size(&self.wal)
    }
}
