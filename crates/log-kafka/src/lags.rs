//! How far every group is behind, and whether one has got as far as it must.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_log::{Group, Keep, Lag, LogError, Partition, Position, Topic, TopicPartition};
use postrider_model::{Clock as _, SystemClock};
use rdkafka::error::KafkaResult;
use tokio::sync::Mutex;

use crate::catalog::{Catalog, Entry};
use crate::error::{busy, closed};
use crate::inspector::{Edge, Inspector};
use crate::shared::Shared;

/// How far `groups` are behind in all that they have to finish. Blocks.
///
/// Everything is asked for at once: what the topics have, and of each group what it has finished.
pub(crate) fn lags(
    inspector: &Inspector,
    catalog: &Catalog,
    groups: &[Group],
) -> KafkaResult<Vec<Lag>> {
    let read = |group: Group| {
        let of_group = |entry: &&Entry| match entry.spec.keep {
            Keep::UntilFinished(groups) => groups.contains(&group),
            Keep::For(_) | Keep::Newest => false,
        };
        let entries = catalog.entries().iter().filter(of_group);
        entries.flat_map(Catalog::partitions).collect::<Vec<_>>()
    };
    let partitions: BTreeSet<TopicPartition> = groups.iter().copied().flat_map(read).collect();
    let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
    let firsts = inspector.edges(&partitions, Edge::First)?;
    let ends = inspector.edges(&partitions, Edge::End)?;
    let place = |of: &BTreeMap<_, Position>, at| of.get(&at).copied().unwrap_or_default();
    let mut lags = Vec::new();
    let mut oldest = Vec::new();
    for group in groups {
        let read = read(*group);
        let committed = inspector.committed(*group, &read)?;
        for at in read {
            let next = place(&committed, at).max(place(&firsts, at));
            let records = place(&ends, at).saturating_sub(next);
            if records > 0 {
                oldest.push((lags.len(), at, next));
            }
            let (group, oldest_age) = (*group, Duration::ZERO);
            lags.push(Lag {
                at,
                group,
                records,
                oldest_age,
            });
        }
    }
    age(inspector, &mut lags, oldest)?;
    Ok(lags)
}

/// Adds the ages. Two groups may stand at different places of one partition, so each group's are asked apart.
fn age(
    inspector: &Inspector,
    lags: &mut [Lag],
    mut oldest: Vec<(usize, TopicPartition, Position)>,
) -> KafkaResult<()> {
    let now = SystemClock.now();
    oldest.retain(|(index, at, next)| {
        let Some(lag) = lags.get_mut(*index) else {
            return false;
        };
        let known = inspector.ages.known(lag.group, *at, *next);
        lag.oldest_age = known.map_or(Duration::ZERO, |came| now.since(came));
        known.is_none()
    });
    while !oldest.is_empty() {
        let mut asked: HashMap<TopicPartition, (usize, Position)> = HashMap::new();
        oldest.retain(|(index, at, next)| {
            let taken = asked.contains_key(at);
            if !taken {
                asked.insert(*at, (*index, *next));
            }
            taken
        });
        let positions: Vec<_> = asked.iter().map(|(at, (_, next))| (*at, *next)).collect();
        for (at, came) in inspector.times(&positions)? {
            let asked = asked.get(&at);
            let Some((lag, next)) =
                asked.and_then(|(index, next)| Some((lags.get_mut(*index)?, next)))
            else {
                continue;
            };
            lag.oldest_age = now.since(came);
            inspector.ages.learn(lag.group, at, *next, came);
        }
    }
    Ok(())
}

/// Between two questions to the brokers on behalf of all who wait for a group.
const EVERY: Duration = Duration::from_millis(25);

/// A group in a topic.
type Reading = (Group, Topic);

/// What the brokers said last of each group, shared by all who wait for it.
#[derive(Default)]
pub(crate) struct Waits {
    known: Mutex<HashMap<Reading, Arc<Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    positions: HashMap<Partition, Position>,
}

impl Waits {
    /// Returns once `group` has finished `topic` up to `ends`: by what members in this process committed, else by what
    /// the brokers say.
    pub(crate) async fn until_finished(
        &self,
        shared: &Arc<Shared>,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
    ) -> Result<(), LogError> {
        let mut progress = shared.progress.subscribe();
        let known = {
            let mut all = self.known.lock().await;
            Arc::clone(all.entry((group, topic)).or_default())
        };
        loop {
            if shared.is_closed() {
                return Err(closed());
            }
            let left: Vec<(Partition, Position)> = {
                let here = progress.borrow_and_update();
                let behind = |(partition, end): &&(Partition, Position)| {
                    let at = TopicPartition {
                        topic,
                        partition: *partition,
                    };
                    here.get(&(group, at)).is_none_or(|next| next < end)
                };
                ends.iter()
                    .filter(behind)
                    .filter(|(_, end)| *end > 0)
                    .copied()
                    .collect()
            };
            if left.is_empty() || ask(shared, &known, group, topic, &left).await? {
                return Ok(());
            }
            tokio::select! {
                _ = progress.changed() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

/// Do the brokers say that the group is so far?
async fn ask(
    shared: &Arc<Shared>,
    known: &Mutex<Known>,
    group: Group,
    topic: Topic,
    ends: &[(Partition, Position)],
) -> Result<bool, LogError> {
    let mut known = known.lock().await;
    if known.asked.is_none_or(|asked| asked.elapsed() >= EVERY) {
        let entry = shared.catalog.resolve(topic)?;
        let partitions: Vec<TopicPartition> = Catalog::partitions(entry).collect();
        let inspector = Arc::clone(&shared.inspector);
        let asked =
            tokio::task::spawn_blocking(move || inspector.committed(group, &partitions)).await;
        let committed = asked
            .map_err(|error| LogError::Stopped(error.to_string()))?
            .map_err(|error| busy("asking what a group has committed", &error))?;
        known.positions = committed
            .into_iter()
            .map(|(at, next)| (at.partition, next))
            .collect();
        known.asked = Some(Instant::now());
    }
    let reached = |(partition, end): &(Partition, Position)| {
        known
            .positions
            .get(partition)
            .is_some_and(|next| next >= end)
    };
    Ok(ends.iter().all(reached))
}
