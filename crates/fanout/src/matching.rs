//! From one record of `events` to what follows from it. Pure: a snapshot in, records out.

use std::collections::HashSet;

use postrider_model::{
    Class, Delivery, Endpoint, EndpointId, Event, EventOrigin, Fanout, NewRecord, Record, Rematch,
    Timestamp,
};
use postrider_registry::Snapshot;
use postrider_store::ApplicationRef;

use crate::{Options, Rejected};

/// What follows from one record.
#[derive(Debug)]
pub(crate) enum Matched {
    /// These records; so many of them deliveries.
    Outputs {
        records: Vec<NewRecord>,
        deliveries: usize,
    },
    /// It cannot be dealt with, ever.
    Reject(Rejected, String),
    /// Only a fresh snapshot can tell: the application is not in this one, or it is a rematch.
    NeedsFresh,
}

/// What matching goes by.
pub(crate) struct Matcher<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// True if the snapshot could not be brought up to date after the record was read.
    pub(crate) stale: bool,
    pub(crate) options: &'a Options,
}

/// The part of an event that is matched now.
struct Part<'a> {
    endpoints: Vec<&'a Endpoint>,
    /// True if more endpoints follow it.
    more: bool,
}

impl Matcher<'_> {
    pub(crate) fn outputs(&self, record: &Record) -> Matched {
        let event = match Event::from_record(record) {
            Ok(event) => event,
            Err(malformed) => return Matched::Reject(Rejected::Malformed, malformed.to_string()),
        };
        let known = self
            .snapshot
            .application(&ApplicationRef::Id(event.app_id))
            .is_some();
        match (&event.origin, known, self.stale) {
            (EventOrigin::Rematch(_), _, true) | (_, false, true) => Matched::NeedsFresh,
            (_, false, false) => Matched::Reject(
                Rejected::NoApplication,
                format!("there is no application {}", event.app_id),
            ),
            (EventOrigin::Rematch(rematch), true, false) => {
                self.add(&event, record, &rematch.clone())
            }
            (EventOrigin::Accepted, true, _) => self.part(&event, record, None),
            (EventOrigin::Continuation { after }, true, _) => {
                self.part(&event, record, Some(*after))
            }
        }
    }

    /// The deliveries of the part behind `after`, its record in `fanouts`, and what comes behind it.
    fn part(&self, event: &Event, record: &Record, after: Option<EndpointId>) -> Matched {
        let part = self.take_part(event, after);
        let last = part.endpoints.last().map(|endpoint| endpoint.id);
        let large = part.more || after.is_some();
        let class = if large { Class::Bulk } else { Class::Normal };
        let mut records = self.deliveries(event, record, &part.endpoints, class);
        let deliveries = records.len();
        let matched: Vec<EndpointId> = part.endpoints.iter().map(|endpoint| endpoint.id).collect();
        if self.stale {
            let until = last.filter(|_| part.more);
            records.push(with_origin(
                event,
                EventOrigin::Rematch(Rematch {
                    after,
                    until,
                    matched: matched.clone(),
                }),
            ));
        }
        records.push(self.fanout(event, matched, !part.more).to_record());
        if let (true, Some(after)) = (part.more, last) {
            records.push(with_origin(event, EventOrigin::Continuation { after }));
        }
        Matched::Outputs {
            records,
            deliveries,
        }
    }

    /// What a part that was matched stale missed: endpoints that existed when the event was accepted.
    fn add(&self, event: &Event, record: &Record, rematch: &Rematch) -> Matched {
        let had: HashSet<EndpointId> = rematch.matched.iter().copied().collect();
        let missed: Vec<&Endpoint> = self
            .snapshot
            .matching(
                event.app_id,
                &event.event_type,
                &event.channels,
                rematch.after,
            )
            .map(AsRef::as_ref)
            .take_while(|endpoint: &&Endpoint| {
                rematch.until.is_none_or(|until| endpoint.id <= until)
            })
            .filter(|endpoint| {
                endpoint.created_at <= event.accepted_at && !had.contains(&endpoint.id)
            })
            .collect();
        let mut records = self.deliveries(event, record, &missed, Class::Normal);
        let deliveries = records.len();
        records.push(
            self.fanout(
                event,
                missed.iter().map(|endpoint| endpoint.id).collect(),
                true,
            )
            .to_record(),
        );
        Matched::Outputs {
            records,
            deliveries,
        }
    }

    fn take_part<'a>(&'a self, event: &'a Event, after: Option<EndpointId>) -> Part<'a> {
        let fits = (self.options.part_bytes / event.payload.len().max(1))
            .clamp(1, self.options.part_endpoints);
        let mut matching =
            self.snapshot
                .matching(event.app_id, &event.event_type, &event.channels, after);
        let endpoints: Vec<&Endpoint> = matching.by_ref().take(fits).map(AsRef::as_ref).collect();
        Part {
            endpoints,
            more: matching.next().is_some(),
        }
    }

    fn deliveries(
        &self,
        event: &Event,
        record: &Record,
        to: &[&Endpoint],
        class: Class,
    ) -> Vec<NewRecord> {
        let event_at = (record.at.partition, record.position);
        let made = to.iter().map(|endpoint| {
            let deadline = self.deadline(endpoint, event.accepted_at);
            let version = self.snapshot.version();
            Delivery::of_event(event, event_at, endpoint.id, version, class, deadline).to_record()
        });
        // Room for the records that come behind them.
        let mut records = Vec::with_capacity(to.len() + 3);
        records.extend(made);
        records
    }

    /// The whole schedule with its jitter, and the slack.
    fn deadline(&self, endpoint: &Endpoint, accepted_at: Timestamp) -> Timestamp {
        let total = endpoint
            .policy
            .schedule
            .as_ref()
            .unwrap_or(&self.options.schedule)
            .total();
        accepted_at.plus(total + total / 10 + self.options.slack)
    }

    fn fanout(&self, event: &Event, endpoints: Vec<EndpointId>, complete: bool) -> Fanout {
        Fanout {
            event_id: event.id,
            app_id: event.app_id,
            endpoints,
            registry_version: self.snapshot.version(),
            stale: self.stale,
            accepted_at: event.accepted_at,
            complete,
        }
    }
}

/// The record of `events` that brings `event` back for another purpose.
fn with_origin(event: &Event, origin: EventOrigin) -> NewRecord {
    Event {
        origin,
        ..event.clone()
    }
    .to_record()
}
