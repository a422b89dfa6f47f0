//! What every database's store counts in the same way.

use std::time::Instant;

use postrider_store::StoreError;

use crate::StoreMetrics;
use crate::columns::Columns;
use crate::metrics::{Failure, Operation, Skipped};

impl StoreMetrics {
    /// Carries `work` out, and counts how long it took and what it failed with.
    pub(crate) async fn timed<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = work.await;
        let seconds = self.operations.of(operation);
        seconds.observe_duration(began.elapsed());
        if let Err(error) = &result {
            self.failures.of(kind_of(error)).inc();
        }
        result
    }

    /// What `rows` say. Those that cannot be read are left out.
    pub(crate) fn readable<R: Columns, T>(
        &self,
        kind: Skipped,
        rows: &[R],
        read: impl Fn(&R) -> Result<T, StoreError>,
    ) -> Vec<T> {
        let one = |row: &R| {
            let read = read(row);
            read.inspect_err(|error| self.skip(kind, row, error)).ok()
        };
        rows.iter().filter_map(one).collect()
    }

    /// Says which row cannot be read and is left out.
    pub(crate) fn skip(&self, kind: Skipped, row: &impl Columns, error: &StoreError) {
        let id = match kind {
            Skipped::EventType => row.text("name").ok().flatten().map(str::to_owned),
            _ => row.blob("id").ok().flatten().map(hex),
        };
        let id = id.unwrap_or_default();
        tracing::error!(?kind, id, %error, "left out: a stored row that cannot be read");
        self.skipped.of(kind).inc();
    }
}

/// As SQL writes bytes, so that the row can be found.
pub(crate) fn hex(id: &[u8]) -> String {
    let digits: String = id.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("x'{digits}'")
}

fn kind_of(error: &StoreError) -> Failure {
    match error {
        StoreError::Conflict(_) => Failure::Conflict,
        StoreError::NotFound(_) => Failure::NotFound,
        StoreError::Refused(_) => Failure::Refused,
        StoreError::Unreadable(_) => Failure::Unreadable,
        StoreError::Unavailable(_) => Failure::Unavailable,
        StoreError::Damaged(_) => Failure::Damaged,
    }
}
