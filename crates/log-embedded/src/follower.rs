//! Reading a compacted topic: the newest of each key from the file, then what is written later from memory.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_log::{Followed, Follower, LogError, Position, Record};
use tokio::sync::Notify;

use crate::disk::{self, Fetched};
use crate::shared::Shared;
use crate::tail::Place;

/// The most records that one call returns.
const BATCH: usize = 1000;

/// A walk through the keys, for what was written in a range of positions. A key that is written again meanwhile leaves
/// the range; its new record comes from the tail, which is kept from the range's end on.
#[derive(Clone)]
struct Scan {
    from: Position,
    to: Position,
    after: Option<Bytes>,
}

/// Follows one topic.
pub(crate) struct EmbeddedFollower {
    shared: Arc<Shared>,
    notify: Arc<Notify>,
    topic: usize,
    id: u64,
    /// Everything below was returned, or will be by `scan`.
    at: Position,
    scan: Option<Scan>,
    caught_up: bool,
    /// A read from the file that is under way.
    fetching: Option<tokio::task::JoinHandle<Result<Fetched, LogError>>>,
}

impl EmbeddedFollower {
    pub(crate) fn new(shared: Arc<Shared>, topic: usize) -> Self {
        let notify = Arc::new(Notify::new());
        let (id, at) = shared.state().follow(topic, Arc::clone(&notify));
        let scan = Scan {
            from: 0,
            to: at,
            after: None,
        };
        Self {
            shared,
            notify,
            topic,
            id,
            at,
            scan: Some(scan),
            caught_up: false,
            fetching: None,
        }
    }

    fn begin_fetching(&self, scan: Scan) -> tokio::task::JoinHandle<Result<Fetched, LogError>> {
        let (shared, topic) = (Arc::clone(&self.shared), self.topic);
        tokio::task::spawn_blocking(move || {
            shared.disk.read(|connection| {
                let (sql, at) = (&shared.catalog.sql()[topic], shared.catalog.at(topic));
                disk::scan(
                    connection,
                    sql,
                    at,
                    scan.after.as_deref(),
                    scan.from..scan.to,
                )
            })
        })
    }

    /// Takes in what was read. What was removed before following began is not there.
    fn fetched(&mut self, fetched: Fetched) -> Vec<Record> {
        match (&mut self.scan, fetched.records.last()) {
            (Some(scan), Some(last)) if !fetched.whole => scan.after = Some(last.key.clone()),
            _ => self.scan = None,
        }
        let mut records = fetched.records;
        if !self.caught_up {
            records.retain(|record| !record.value.is_empty());
        }
        records
    }

    /// What is new at the tail, or the beginning of a scan if the tail has been left behind.
    fn poll(&mut self) -> Result<Vec<Record>, LogError> {
        let mut state = self.shared.state();
        state.check_open()?;
        let mut records = Vec::new();
        let tail = &mut state.topics[self.topic].tail;
        match tail.place(self.at) {
            Place::Nothing => {}
            Place::Memory => {
                let mut bytes = usize::MAX;
                let taken = tail.take(self.id, self.at, BATCH, &mut bytes, &mut records);
                self.at += taken as Position;
            }
            Place::Disk(visible) => {
                let (from, to, after) = (self.at, visible, None);
                self.scan = Some(Scan { from, to, after });
                self.at = visible;
                tail.moved(self.id, visible);
            }
        }
        Ok(records)
    }
}

#[async_trait]
impl Follower for EmbeddedFollower {
    async fn next(&mut self) -> Result<Followed, LogError> {
        loop {
            if let Some(scan) = &self.scan {
                if self.fetching.is_none() {
                    self.shared.state().check_open()?;
                    self.fetching = Some(self.begin_fetching(scan.clone()));
                }
                if let Some(fetching) = &mut self.fetching {
                    let outcome = fetching.await;
                    self.fetching = None;
                    let fetched =
                        outcome.map_err(|error| LogError::Stopped(error.to_string()))??;
                    let records = self.fetched(fetched);
                    if !records.is_empty() {
                        return Ok(Followed::Records(records));
                    }
                }
                continue;
            }
            if !std::mem::replace(&mut self.caught_up, true) {
                return Ok(Followed::CaughtUp);
            }
            let records = self.poll()?;
            if !records.is_empty() {
                return Ok(Followed::Records(records));
            }
            if self.scan.is_none() {
                self.notify.notified().await;
            }
        }
    }
}

impl Drop for EmbeddedFollower {
    fn drop(&mut self) {
        self.shared.state().topics[self.topic].tail.leave(self.id);
    }
}
