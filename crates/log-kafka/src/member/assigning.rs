//! Taking partitions over: where was the group in them, and where does reading begin?

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postrider_log::{Committed, Position, TopicPartition};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::context::{Consumer, take_over};
use super::seats::Seat;
use super::{Clients, Member};
use crate::catalog::Catalog;
use crate::onlooker::Onlooker;

/// Between two questions to brokers that did not answer the first.
const AGAIN: Duration = Duration::from_millis(250);

/// Partitions that the group gives us.
pub(super) struct Arrival {
    partitions: Vec<TopicPartition>,
    ask_at: Instant,
}

/// Where the group was in a partition.
pub(super) struct Placed {
    pub(super) at: TopicPartition,
    /// What it had committed; the default if it never did.
    pub(super) committed: Committed,
    /// Where reading begins.
    pub(super) from: Position,
}

impl Arrival {
    pub(super) fn new(partitions: Vec<TopicPartition>) -> Self {
        Self {
            partitions,
            ask_at: Instant::now(),
        }
    }

    /// The group wants these back before they were taken over.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.partitions.retain(|at| !partitions.contains(at));
    }

    /// Where the group was in each; none if the brokers did not say, which is asked again.
    pub(super) fn ask(
        &mut self,
        consumer: &Consumer,
        catalog: &Catalog,
        within: Duration,
    ) -> Option<Vec<Placed>> {
        if Instant::now() < self.ask_at {
            return None;
        }
        match place(&self.partitions, consumer, catalog, within) {
            Ok(placed) => Some(placed),
            Err(error) => {
                tracing::warn!(%error, "asking for committed positions; it is asked again");
                self.ask_at = Instant::now() + AGAIN;
                None
            }
        }
    }
}

fn place(
    partitions: &[TopicPartition],
    consumer: &Consumer,
    catalog: &Catalog,
    within: Duration,
) -> KafkaResult<Vec<Placed>> {
    let list = catalog.list(partitions.iter().copied());
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(list, within)?;
    let mut placed = Vec::new();
    let mut never = Vec::new();
    for element in committed.elements() {
        element.error()?;
        let Some(at) = catalog.at(element.topic(), element.partition()) else {
            continue;
        };
        match element.offset() {
            Offset::Offset(offset) => {
                let next = Position::try_from(offset).unwrap_or_default();
                let metadata = element.metadata().to_owned();
                let committed = Committed { next, metadata };
                placed.push(Placed {
                    at,
                    committed,
                    from: next,
                });
            }
            _ => never.push(at),
        }
    }
    placed.extend(beginnings(&never, consumer, catalog, within)?);
    Ok(placed)
}

/// A group that never committed begins where the partition does: for it, nothing was lost.
fn beginnings(
    partitions: &[TopicPartition],
    consumer: &Consumer,
    catalog: &Catalog,
    within: Duration,
) -> KafkaResult<Vec<Placed>> {
    let mut list = catalog.list(partitions.iter().copied());
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    list.set_all_offsets(Offset::Beginning)?;
    let found = consumer.offsets_for_times(list, within)?;
    let mut placed = Vec::new();
    for element in found.elements() {
        element.error()?;
        let (Some(at), Offset::Offset(first)) = (
            catalog.at(element.topic(), element.partition()),
            element.offset(),
        ) else {
            return Err(KafkaError::NoMessageReceived);
        };
        placed.push(Placed {
            at,
            committed: Committed::default(),
            from: Position::try_from(first).unwrap_or_default(),
        });
    }
    Ok(placed)
}

/// Begins to read, and to commit, which begins the leases.
pub(super) fn begin(
    member: &Member,
    Clients { consumer, fetcher }: &Clients,
    placed: Vec<Placed>,
) -> KafkaResult<()> {
    let catalog = &member.shared.catalog;
    // A list of its own for each: librdkafka keeps in it what it knows of the partitions.
    let (mut owned, mut fetched) = (TopicPartitionList::new(), TopicPartitionList::new());
    for Placed { at, from, .. } in &placed {
        for list in [&mut owned, &mut fetched] {
            add_at(list, catalog, *at, *from)?;
        }
    }
    for Placed {
        at,
        committed,
        from,
    } in placed
    {
        let mut seat = Seat::new(at, from, committed.clone());
        // Before it is assigned, so that nothing is fetched into the queue of all.
        listen(member, fetcher, &mut seat);
        let metadata = committed.metadata;
        member.commits().take_over(
            at,
            Committed {
                next: from,
                metadata,
            },
        );
        member.seats().add(seat);
    }
    take_over(consumer, &owned)?;
    fetcher.incremental_assign(&fetched)
}

/// Adds a partition from a position on.
pub(super) fn add_at(
    list: &mut TopicPartitionList,
    catalog: &Catalog,
    at: TopicPartition,
    from: Position,
) -> KafkaResult<()> {
    if let Some((name, partition)) = catalog.name(at) {
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        list.add_partition_offset(name, partition, offset)?;
    }
    Ok(())
}

/// Gives a seat a queue of its own that says when something comes.
pub(super) fn listen(member: &Member, fetcher: &Arc<Onlooker>, seat: &mut Seat) {
    // The old one first: its end silences the queue.
    seat.queue = None;
    if let Some((name, partition)) = member.shared.catalog.name(seat.at) {
        seat.queue = fetcher.split_partition_queue(name, partition);
    }
    if let Some(queue) = &mut seat.queue {
        let (filled, notify) = (Arc::clone(&seat.filled), Arc::clone(&member.notify));
        queue.set_nonempty_callback(move || {
            filled.store(true, Ordering::Release);
            notify.notify_one();
        });
    }
    // Something may have come before it could say so.
    seat.filled.store(true, Ordering::Release);
}
