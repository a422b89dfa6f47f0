//! Reading for a group: from memory at the tail, from the file behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use postrider_log::{
    Assignment, BatchLimit, LogError, Polled, Position, Reader, Record, Subscription,
    TopicPartition, Turns,
};
use tokio::sync::Notify;

use crate::disk::{self, Fetched};
use crate::shared::Shared;
use crate::state::{Seat, State};
use crate::tail::Place;

/// Records that a topic of weight one gives before it is the next one's turn.
const TURN: u32 = 16;

/// Where reading stands in one topic.
struct Cursor {
    seat: Seat,
    /// Everything below was returned, or lies in `fetched`.
    at: Position,
    /// Read from the file and not yet returned.
    fetched: VecDeque<Record>,
    paused: bool,
}

/// What was read from the file for one cursor, by its index; and how far that reaches.
type Haul = Vec<(usize, Position, Fetched)>;

/// The one reader of its group.
pub(crate) struct EmbeddedReader {
    shared: Arc<Shared>,
    notify: Arc<Notify>,
    /// Returned by the first call of `next`.
    assigned: Option<Vec<Assignment>>,
    cursors: Vec<Cursor>,
    turns: Turns,
    /// A read from the file that is under way. Kept here, so that a cancelled `next` does not begin it anew.
    fetching: Option<tokio::task::JoinHandle<Result<Haul, LogError>>>,
}

/// What [`EmbeddedReader::poll`] found.
enum Found {
    Records(Vec<Record>),
    /// The turn is one of a topic that has to be read from the file.
    Behind,
    Nothing,
}

impl EmbeddedReader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        notify: Arc<Notify>,
        subscription: &Subscription,
        seats: Vec<Seat>,
    ) -> Self {
        let assigned = seats.iter().map(|seat| seat.assignment.clone()).collect();
        let cursor = |seat: Seat| Cursor {
            at: seat.from,
            seat,
            fetched: VecDeque::new(),
            paused: false,
        };
        Self {
            shared,
            notify,
            assigned: Some(assigned),
            cursors: seats.into_iter().map(cursor).collect(),
            turns: Turns::new(subscription.topics.iter().map(|topic| topic.weight), TURN),
            fetching: None,
        }
    }

    fn poll(&mut self, limit: BatchLimit) -> Result<Found, LogError> {
        let mut state = self.shared.state();
        state.check_open()?;
        for cursor in &mut self.cursors {
            if cursor.fetched.is_empty() && !cursor.paused {
                state.check_trimmed(
                    cursor.seat.topic,
                    cursor.seat.assignment.at,
                    &mut cursor.at,
                )?;
            }
        }
        let mut records = Vec::new();
        let mut bytes = limit.bytes;
        while records.len() < limit.records && (bytes > 0 || records.is_empty()) {
            let cursors = &self.cursors;
            let ready = |index: usize| {
                let cursor: &Cursor = &cursors[index];
                let somewhere = state.place(cursor.seat.topic, cursor.at) != Place::Nothing;
                !cursor.paused && (!cursor.fetched.is_empty() || somewhere)
            };
            let Some((turn, most)) = self.turns.deal(ready) else {
                break;
            };
            let most = most.min(limit.records - records.len());
            match self.cursors[turn].take(&mut state, most, &mut bytes, &mut records) {
                Some(taken) if taken > 0 => self.turns.took(taken),
                None if records.is_empty() => return Ok(Found::Behind),
                Some(_) | None => break,
            }
        }
        Ok(match records.is_empty() {
            true => Found::Nothing,
            false => Found::Records(records),
        })
    }

    /// Begins to read from the file, for every topic that has to be.
    fn begin_fetching(&self) -> tokio::task::JoinHandle<Result<Haul, LogError>> {
        let state = self.shared.state();
        let mut wanted = Vec::new();
        for (index, cursor) in self.cursors.iter().enumerate() {
            if cursor.paused || !cursor.fetched.is_empty() {
                continue;
            }
            if let Place::Disk(visible) = state.place(cursor.seat.topic, cursor.at) {
                wanted.push((index, cursor.seat.topic, cursor.at, visible));
            }
        }
        drop(state);
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            shared.metrics.behind.inc();
            shared.disk.read(|connection| {
                let fetch = |(index, topic, from, visible)| {
                    let sql: &crate::schema::TopicSql = &shared.catalog.sql()[topic];
                    let at = shared.catalog.at(topic);
                    let fetched = disk::fetch(connection, sql, at, from, visible)?;
                    let reached = match fetched.records.last() {
                        Some(last) if !fetched.whole => last.position + 1,
                        _ => visible,
                    };
                    Ok((index, reached, fetched))
                };
                wanted.into_iter().map(fetch).collect()
            })
        })
    }

    fn fetched(&mut self, haul: Haul) {
        let mut state = self.shared.state();
        for (index, reached, fetched) in haul {
            let cursor = &mut self.cursors[index];
            let first = state.topics[cursor.seat.topic].tail.first();
            let found = fetched.records.first().map(|record| record.position);
            if first > cursor.at && found != Some(cursor.at) {
                // Trimmed while it was read. Nothing is taken, so that the next poll says what is lost.
                continue;
            }
            cursor.at = reached;
            cursor.fetched.extend(fetched.records);
            let id = cursor.seat.assignment.epoch;
            state.topics[cursor.seat.topic].tail.moved(id, reached);
        }
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for cursor in &mut self.cursors {
            if partitions.contains(&cursor.seat.assignment.at) {
                cursor.paused = paused;
            }
        }
    }
}

impl Cursor {
    /// Adds what comes next, from the file or from memory; how many there were. None if it has to be read from the file
    /// first.
    fn take(
        &mut self,
        state: &mut State,
        most: usize,
        bytes: &mut usize,
        out: &mut Vec<Record>,
    ) -> Option<usize> {
        if !self.fetched.is_empty() {
            return Some(self.take_fetched(most, bytes, out));
        }
        if state.place(self.seat.topic, self.at) != Place::Memory {
            return None;
        }
        let id = self.seat.assignment.epoch;
        let tail = &mut state.topics[self.seat.topic].tail;
        let taken = tail.take(id, self.at, most, bytes, out);
        self.at += taken as Position;
        Some(taken)
    }

    fn take_fetched(&mut self, most: usize, bytes: &mut usize, out: &mut Vec<Record>) -> usize {
        let mut taken = 0;
        while taken < most {
            let Some(size) = self.fetched.front().map(|record| record.size()) else {
                break;
            };
            if size > *bytes && !out.is_empty() {
                *bytes = 0;
                break;
            }
            *bytes = bytes.saturating_sub(size);
            out.extend(self.fetched.pop_front());
            taken += 1;
        }
        taken
    }
}

#[async_trait]
impl Reader for EmbeddedReader {
    async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
        if let Some(assigned) = self.assigned.take() {
            return Ok(Polled::Assigned(assigned));
        }
        loop {
            if let Some(fetching) = &mut self.fetching {
                let outcome = fetching.await;
                self.fetching = None;
                let haul = outcome.map_err(|error| LogError::Stopped(error.to_string()))??;
                self.fetched(haul);
            }
            match self.poll(limit)? {
                Found::Records(records) => return Ok(Polled::Records(records)),
                Found::Behind => self.fetching = Some(self.begin_fetching()),
                // A permit is kept for what came since the poll.
                Found::Nothing => self.notify.notified().await,
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }
}

impl Drop for EmbeddedReader {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        self.cursors
            .iter()
            .for_each(|cursor| state.leave(&cursor.seat));
    }
}
