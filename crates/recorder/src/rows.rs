//! What the records of a batch say, as rows for the store. Pure.

use std::ops::Range;

use postrider_model::{Event, EventOrigin, Fanout, Malformed, Record, topics};
use postrider_store::{EncodedAttempt, HistoryBatch};

/// Rows, and which record each came from.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) history: HistoryBatch,
    events_from: Vec<usize>,
    fanouts_from: Vec<usize>,
    attempts_from: Vec<usize>,
    /// Records that cannot be read.
    pub(crate) malformed: Vec<(usize, Malformed)>,
}

impl Rows {
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut rows = Self::default();
        // Most are attempts.
        rows.history.attempts.reserve(records.len());
        rows.attempts_from.reserve(records.len());
        for (index, record) in records.iter().enumerate() {
            if let Err(malformed) = rows.add(index, record) {
                rows.malformed.push((index, malformed));
            }
        }
        rows
    }

    /// What producers wrote straight to `events` is not read here: fan-out judges it, and writes what it takes as our own
    /// record into `fanouts`.
    fn add(&mut self, index: usize, record: &Record) -> Result<(), Malformed> {
        if record.at.topic == topics::ATTEMPTS {
            let attempt = EncodedAttempt::decode(&record.value)?;
            self.history.attempts.push(attempt);
            self.attempts_from.push(index);
        } else if record.at.topic == topics::FANOUTS && !Event::is_own(record) {
            self.history.fanouts.push(Fanout::decode(&record.value)?);
            self.fanouts_from.push(index);
        } else if Event::is_own(record) {
            let event = Event::from_record(record)?;
            // The other records of an event are fan-out's notes to itself.
            if event.origin == EventOrigin::Accepted {
                self.history.events.push(event);
                self.events_from.push(index);
            }
        }
        Ok(())
    }

    /// The record that a row came from: events, then fan-outs, then attempts.
    pub(crate) fn source(&self, row: usize) -> usize {
        let sources = self.events_from.iter().chain(&self.fanouts_from);
        let mut sources = sources.chain(&self.attempts_from);
        sources.nth(row).copied().unwrap_or_default()
    }

    /// Some of the rows, in the same order.
    pub(crate) fn part(&self, rows: &Range<usize>) -> HistoryBatch {
        let HistoryBatch {
            events,
            fanouts,
            attempts,
        } = &self.history;
        let fanouts_at = events.len();
        let attempts_at = fanouts_at + fanouts.len();
        HistoryBatch {
            events: within(events, rows, 0),
            fanouts: within(fanouts, rows, fanouts_at),
            attempts: within(attempts, rows, attempts_at),
        }
    }
}

/// Those of `items`, the first of which is row `offset`, that lie in `rows`.
fn within<T: Clone>(items: &[T], rows: &Range<usize>, offset: usize) -> Vec<T> {
    let index = |row: usize| row.saturating_sub(offset).min(items.len());
    items
        .get(index(rows.start)..index(rows.end))
        .unwrap_or_default()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_rows_add_up_to_all_rows() {
        let (a, b, c) = ([0, 1, 2], [3, 4], [5, 6, 7]);
        for cut in 0..=8 {
            let part = |rows: Range<usize>| {
                let mut all = within(&a, &rows, 0);
                all.extend(within(&b, &rows, 3));
                all.extend(within(&c, &rows, 5));
                all
            };
            let both: Vec<i32> = part(0..cut).into_iter().chain(part(cut..8)).collect();
            assert_eq!(both, [0, 1, 2, 3, 4, 5, 6, 7]);
        }
    }
}
