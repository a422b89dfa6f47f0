//! The one thread that writes: it takes everything that waits and commits it in one transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_log::{Durability, LogError, Position, Purpose, Record};
use postrider_model::Timestamp;
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::Options;
use crate::error::is_full;
use crate::queue::{Batch, Places, Request, Taken};
use crate::shared::Shared;
use crate::shortage::Shortage;
use crate::space::{self, Room, Space};
use crate::state::State;
use crate::syncer::Waiter;
use crate::transaction::{Tables, Written};
use crate::trim::Trimmer;
use crate::wal::Wal;

/// How often an idle writer looks after what is to be trimmed.
const IDLE: Duration = Duration::from_millis(200);
/// After which the files of a log that is never idle are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// The writer's side of the log.
pub(crate) struct Writer<'c> {
    shared: Arc<Shared>,
    tables: Tables<'c>,
    space: Space<'c>,
    shortage: Shortage,
    measured: Instant,
    trimmer: Trimmer,
    wal: Wal,
    /// Commits so far in this process.
    commit: u64,
    wake: Vec<Arc<Notify>>,
    /// Topics that the request in hand writes to.
    touched: Vec<bool>,
    /// Topics in which the commit in hand shows readers something.
    revealed: Vec<bool>,
}

/// The log cannot go on.
pub(crate) struct Broken(pub(crate) &'static str, pub(crate) rusqlite::Error);

/// The thread.
pub(crate) fn run(
    shared: &Arc<Shared>,
    connection: &Connection,
    options: &Options,
    tables: Tables<'_>,
) {
    let outcome = Space::new(connection, options, &shared.file, &shared.wal)
        .map_err(|error| Broken("preparing to write", error))
        .and_then(|space| {
            let topics = shared.catalog.specs().len();
            let mut writer = Writer {
                shared: Arc::clone(shared),
                tables,
                space,
                shortage: Shortage::default(),
                measured: Instant::now(),
                trimmer: Trimmer::new(&shared.catalog),
                wal: Wal::new(connection, space::wal_bytes(options)),
                commit: 0,
                wake: Vec::new(),
                touched: vec![false; topics],
                revealed: vec![false; topics],
            };
            writer.work()
        });
    if let Err(Broken(doing, error)) = outcome {
        shared.fail(doing, &error);
    }
}

impl Writer<'_> {
    fn work(&mut self) -> Result<(), Broken> {
        self.trimmer
            .raise(&self.shared.catalog, &self.shared.state());
        loop {
            let idle = match self.shared.queue.take(IDLE) {
                Taken::Batch(batch) => self.write(batch).map(|()| false)?,
                Taken::Idle => true,
                Taken::Closed => return Ok(()),
            };
            self.trim(idle)?;
            self.wal.bound(&self.shared, self.space.wal_bounds());
            if idle {
                self.room(0)?;
                self.wal.idle(&self.shared);
            }
            // A log that is never idle is measured, too: it is the one that fills.
            if idle || self.measured.elapsed() >= MEASURE_EVERY {
                self.measured = Instant::now();
                self.measure();
            }
        }
    }

    fn measure(&self) {
        let metrics = &self.shared.metrics;
        metrics.disk.set(self.shared.disk_bytes() as i64);
        metrics
            .room
            .set(self.space.for_new().try_into().unwrap_or(i64::MAX));
        metrics.max.set(self.space.bound() as i64);
        metrics.tail.set(self.shared.state().bound_tails() as i64);
    }

    /// How much room there is, after everything was trimmed that may go; and tells if that has changed.
    fn room(&mut self, bytes: u64) -> Result<Room, Broken> {
        let mut room = self.ask(bytes)?;
        if room != Room::Enough {
            while self.trim_step(true)? {}
            room = self.ask(0)?;
        }
        if room != Room::Enough && self.wal.give_back(&self.shared) {
            room = self.ask(0)?;
        }
        let why = (room != Room::Enough).then(|| self.space.words());
        self.shortage.asked(&self.shared.shortage, why);
        Ok(room)
    }

    fn ask(&mut self, bytes: u64) -> Result<Room, Broken> {
        let broken = |error| Broken("asking for the space left in", error);
        self.space.room(bytes).map_err(broken)
    }

    /// Commits a batch, or what of it there is room for, and tells everybody.
    fn write(&mut self, mut batch: Batch) -> Result<(), Broken> {
        let room = self.room(batch.bytes as u64)?;
        if room != Room::Enough {
            let why = self.space.words();
            self.refuse_all(&mut batch.requests, room, &why);
        }
        if !self.space.holds(Purpose::Waiting, batch.bytes as u64) {
            self.refuse_copies(&mut batch.requests);
        }
        let requests = std::mem::take(&mut batch.requests);
        let Some(mut rest) = self.commit_or_refuse(requests)? else {
            return Ok(());
        };
        // The disk was full. What finishes records may still fit once new work is put aside.
        let why = format!(
            "a write to {} found the disk full",
            self.shared.file.display()
        );
        self.shortage.found(&self.shared.shortage, why.clone());
        if rest.len() > 1 {
            self.refuse_all(&mut rest, Room::Scarce, &why);
            rest = self.commit_or_refuse(rest)?.unwrap_or_default();
        }
        let alone = rest.len() == 1;
        // One that is large must not keep those out that make room for it.
        for request in rest {
            let refused = match alone {
                true => vec![request],
                false => self.commit_or_refuse(vec![request])?.unwrap_or_default(),
            };
            for request in refused {
                self.refuse(request, &why);
            }
        }
        Ok(())
    }

    /// Commits these and tells everybody; returns them if there was no room, with nothing written.
    fn commit_or_refuse(&mut self, requests: Vec<Request>) -> Result<Option<Vec<Request>>, Broken> {
        if requests.is_empty() {
            return Ok(None);
        }
        let began = Instant::now();
        let now = self.shared.clock.now();
        match self.tables.write(&self.shared.catalog, &requests, now) {
            Ok(written) => {
                let metrics = &self.shared.metrics;
                metrics.commits.inc();
                metrics.commit_seconds.observe_duration(began.elapsed());
                metrics.commit_records.observe(written.records as f64);
                metrics.records.inc_by(written.records as u64);
                self.publish(requests, written);
                Ok(None)
            }
            Err(error) if is_full(&error) => {
                self.tables.roll_back();
                self.wal.cut_back(&self.shared);
                self.shared.checkpoints.begin();
                Ok(Some(requests))
            }
            Err(error) => {
                let reason = format!("writing {} failed: {error}", self.shared.file.display());
                for request in requests {
                    let _ = request.reply.send(Err(LogError::Stopped(reason.clone())));
                }
                Err(Broken("writing", error))
            }
        }
    }

    /// Refuses what there is no room for.
    fn refuse_all(&self, requests: &mut Vec<Request>, room: Room, why: &str) {
        let is_refused =
            |request: &mut Request| room.refuses(request.purpose) && !request.records.is_empty();
        requests
            .extract_if(.., is_refused)
            .for_each(|request| self.refuse(request, why));
    }

    /// Refuses what is written beside what it stands for and would leave no room to finish anything.
    fn refuse_copies(&self, requests: &mut Vec<Request>) {
        let why = self.space.words();
        let mut written = 0;
        let is_refused = |request: &mut Request| {
            let records = request.records.iter();
            let bytes = records.map(|record| record.size() as u64).sum::<u64>();
            let is_copy = matches!(request.purpose, Purpose::Waiting | Purpose::Moving);
            let refused =
                is_copy && bytes > 0 && !self.space.holds(request.purpose, written + bytes);
            written += if refused { 0 } else { bytes };
            refused
        };
        requests
            .extract_if(.., is_refused)
            .for_each(|request| self.refuse(request, &why));
    }

    fn refuse(&self, request: Request, why: &str) {
        self.shared.metrics.full.inc();
        // Whoever asked may have gone.
        let _ = request.reply.send(Err(LogError::Full(why.to_owned())));
    }

    /// Shows readers what was committed, and tells those who asked for it: at once, or after the fsync.
    fn publish(&mut self, requests: Vec<Request>, written: Written) {
        self.commit += 1;
        let mut next = written.from;
        let mut at_once = Vec::with_capacity(requests.len());
        let mut after_sync = Vec::new();
        let mut finished = false;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        for mut request in requests {
            let places = self.show(&mut state, &mut request, &mut next, &written.appended_at);
            for done in request.finished {
                finished = true;
                self.trimmer.touched(done.topic);
                state.finish(done.topic, done.group, done.committed);
            }
            match request.durability {
                Durability::Synced => after_sync.push(Waiter::Append(request.reply, places)),
                Durability::Ordered => at_once.push((request.reply, places)),
            }
        }
        self.trimmer.raise(&shared.catalog, &state);
        shared.metrics.tail.set(state.bound_tails() as i64);
        self.collect_readers(&state);
        drop(state);
        shared.syncs.committed(self.commit, after_sync);
        self.wake.drain(..).for_each(|reader| reader.notify_one());
        for (reply, places) in at_once {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(places));
        }
        if finished {
            shared.progress.send_replace(());
        }
    }

    /// Adds one request's records to their topics' ends.
    fn show(
        &mut self,
        state: &mut State,
        request: &mut Request,
        next: &mut [Position],
        appended_at: &[Timestamp],
    ) -> Places {
        let catalog = &self.shared.catalog;
        let mut places = Vec::with_capacity(request.records.len());
        self.touched.fill(false);
        for record in std::mem::take(&mut request.records) {
            // It was written, so its topic is there.
            let Some(topic) = catalog.index_of(record.topic.0) else {
                continue;
            };
            let (at, position) = (catalog.at(topic), next[topic]);
            next[topic] += 1;
            self.touched[topic] = true;
            places.push((at, position));
            let appended_at = appended_at[topic];
            let (key, headers, value) = (record.key, record.headers, record.value);
            state.push(
                topic,
                Record {
                    at,
                    position,
                    appended_at,
                    key,
                    headers,
                    value,
                },
            );
        }
        let barrier = (request.durability == Durability::Synced).then_some(self.commit);
        for topic in (0..self.touched.len()).filter(|topic| self.touched[*topic]) {
            self.revealed[topic] |= state.topics[topic].tail.show(barrier);
        }
        places
    }

    /// Those who have something new to see, each topic's once however many requests wrote to it.
    fn collect_readers(&mut self, state: &State) {
        for (topic, revealed) in self.revealed.iter_mut().enumerate() {
            if std::mem::take(revealed) {
                state.topics[topic].tail.listeners(&mut self.wake);
            }
        }
    }

    /// Trims between two commits: a step if others wait, until nothing is left if nobody does.
    fn trim(&mut self, at_once: bool) -> Result<(), Broken> {
        while self.trim_step(at_once)? && self.shared.queue.is_empty() {}
        Ok(())
    }

    /// False if there was nothing worth a commit.
    fn trim_step(&mut self, at_once: bool) -> Result<bool, Broken> {
        let now = self.shared.clock.now();
        let step = self
            .trimmer
            .step(&self.shared, &mut self.tables, now, at_once)?;
        let Some(removed) = step else {
            return Ok(false);
        };
        self.commit += 1;
        self.shared.metrics.trimmed.inc_by(removed);
        self.shared.syncs.committed(self.commit, None);
        Ok(true)
    }
}
