//! A request that may be given up before it is answered.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;

use crate::IngestMetrics;
use crate::metrics::Reason;

/// It is still being sent: who goes away now never asked.
const COMES: u8 = 0;
/// It is here whole, and whoever sent it waits for us.
const WAITS: u8 = 1;
const ANSWERED: u8 = 2;

/// One request. Its future is dropped where its client closes the connection and where `http.request_timeout` ends it, so
/// that only a value that goes with it can count that nobody got an answer.
pub(crate) struct Asked<'a> {
    pub(crate) began: Instant,
    metrics: &'a IngestMetrics,
    /// Only ever looked at by whoever polls the request.
    stage: AtomicU8,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(metrics: &'a IngestMetrics) -> Self {
        Self {
            began: Instant::now(),
            metrics,
            stage: AtomicU8::new(COMES),
        }
    }

    /// From now on it is we who are waited for.
    pub(crate) fn is_here(&self) {
        self.stage.store(WAITS, Ordering::Relaxed);
    }

    pub(crate) fn is_answered(&self) {
        self.stage.store(ANSWERED, Ordering::Relaxed);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if *self.stage.get_mut() == WAITS {
            self.metrics.rejected.of(Reason::Abandoned).inc();
        }
    }
}
