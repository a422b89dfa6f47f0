//! Writes what is finished, together with what follows from it.

mod backlog;
mod writing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use postrider_log::{
    Committer, Completion, Durability, Limits, LogError, Portion, Purpose, shrink,
};
use postrider_model::{NewRecord, Timestamp, TopicPartition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::emptied::Emptied;
use crate::finished::{Finished, Of, forget, is_copy};
use crate::partitions::Partitions;
use crate::set_back::{Recalled, SetBack};
use crate::{DeliveryMetrics, Now};

use backlog::Backlog;
pub(crate) use writing::Commit;
use writing::write;

/// So many at once are not worth waiting for more, where little is unfinished.
const ENOUGH: usize = 256;
/// One commit, at most.
const MOST: usize = 2_000;
const MOST_BYTES: usize = 8 << 20;

/// Batches all that waits while one commit is under way, so that there is never more than one and they keep their order.
pub(crate) struct Finisher {
    committer: Arc<dyn Committer>,
    limits: Limits,
    linger: Duration,
    metrics: DeliveryMetrics,
    waiting: Backlog,
    /// What the log has no room for at present.
    set_back: SetBack,
    /// The most that one commit finishes: fewer after one that found no room.
    portion: Portion,
    /// Bytes of memory that are free once everything in here is written.
    weight: usize,
    under_way: Option<BoxFuture<'static, Commit>>,
    /// Partitions of which the commit that is under way finishes something.
    under_way_of: Vec<TopicPartition>,
    /// Partitions that were lost while that commit is under way.
    lost: Vec<TopicPartition>,
    /// Records that are not finished. A commit says of each what became of it, so the more there are, the more is put
    /// into one commit.
    unfinished: usize,
    /// The log takes nothing at present.
    refused: Arc<AtomicBool>,
    /// Ends the patience with a log that takes nothing.
    stop: CancellationToken,
}

impl Finisher {
    pub(crate) fn new(
        committer: Arc<dyn Committer>,
        limits: Limits,
        linger: Duration,
        metrics: DeliveryMetrics,
    ) -> Self {
        Self {
            committer,
            limits,
            linger,
            metrics,
            waiting: Backlog::default(),
            set_back: SetBack::default(),
            portion: Portion::up_to(MOST),
            weight: 0,
            under_way: None,
            unfinished: 0,
            under_way_of: Vec::new(),
            lost: Vec::new(),
            refused: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Takes something that is done.
    pub(crate) fn push(&mut self, finished: Finished, now: Instant) {
        self.weight += finished.weight;
        self.waiting.push(finished, now);
    }

    /// Bytes of memory that come free by what is to be written, whatever else is done.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// How many records of each partition are finished as soon as they are written, but for those of the commit that is
    /// under way, which count as finished.
    pub(crate) fn to_finish(&self) -> HashMap<TopicPartition, usize> {
        let mut counts = HashMap::new();
        for at in self.waiting.partitions().chain(self.set_back.partitions()) {
            *counts.entry(at).or_default() += 1;
        }
        counts
    }

    /// False while nothing may start, because its outcome could not be written.
    pub(crate) fn is_writable(&self) -> bool {
        !self.refused.load(Ordering::Relaxed) && !self.waiting.is_full()
    }

    /// True if everything is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// True if something of this partition is still to be written.
    pub(crate) fn has(&self, at: TopicPartition) -> bool {
        self.under_way_of.contains(&at) || self.waiting.has(at) || self.set_back.has(at)
    }

    /// What is due and found no room in the log: it is to be sent again, and is finished by what becomes of it then.
    pub(crate) fn recall(&mut self, now: Timestamp) -> Vec<Recalled> {
        if !self.is_writable() {
            return Vec::new();
        }
        let recalled = self.set_back.recall(now);
        self.weight -= recalled.iter().map(|one| one.weight).sum::<usize>();
        recalled
    }

    /// These partitions are not ours any more: what came of them would fork their deliveries, which their next owner makes
    /// again, and that may be this worker.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.lost.extend(partitions);
        for lost in self.set_back.lose(partitions) {
            self.waiting.push(lost, Instant::now());
        }
        self.waiting.forget(partitions);
        if self.under_way.is_none() {
            self.lost.clear();
        }
    }

    /// When the next commit is due, if one is to be made.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let waiting = self.waiting.since().map(|since| since + self.linger());
        waiting.into_iter().chain(self.set_back.due()).min()
    }

    fn linger(&self) -> Duration {
        if self.waiting.len() >= ENOUGH + self.unfinished / 64 {
            Duration::ZERO
        } else {
            self.linger + Duration::from_micros(self.unfinished as u64 / 4)
        }
    }

    /// Waits no longer for a log that takes nothing.
    pub(crate) fn give_up(&self) {
        self.stop.cancel();
    }

    /// Begins a commit, if one is due.
    pub(crate) fn commit(&mut self, partitions: &mut Partitions, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        // While the log has no room for copies they do not stand before what finishes records, which makes some.
        if !self.set_back.is_empty() {
            self.waiting.take_copies(|copy| self.set_back.take(copy));
        }
        let mut batch = self.set_back.ask(now, MOST_BYTES);
        let again = !batch.is_empty();
        if !again {
            batch = self.waiting.take(self.portion.next(), MOST_BYTES, now);
        }
        if batch.is_empty() {
            return;
        }
        self.metrics.commit.observe(batch.len() as f64);
        let (batch, outputs) = Emptied::of(batch);
        let completion = self.completion(&batch.finished, outputs, partitions);
        self.unfinished = partitions.most_unfinished();
        let finished = completion.finished.iter();
        self.under_way_of = finished.map(|progress| progress.at).collect();
        self.under_way = Some(Box::pin(write(
            Arc::clone(&self.committer),
            completion,
            (batch, again),
            Arc::clone(&self.refused),
            self.metrics.clone(),
            self.stop.clone(),
        )));
    }

    /// Marks the batch as finished, and asks how far that brings each partition.
    fn completion(
        &self,
        batch: &[Finished],
        outputs: Vec<NewRecord>,
        partitions: &mut Partitions,
    ) -> Completion {
        let mut touched: Vec<TopicPartition> = Vec::new();
        for finished in batch {
            match &finished.of {
                Of::Record(at, position) => {
                    partitions.finish(*at, *position);
                    if !touched.contains(at) {
                        touched.push(*at);
                    }
                }
                Of::Handover(of) => touched.extend(of),
                Of::State(_) | Of::Lost => {}
            }
        }
        let limit = self.limits.metadata_bytes;
        let purpose = match outputs.iter().any(is_copy) {
            true => Purpose::Waiting,
            false => Purpose::Pipeline,
        };
        Completion {
            finished: touched
                .into_iter()
                .filter_map(|at| partitions.progress(at, limit))
                .collect(),
            outputs,
            durability: Durability::Ordered,
            purpose,
        }
    }

    /// The end of the commit that is under way; never, if none is.
    pub(crate) async fn ended(&mut self) -> Commit {
        let Some(under_way) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let mut commit = under_way.await;
        self.under_way = None;
        self.under_way_of.clear();
        forget(commit.batch.iter_mut(), &std::mem::take(&mut self.lost));
        commit
    }

    /// Settles a commit: returns the bytes of memory that are free with it, or an error that ends the worker. One that
    /// passes is such only after [`Self::give_up`].
    pub(crate) fn settle(
        &mut self,
        commit: Commit,
        partitions: &mut Partitions,
        now: Now,
    ) -> Result<usize, LogError> {
        let freed = self.freed(commit, partitions, now)?;
        self.weight -= freed;
        Ok(freed)
    }

    fn freed(
        &mut self,
        commit: Commit,
        partitions: &mut Partitions,
        now: Now,
    ) -> Result<usize, LogError> {
        if commit.result.is_err() {
            for finished in &commit.batch {
                if let Of::Record(at, position) = finished.of {
                    partitions.reopen(at, position);
                }
            }
        }
        let weight = commit.batch.iter().map(|finished| finished.weight).sum();
        let count = commit.batch.len();
        match commit.result {
            Ok(()) if commit.again => {
                self.set_back.written(now.instant);
                Ok(weight)
            }
            Ok(()) => {
                self.portion.taken();
                Ok(weight)
            }
            Err(LogError::Full(ref why)) if is_divisible(&commit.batch) => {
                tracing::debug!(why, count, "the log has no room for so much at once");
                self.divide(commit, now.instant);
                Ok(0)
            }
            // Nothing was written. What lies in other partitions is written with the next commit.
            Err(LogError::Lost(lost)) => {
                let kept = |finished: &Finished| !finished.of.is_of(&[lost]);
                let (kept, thrown): (Vec<_>, Vec<_>) = commit.batch.into_iter().partition(kept);
                self.waiting.put_back(kept, now.instant);
                Ok(thrown.iter().map(|finished| finished.weight).sum())
            }
            Err(error @ LogError::TooLarge { limit, .. }) => {
                let mut batch = commit.batch;
                let outputs = batch.iter_mut().flat_map(|finished| &mut finished.outputs);
                let replaced = shrink(outputs, limit, now.wall);
                if replaced == 0 {
                    return Err(error);
                }
                self.metrics.too_large.inc_by(replaced as u64);
                self.waiting.put_back(batch, now.instant);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// The log had no room for a batch. What is small is written again, in halves; copies wait until they fit, in halves, too.
    fn divide(&mut self, commit: Commit, now: Instant) {
        let mut batch = commit.batch;
        let copies: Vec<_> = batch.iter_mut().filter_map(Finished::split_copy).collect();
        if copies.is_empty() {
            self.portion.refused(batch.len());
        } else {
            self.set_back.refused(copies.len(), now);
        }
        copies.into_iter().for_each(|copy| self.set_back.take(copy));
        batch.retain(|finished| !finished.is_nothing());
        self.waiting.put_back(batch, now);
    }
}

/// True if the log may be asked for less than all of this.
fn is_divisible(batch: &[Finished]) -> bool {
    batch.len() > 1 || batch.iter().any(Finished::has_copy)
}
