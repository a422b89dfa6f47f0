//! Taking partitions over: where was the group in them, and where does reading begin?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postrider_log::{Committed, Position, Tenure, TopicPartition};
use postrider_model::{Clock as _, SystemClock};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::context::{Consumer, take_over};
use super::seats::Seat;
use super::{Clients, Member};
use crate::catalog::Catalog;
use crate::metrics::{LogMetrics, Misplaced};
use crate::onlooker::Onlooker;

/// Between two questions to brokers that did not answer the first.
const AGAIN: Duration = Duration::from_millis(250);
/// Where positions are not to be believed, reading goes on at what was written so long ago: that covers the time from a cut
/// until it is found, and clocks that differ.
const BACK: Duration = Duration::from_secs(60 * 60);

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
        cut: &BTreeSet<TopicPartition>,
        metrics: &LogMetrics,
        within: Duration,
    ) -> Option<Vec<Placed>> {
        if Instant::now() < self.ask_at {
            return None;
        }
        match place(&self.partitions, consumer, catalog, cut, metrics, within) {
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
    cut: &BTreeSet<TopicPartition>,
    metrics: &LogMetrics,
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
    let known: Vec<_> = placed.iter().map(|placed| placed.at).collect();
    let ends = edges(&known, Offset::End, consumer, catalog, within)?;
    let firsts = edges(&never, Offset::Beginning, consumer, catalog, within)?;
    let is_misplaced = |placed: &Placed| {
        let is_beyond =
            |(at, end): &(TopicPartition, Position)| *at == placed.at && *end < placed.from;
        cut.contains(&placed.at) || ends.iter().any(is_beyond)
    };
    let misplaced = placed.iter().filter(|one| is_misplaced(one));
    let misplaced: Vec<_> = misplaced.map(|one| one.at).collect();
    let recent = SystemClock.now().minus(BACK).as_millis();
    let recent = edges(
        &misplaced,
        Offset::Offset(recent),
        consumer,
        catalog,
        within,
    )?;
    for (at, recent) in recent {
        let end = ends.iter().find(|(of, _)| *of == at);
        let end = end.map_or(recent, |(_, end)| *end);
        if let Some(placed) = placed.iter_mut().find(|placed| placed.at == at) {
            misplace(placed, recent.min(end), end, metrics);
        }
    }
    let begins = |(at, first)| begins(at, first, metrics);
    placed.extend(firsts.into_iter().map(begins));
    Ok(placed)
}

/// The position lies behind the end, or did until others were written there: brokers lost what they had acknowledged, or the
/// topic was made anew. Nobody can say what of the records that are there was dealt with. To read all would send again
/// whatever retention has kept, and to go on at the end would lose what was written since; so what is recent is read again.
fn misplace(placed: &mut Placed, recent: Position, end: Position, metrics: &LogMetrics) {
    let (at, asked) = (placed.at, placed.from);
    let from = asked.min(recent);
    tracing::error!(%at, asked, end, from, "the partition ended before the group's position, because it was made anew or has lost records: reading goes on at what was written within the last hour, which may be sent again. If older records there were never read, stop this group's members and set its position to the earliest (kafka-consumer-groups --reset-offsets)");
    metrics.misplaced.of(Misplaced::Beyond).inc();
    let metadata = String::new();
    placed.committed = Committed {
        next: from,
        metadata,
    };
    placed.from = from;
}

/// A group that never committed begins where the partition does. If that has lost its first records, nobody can say whether
/// the group had read them, and its positions were forgotten.
fn begins(at: TopicPartition, first: Position, metrics: &LogMetrics) -> Placed {
    if first > 0 {
        tracing::warn!(%at, first, "the group has no position here, and the first records of the partition are gone: it begins with what is left. If it is not new, its positions were forgotten (offsets.retention.minutes), and what is left is read again");
        metrics.misplaced.of(Misplaced::Missing).inc();
    }
    Placed {
        at,
        committed: Committed::default(),
        from: first,
    }
}

/// Where these begin, or end, or what was written at a time begins; behind everything where nothing is as young.
fn edges(
    partitions: &[TopicPartition],
    edge: Offset,
    consumer: &Consumer,
    catalog: &Catalog,
    within: Duration,
) -> KafkaResult<Vec<(TopicPartition, Position)>> {
    let mut list = catalog.list(partitions.iter().copied());
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    list.set_all_offsets(edge)?;
    let found = consumer.offsets_for_times(list, within)?;
    let mut edges = Vec::new();
    for element in found.elements() {
        element.error()?;
        let at = catalog.at(element.topic(), element.partition());
        let position = match element.offset() {
            Offset::Offset(offset) => Position::try_from(offset).unwrap_or_default(),
            Offset::End => Position::MAX,
            _ => return Err(KafkaError::NoMessageReceived),
        };
        edges.push((at.ok_or(KafkaError::NoMessageReceived)?, position));
    }
    Ok(edges)
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
        let epoch = member.seats().next_epoch();
        let tenure = Tenure { at, epoch };
        let mut seat = Seat::new(tenure, from, committed.clone());
        // Before it is assigned, so that nothing is fetched into the queue of all.
        listen(member, fetcher, &mut seat);
        let metadata = committed.metadata;
        member.commits().take_over(
            tenure,
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
