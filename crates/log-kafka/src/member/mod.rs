//! One member of a group, of two clients: a [`thread`] that polls, a [`reader`] that takes, a [`committer`] that
//! finishes, and a thread for [`committing`].

mod assigning;
mod commits;
mod committer;
mod committing;
mod context;
mod forsaken;
mod gone;
mod lease;
mod reader;
mod refused;
mod seats;
mod thread;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use postrider_log::{Group, LogError, Polled, Subscription, Tenure, Topic, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use tokio::sync::{Notify, watch};

use self::commits::Commits;
use self::context::{Consumer, Context};
use self::lease::Leases;
use self::refused::Refused;
use self::seats::Seats;
use crate::catalog::Catalog;
use crate::config;
use crate::error::closed;
use crate::inspector::NOBODY;
use crate::onlooker::{Looking, Onlooker};
use crate::shared::Shared;

pub(crate) use self::committer::{KafkaCommitter, METADATA_BYTES};
pub(crate) use self::reader::KafkaReader;

/// A member's two clients. librdkafka stops all that a group's consumer reads from the moment a rebalance takes
/// something of it until that is given up, which is when a drain ends. So the one in the group reads nothing, and another,
/// which knows of no group, reads what the first owns.
pub(crate) struct Clients {
    /// Belongs to the group, and commits.
    consumer: Arc<Consumer>,
    /// Reads.
    fetcher: Arc<Onlooker>,
}

/// What the thread, the reader and the committer of one member share.
pub(crate) struct Member {
    shared: Arc<Shared>,
    group: Group,
    /// Kafka's names of the topics.
    names: Vec<String>,
    topics: Vec<Topic>,
    config: ClientConfig,
    fetching: ClientConfig,
    /// None while there is none.
    consumer: RwLock<Option<Arc<Consumer>>>,
    seats: Mutex<Seats>,
    commits: Mutex<Commits>,
    /// Something is to be committed, or the member ends.
    asked: Condvar,
    leases: Leases,
    /// What was told of commits that our user may not make.
    refused: Mutex<Refused>,
    /// Something may be there for the reader.
    notify: Arc<Notify>,
    /// The reader is gone, or the log was closed.
    closed: AtomicBool,
    /// The member's thread has left the group.
    ended: watch::Sender<bool>,
}

impl Member {
    /// One that has not joined yet.
    fn new(shared: Arc<Shared>, subscription: &Subscription) -> Result<Arc<Self>, LogError> {
        let names = names(&shared.catalog, subscription)?;
        let group = shared.catalog.group(subscription.group);
        let nobody = shared.catalog.group(NOBODY);
        let topics: Vec<Topic> = subscription
            .topics
            .iter()
            .map(|topic| topic.topic)
            .collect();
        let queues = topics
            .iter()
            .filter_map(|topic| shared.catalog.resolve(*topic).ok())
            .map(|entry| entry.partitions as usize)
            .sum();
        let weighted = subscription
            .topics
            .iter()
            .map(|topic| (topic.topic, topic.weight));
        Ok(Arc::new(Self {
            config: config::member(&shared.options, &group, &topics),
            fetching: config::fetcher(&shared.options, &nobody, queues, subscription.patience),
            group: subscription.group,
            names,
            topics,
            consumer: RwLock::new(None),
            seats: Mutex::new(Seats::new(weighted)),
            commits: Mutex::default(),
            asked: Condvar::new(),
            leases: Leases::new(shared.options.lease),
            refused: Mutex::default(),
            notify: Arc::new(Notify::new()),
            closed: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            shared,
        }))
    }

    /// Joins the group, and starts the member's threads.
    pub(crate) fn join(
        shared: Arc<Shared>,
        subscription: &Subscription,
    ) -> Result<(KafkaReader, KafkaCommitter), LogError> {
        let group = shared.catalog.group(subscription.group);
        let member = Self::new(shared, subscription)?;
        // The first is built here, so that a configuration that librdkafka does not take is heard of.
        let stopped = |error| LogError::Stopped(format!("joining group {group}: {error}"));
        let clients = member.build().map_err(stopped)?;
        let stopped = |error: std::io::Error| LogError::Stopped(error.to_string());
        thread::start(Arc::clone(&member), clients).map_err(stopped)?;
        committing::start(Arc::clone(&member)).map_err(stopped)?;
        member.shared.members.add(&member);
        Ok((
            KafkaReader::new(Arc::clone(&member)),
            KafkaCommitter::new(member),
        ))
    }

    fn build(&self) -> KafkaResult<Clients> {
        let context = Context::new(Arc::clone(&self.shared.catalog));
        let consumer: Consumer = self.config.create_with_context(context)?;
        let fetcher: Onlooker = self.fetching.create_with_context(Looking)?;
        Ok(Clients {
            consumer: Arc::new(consumer),
            fetcher: Arc::new(fetcher),
        })
    }

    /// Leaves the group soon; everything that waits fails.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let stopped = self.shared.is_closed().then(closed);
        self.commits().abandon(stopped.as_ref());
        self.leases.clear();
        self.notify.notify_one();
    }

    /// Returns once the member has left its group, so that the others need not wait for its session to end.
    pub(crate) async fn left(&self) {
        let mut ended = self.ended.subscribe();
        // The sender is this member's own.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Whose member it is.
    pub(crate) fn group(&self) -> Group {
        self.group
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nothing in here panics halfway through a change.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be committed.
    fn wake_committing(&self) {
        self.asked.notify_one();
    }

    /// The commit that was under way has ended.
    fn landed(&self, failed: Option<RDKafkaErrorCode>) {
        let landed = {
            let mut commits = self.commits();
            let landed = commits.land(failed);
            // Under the lock, so that nothing is given up in between.
            if let Some((sent, held)) = &landed.renewed {
                self.leases.renew(held, *sent);
                self.leases.finish(&landed.finished, *sent);
                if !landed.finished.is_empty() {
                    let sent_ago_ms = sent.elapsed().as_millis();
                    tracing::debug!(group = %self.group, sent_ago_ms, "committed what was finished");
                }
            }
            landed
        };
        let metrics = &self.shared.options.metrics;
        if landed.renewed.is_some() {
            metrics.commits.inc();
            self.shared.progress.finished(self.group, &landed.written);
        }
        if landed.again {
            metrics.commits_repeated.inc();
        }
        if let Some(longest) = landed.shortened {
            tracing::warn!(group = %self.group, longest, "the brokers take less with a position than they should (offset.metadata.max.bytes): what is finished behind one that is not is not kept there, and is done again after a kill");
        }
        if let Some(error) = landed.forbidden {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.tell(self.group, &error);
        }
        if !landed.lost.is_empty() {
            self.lose(&landed.lost);
        }
    }

    /// These are not ours any more: nothing of them is committed, and no attempt starts.
    fn let_go(&self, tenures: &[Tenure]) {
        let mut commits = self.commits();
        // Under the lock, so that no lease of a later assignment ends with them.
        self.leases.end(&commits.drop_tenures(tenures));
    }

    /// These belong to others by now: their work is thrown away.
    fn lose(&self, tenures: &[Tenure]) {
        let partitions: Vec<_> = tenures.iter().map(|one| one.at).collect();
        let last = self.leases.last(&partitions);
        self.let_go(tenures);
        let mut seats = self.seats();
        let told = seats.remove(tenures);
        let metrics = &self.shared.options.metrics;
        metrics.owned.add(-count(&told));
        metrics.lost.inc_by(told.len() as u64);
        if !told.is_empty() {
            // What came to an end since the one, and began before a lease's length after the other, is done again.
            let finished_ago_ms = last.map(|it| it.finished.elapsed().as_millis());
            let committed_ago_ms = last.map(|it| it.committed.elapsed().as_millis());
            tracing::warn!(group = %self.group, finished_ago_ms, committed_ago_ms, partitions = ?told, "partitions were lost; what was in hand is done again by their next owner");
            seats.events.push_back(Ok(Polled::Lost(told)));
            self.notify.notify_one();
        }
    }
}

fn count(partitions: &[TopicPartition]) -> i64 {
    i64::try_from(partitions.len()).unwrap_or(i64::MAX)
}

/// Kafka's names of what is subscribed to. Only with equal numbers of partitions is partition n of each owned together.
fn names(catalog: &Catalog, subscription: &Subscription) -> Result<Vec<String>, LogError> {
    let mut names = Vec::new();
    let mut partitions = None;
    for weighted in &subscription.topics {
        let entry = catalog.resolve(weighted.topic)?;
        let first = *partitions.get_or_insert(entry.partitions);
        if first != entry.partitions {
            return Err(LogError::Stopped(format!(
                "the topics that group {} reads together must have equal numbers of partitions, but {} has {} and the others {first}",
                subscription.group, weighted.topic, entry.partitions
            )));
        }
        names.push(entry.name.clone());
    }
    Ok(names)
}
