//! Going on where what was to be read is not there any more: retention was shorter than an outage, or somebody removed
//! it. librdkafka has stopped fetching the partition then, and begins again only with a new assignment.

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{LogError, Position, TopicPartition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaResult;

use super::Member;
use super::assigning::{add_at, listen};
use super::context::Consumer;
use super::seats::Seats;

/// Reads `at` from its beginning on, and tells and counts what is lost.
pub(super) fn restart(
    member: &Member,
    consumer: &Arc<Consumer>,
    at: TopicPartition,
    within: Duration,
) -> KafkaResult<()> {
    let Some((name, partition)) = member.shared.catalog.name(at) else {
        return Ok(());
    };
    let (first, _) = consumer.fetch_watermarks(name, partition, within)?;
    let first = Position::try_from(first).unwrap_or_default();
    // Held, so that nothing is read meanwhile.
    let mut seats = member.seats();
    let Some(seat) = seats.get(at) else {
        return Ok(());
    };
    let asked = std::mem::replace(&mut seat.next, first);
    if let Err(error) = assign_again(member, consumer, &mut seats, at) {
        if let Some(seat) = seats.get(at) {
            seat.next = asked;
        }
        return Err(error);
    }
    tracing::error!(group = %member.group, %at, asked, first, "records were removed before they were read: they are lost");
    let lost = first.saturating_sub(asked).max(1);
    member.shared.options.metrics.gone.inc_by(lost);
    let told = LogError::Trimmed { at, asked, first };
    seats.events.push_back(Err(told));
    drop(seats);
    member.commits().restart(at, first);
    member.notify.notify_one();
    Ok(())
}

/// Assigns the partition, or where the protocol knows no single ones all of them, from the next position on.
fn assign_again(
    member: &Member,
    consumer: &Arc<Consumer>,
    seats: &mut Seats,
    at: TopicPartition,
) -> KafkaResult<()> {
    let catalog = &member.shared.catalog;
    let alone = matches!(
        consumer.rebalance_protocol(),
        RebalanceProtocol::Cooperative
    );
    let mut list = TopicPartitionList::new();
    for seat in seats.all().filter(|seat| !alone || seat.at == at) {
        seat.ahead.clear();
        add_at(&mut list, catalog, seat.at, seat.next)?;
    }
    match alone {
        true => {
            consumer.incremental_unassign(&list)?;
            consumer.incremental_assign(&list)?;
        }
        false => consumer.assign(&list)?,
    }
    for seat in seats.all().filter(|seat| !alone || seat.at == at) {
        listen(member, consumer, seat);
    }
    Ok(())
}
