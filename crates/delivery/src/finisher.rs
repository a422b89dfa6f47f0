//! Writes what is finished, together with what follows from it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use postrider_failpoint::fail_point;
use postrider_log::{
    Committer, Completion, Durability, Limits, LogError, Purpose, complete_or_less, shrink,
};
use postrider_model::{NewRecord, Timestamp, TopicPartition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::emptied::Emptied;
use crate::finished::{Finished, Of, is_copy};
use crate::partitions::Partitions;
use crate::set_back::{Recalled, SetBack};
use crate::{DeliveryMetrics, Now};

/// So many at once are not worth waiting for more, where little is unfinished.
const ENOUGH: usize = 256;
/// One commit, at most.
const MOST: usize = 2_000;
const MOST_BYTES: usize = 8 << 20;
/// With so many attempts and the like waiting, the log is behind: nothing starts until it has caught up.
const BACKLOG: usize = 8_000;
/// The same with what is put aside: one full lane, or a few, whose breakers open must not stop the neighbours.
const BACKLOG_WITH_ASIDE: usize = 64_000;

/// A commit that ended: where it was written, what followed from it is gone.
#[derive(Debug)]
pub(crate) struct Commit {
    batch: Vec<Finished>,
    /// The batch was of what the log had not held before.
    again: bool,
    pub(crate) result: Result<(), LogError>,
}

/// Batches all that waits while one commit is under way, so that there is never more than one and they keep their order.
pub(crate) struct Finisher {
    committer: Arc<dyn Committer>,
    limits: Limits,
    linger: Duration,
    metrics: DeliveryMetrics,
    waiting: VecDeque<Finished>,
    /// What the log has no room for at present.
    set_back: SetBack,
    /// The most that one commit finishes: fewer after one that found no room.
    most: usize,
    /// How many of `waiting` were put aside.
    aside: usize,
    /// Since when the oldest waits.
    since: Option<Instant>,
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
            waiting: VecDeque::new(),
            set_back: SetBack::default(),
            most: MOST,
            aside: 0,
            since: None,
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
        self.since.get_or_insert(now);
        self.aside += usize::from(finished.aside);
        self.waiting.push_back(finished);
    }

    /// False while nothing may start, because its outcome could not be written.
    pub(crate) fn is_writable(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
            && self.waiting.len() - self.aside < BACKLOG
            && self.waiting.len() < BACKLOG_WITH_ASIDE
    }

    /// True if everything is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// True if something of this partition is still to be written.
    pub(crate) fn has(&self, at: TopicPartition) -> bool {
        let of_it = |finished: &Finished| finished.of.is_of(&[at]);
        self.under_way_of.contains(&at) || self.waiting.iter().any(of_it) || self.set_back.has(at)
    }

    /// What is due and found no room in the log: it is to be sent again, and is finished by what becomes of it then.
    pub(crate) fn recall(&mut self, now: Timestamp) -> Vec<Recalled> {
        match self.is_writable() {
            true => self.set_back.recall(now),
            false => Vec::new(),
        }
    }

    /// These partitions are not ours any more: what came of them would fork their deliveries, which their next owner makes
    /// again, and that may be this worker.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.lost.extend(partitions);
        self.waiting.extend(self.set_back.lose(partitions));
        forget(self.waiting.iter_mut(), partitions);
        if self.under_way.is_none() {
            self.lost.clear();
        }
    }

    /// When the next commit is due, if one is to be made.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let waiting = self.since.map(|since| since + self.linger());
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
        self.put_copies_behind();
        let mut batch = self.set_back.ask(now, MOST_BYTES);
        let again = !batch.is_empty();
        if !again {
            batch = self.take_batch();
        }
        if batch.is_empty() {
            self.since = None;
            return;
        }
        self.since = (!self.waiting.is_empty()).then_some(now);
        self.metrics.commit.observe(batch.len() as f64);
        let (batch, outputs) = Emptied::of(batch);
        let completion = self.completion(&batch.finished, outputs, partitions);
        self.unfinished = partitions.most_unfinished();
        let finished = completion.finished.iter();
        self.under_way_of = finished.map(|progress| progress.at).collect();
        self.under_way = Some(Box::pin(run(
            Arc::clone(&self.committer),
            completion,
            (batch, again),
            Arc::clone(&self.refused),
            self.metrics.clone(),
            self.stop.clone(),
        )));
    }

    /// While the log has no room for copies they do not stand before what finishes records, which makes some.
    fn put_copies_behind(&mut self) {
        if self.set_back.is_empty() {
            return;
        }
        for finished in &mut self.waiting {
            let aside = usize::from(finished.aside);
            if let Some(copy) = finished.split_copy() {
                self.aside -= aside;
                self.set_back.take(copy);
            }
        }
        self.waiting.retain(|finished| !finished.is_nothing());
    }

    fn take_batch(&mut self) -> Vec<Finished> {
        let mut bytes = 0;
        let fits = |finished: &&Finished| {
            bytes += finished.outputs.iter().map(NewRecord::size).sum::<usize>();
            bytes <= MOST_BYTES
        };
        let count = self.waiting.iter().take(self.most).take_while(fits).count();
        let count = count.max(1).min(self.waiting.len());
        let batch: Vec<Finished> = self.waiting.drain(..count).collect();
        self.aside -= batch.iter().filter(|finished| finished.aside).count();
        batch
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
                self.set_back.written(count, now.instant);
                Ok(weight)
            }
            Ok(()) => {
                self.most = self.most.saturating_mul(2).min(MOST);
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
                self.put_back(kept, now.instant);
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
                self.put_back(batch, now.instant);
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
            self.most = (batch.len() / 2).max(1);
        } else {
            self.set_back.refused(copies.len(), now);
        }
        copies.into_iter().for_each(|copy| self.set_back.take(copy));
        batch.retain(|finished| !finished.is_nothing());
        self.put_back(batch, now);
    }

    fn put_back(&mut self, batch: Vec<Finished>, now: Instant) {
        if !batch.is_empty() {
            self.since = Some(now);
        }
        self.aside += batch.iter().filter(|finished| finished.aside).count();
        batch
            .into_iter()
            .rev()
            .for_each(|finished| self.waiting.push_front(finished));
    }
}

/// Keeps of what lies in these partitions only that its memory is to be given back.
fn forget<'a>(all: impl Iterator<Item = &'a mut Finished>, partitions: &[TopicPartition]) {
    for finished in all {
        if finished.of.is_of(partitions) {
            (finished.of, finished.outputs) = (Of::Lost, Vec::new());
        }
    }
}

/// True if the log may be asked for less than all of this.
fn is_divisible(batch: &[Finished]) -> bool {
    batch.len() > 1 || batch.iter().any(Finished::has_copy)
}

async fn run(
    committer: Arc<dyn Committer>,
    completion: Completion,
    (batch, again): (Emptied, bool),
    refused: Arc<AtomicBool>,
    metrics: DeliveryMetrics,
    stop: CancellationToken,
) -> Commit {
    fail_point!("worker.complete.before");
    let less = batch.finished.len() > 1 || completion.outputs.iter().any(is_copy);
    let result = complete_or_less(&*committer, &completion, less, &stop, |error| {
        if !refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "nothing is started until the log takes what is finished");
        }
        metrics.commit_failures.inc();
    })
    .await;
    fail_point!("worker.complete.after");
    // Also where it ended otherwise: it may be the last commit, and nothing would be read to make another.
    let ends = |error: &LogError| !error.is_passing() || less && matches!(error, LogError::Full(_));
    if result.as_ref().err().is_none_or(ends) {
        refused.store(false, Ordering::Relaxed);
    }
    let batch = match result {
        Ok(()) => batch.finished,
        Err(_) => batch.filled(completion.outputs),
    };
    Commit {
        batch,
        again,
        result,
    }
}
