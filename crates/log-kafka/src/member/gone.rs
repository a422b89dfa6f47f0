//! Going on where what was to be read is not there any more: retention was shorter than an outage, or somebody removed
//! it. librdkafka has stopped fetching the partition then, and begins again only with a new assignment. Where it was cut at
//! its end instead, what the services know of positions is of records that are gone, and others may lie there by now: the
//! member joins anew, and places itself by time ([`super::assigning`]).

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{LogError, Position, TopicPartition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;

use super::Member;
use super::assigning::{add_at, listen};
use super::seats::Seats;
use crate::onlooker::Onlooker;

/// What became of a partition of which the next record is not there.
pub(super) enum Found {
    /// It is read from its beginning on.
    Restarted,
    /// Its beginning is still there, so it was cut at its end: the member has to place itself anew.
    Cut,
}

/// Reads `at` from its beginning on, and tells and counts what is lost.
pub(super) fn restart(
    member: &Member,
    fetcher: &Arc<Onlooker>,
    at: TopicPartition,
    within: Duration,
) -> KafkaResult<Found> {
    let Some((name, partition)) = member.shared.catalog.name(at) else {
        return Ok(Found::Restarted);
    };
    let (first, _) = fetcher.fetch_watermarks(name, partition, within)?;
    let first = Position::try_from(first).unwrap_or_default();
    // Held, so that nothing is read meanwhile.
    let mut seats = member.seats();
    let Some(seat) = seats.get(at) else {
        return Ok(Found::Restarted);
    };
    if first <= seat.next {
        seats.cut.insert(at);
        return Ok(Found::Cut);
    }
    let asked = std::mem::replace(&mut seat.next, first);
    if let Err(error) = assign_again(member, fetcher, &mut seats, at) {
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
    Ok(Found::Restarted)
}

/// Assigns the partition from the next position on.
fn assign_again(
    member: &Member,
    fetcher: &Arc<Onlooker>,
    seats: &mut Seats,
    at: TopicPartition,
) -> KafkaResult<()> {
    let Some(seat) = seats.get(at) else {
        return Ok(());
    };
    let mut list = TopicPartitionList::new();
    seat.ahead.clear();
    add_at(&mut list, &member.shared.catalog, seat.at, seat.next)?;
    // One that could not be assigned again the last time is not assigned.
    if let Err(error) = fetcher.incremental_unassign(&list) {
        tracing::debug!(%at, %error, "a partition is not assigned");
    }
    fetcher.incremental_assign(&list)?;
    listen(member, fetcher, seat);
    Ok(())
}
