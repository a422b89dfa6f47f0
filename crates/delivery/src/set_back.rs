//! What is to wait and found no room in the log, kept in memory meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_log::Portion;
use postrider_model::topics::{PARK, RETRY};
use postrider_model::{Delivery, NewRecord, Position, Timestamp, TopicPartition};
use tokio::time::Instant;

use crate::finished::{Finished, Of};

/// How long a log that had no room for one is not asked for more.
const AGAIN: Duration = Duration::from_millis(500);

/// Retries, parked deliveries and dead letters whose records are not finished, because a full disk did not hold them beside
/// these.
///
/// The log is asked for them again from the lowest position on, so that what it takes lets something be trimmed, in portions
/// that it has room for. If it did not hold even one, those that are due are sent again from here: what becomes of a delivery
/// that its endpoint takes needs next to no room, and makes some.
#[derive(Debug, Default)]
pub(crate) struct SetBack {
    all: BTreeMap<(TopicPartition, Position), Kept>,
    /// How many the log is asked for next.
    portion: Portion,
    /// When it is asked.
    again_at: Option<Instant>,
    /// It did not hold one.
    holds_none: bool,
}

#[derive(Debug)]
struct Kept {
    finished: Finished,
    /// When it may be sent again; none of a dead letter.
    due: Option<Timestamp>,
}

/// One that is sent again, though its record in the log says nothing of the attempts since it was read.
#[derive(Debug)]
pub(crate) struct Recalled {
    pub(crate) at: TopicPartition,
    pub(crate) position: Position,
    pub(crate) delivery: Delivery,
    /// Bytes of memory that it counted for.
    pub(crate) weight: usize,
}

impl SetBack {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// True if something of these partitions is here.
    pub(crate) fn has(&self, at: TopicPartition) -> bool {
        self.all.keys().any(|(of, _)| *of == at)
    }

    /// The partition of each that is here.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.all.keys().map(|(of, _)| *of)
    }

    /// When the log is to be asked again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again_at.filter(|_| !self.is_empty())
    }

    /// Takes what is only a delivery that is to wait, or a dead letter, and finishes a record.
    pub(crate) fn take(&mut self, finished: Finished) {
        let Of::Record(at, position) = finished.of else {
            return;
        };
        let due = finished.outputs.iter().find_map(waits_until);
        self.all.insert((at, position), Kept { finished, due });
    }

    /// The log did not hold so many of these at once.
    pub(crate) fn refused(&mut self, count: usize, now: Instant) {
        self.portion.refused(count);
        if count <= 1 && !self.holds_none {
            tracing::warn!(
                "the log has no room for what failed beside what it stands for: what is due is sent again from memory"
            );
        }
        self.holds_none = count <= 1;
        self.again_at = Some(if self.holds_none { now + AGAIN } else { now });
    }

    /// The log took what it was asked for last.
    pub(crate) fn written(&mut self, now: Instant) {
        self.portion.taken();
        self.holds_none = false;
        self.again_at = Some(now);
    }

    /// What the log is to be asked for now, from the lowest position on.
    pub(crate) fn ask(&mut self, now: Instant, most_bytes: usize) -> Vec<Finished> {
        let mut asked: Vec<Finished> = Vec::new();
        if self.due().is_none_or(|due| due > now) {
            return asked;
        }
        let mut bytes = 0;
        while asked.len() < self.portion.next()
            && let Some(first) = self.all.first_entry()
        {
            let size =
                |finished: &Finished| finished.outputs.iter().map(NewRecord::size).sum::<usize>();
            bytes += size(&first.get().finished);
            if bytes > most_bytes && !asked.is_empty() {
                break;
            }
            asked.push(first.remove().finished);
        }
        asked
    }

    /// What is to be sent again, because its time has come and the log does not hold it.
    pub(crate) fn recall(&mut self, now: Timestamp) -> Vec<Recalled> {
        if !self.holds_none {
            return Vec::new();
        }
        let is_due = |_: &_, kept: &mut Kept| kept.due.is_some_and(|due| due <= now);
        let due = self.all.extract_if(.., is_due);
        due.filter_map(|((at, position), kept)| {
            let delivery = kept.finished.outputs.iter().find_map(waiting)?;
            Some(Recalled {
                at,
                position,
                delivery,
                weight: kept.finished.weight,
            })
        })
        .collect()
    }

    /// Gives up what lies in these partitions.
    pub(crate) fn lose(&mut self, partitions: &[TopicPartition]) -> Vec<Finished> {
        let lost = self
            .all
            .extract_if(.., |(at, _), _| partitions.contains(at));
        lost.map(|(_, kept)| kept.finished).collect()
    }
}

/// The delivery, if that is what the record is.
fn waiting(record: &NewRecord) -> Option<Delivery> {
    let is_tier = RETRY
        .iter()
        .chain(&PARK)
        .any(|tier| tier.topic == record.topic);
    is_tier
        .then(|| Delivery::decode(&record.value).ok())
        .flatten()
}

fn waits_until(record: &NewRecord) -> Option<Timestamp> {
    waiting(record).map(|delivery| delivery.not_before)
}
