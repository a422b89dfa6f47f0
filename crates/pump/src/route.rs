//! Where a record that has come to the head of its tier goes next. Pure.

use std::borrow::Cow;
use std::time::Duration;

use postrider_log::{Limits, rejected};
use postrider_model::topics::{PARK, RETRY, Tier};
use postrider_model::{DeadLetter, DeathReason, Delivery, NewRecord, Record, Timestamp, tier_for};

use crate::breakers::{Breakers, Verdict};
use crate::hopped::{hop, leave};
use crate::moved::Moved;
use crate::{Kind, Route};

impl Kind {
    /// Its tiers, shortest first.
    pub(crate) fn tiers(self) -> &'static [Tier] {
        match self {
            Self::Retry => &RETRY,
            Self::Park => &PARK,
        }
    }
}

/// What follows from `record`, if anything. Parked ones are judged by `breakers`; retries have none, but may be repeats.
pub(crate) fn route(
    kind: Kind,
    record: &Record,
    breakers: Option<&mut Breakers>,
    moved: Option<&mut Moved>,
    limits: Limits,
    now: Timestamp,
) -> (Route, Option<NewRecord>) {
    let delivery = match Delivery::decode(&record.value) {
        Ok(delivery) => delivery,
        Err(error) => {
            tracing::error!(at = %record.at, position = record.position, %error, "a waiting record cannot be read");
            let set_aside = rejected(record, &error.to_string(), limits);
            return (Route::Rejected, Some(set_aside));
        }
    };
    let (record, delivery) = by_this_clock(kind, record, delivery, now);
    let expired = now >= delivery.deadline;
    let waits = waits(kind, &delivery, now).filter(|_| !expired);
    if let Some(moved) = moved {
        if moved.knows(record.at, &delivery) {
            return (Route::Repeat, None);
        }
        if waits.is_none() {
            moved.leaves(record.at, &delivery);
        }
    }
    if expired {
        let letter = DeadLetter::of(delivery, DeathReason::Expired, now);
        return (Route::Expired, Some(letter.to_record()));
    }
    let hop = |tier: &Tier| (Route::Hop, Some(hop(&record, tier.topic, now)));
    let leave = || Some(leave(&record, delivery.class.topic()));
    let verdict = breakers.map_or(Verdict::ByTime, |breakers| {
        breakers.judge(delivery.endpoint_id, delivery.not_before, now)
    });
    match verdict {
        Verdict::ByTime => match waits {
            Some(tier) => hop(tier),
            None => (Route::Due, leave()),
        },
        Verdict::LetThrough => (Route::LetThrough, leave()),
        Verdict::Wait(tier) => hop(before_deadline(kind, tier, &delivery, now)),
    }
}

/// The record and its delivery as they go on from their tier. Where the clock was set back meanwhile, the delivery's time is
/// told anew, with the tier's delay gone by: as it stands it would wait in one tier after another until the clock had caught up,
/// and the worker would send it back here.
fn by_this_clock(
    kind: Kind,
    record: &Record,
    delivery: Delivery,
    now: Timestamp,
) -> (Cow<'_, Record>, Delivery) {
    let mut tiers = kind.tiers().iter();
    let tier = tiers.find(|tier| tier.topic == record.at.topic);
    let told = delivery.reckoned_at();
    let delivery = delivery.waited(tier.map_or(Duration::ZERO, |tier| tier.delay), now);
    if delivery.reckoned_at() == told {
        return (Cow::Borrowed(record), delivery);
    }
    let value = delivery.to_record().value;
    let record = Record {
        value,
        ..record.clone()
    };
    (Cow::Owned(record), delivery)
}

/// The tier in which `delivery` waits further for its own time, or its deadline if that comes first.
fn waits(kind: Kind, delivery: &Delivery, now: Timestamp) -> Option<&'static Tier> {
    let target = delivery.not_before.min(delivery.deadline);
    let whole = target.since(delivery.reckoned_at());
    let tier = tier_for(kind.tiers(), target.since(now), whole);
    // What ends here without a tier and before its time is about to pass its deadline: it waits for that.
    let ends_here = tier.is_none() && delivery.not_before > delivery.deadline;
    tier.or_else(|| kind.tiers().first().filter(|_| ends_here))
}

/// `tier`, or a shorter one that ends no later than the deadline.
fn before_deadline(
    kind: Kind,
    tier: &'static Tier,
    delivery: &Delivery,
    now: Timestamp,
) -> &'static Tier {
    let left = delivery.deadline.since(now);
    if tier.delay <= left {
        return tier;
    }
    tier_for(kind.tiers(), left, left).unwrap_or_else(|| kind.tiers().first().unwrap_or(tier))
}
