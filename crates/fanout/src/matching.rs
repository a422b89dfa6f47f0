//! From one record of `events` to what follows from it. Pure: a snapshot in, records out.

use std::collections::HashSet;
use std::time::Duration;

use postrider_model::topics::{self, EVENTS_WAITING, FANOUTS};
use postrider_model::{
    Class, Delivery, Endpoint, EndpointId, Event, EventId, EventOrigin, Fanout, Foreign, Incoming,
    NewRecord, Record, Rematch, Schedule, Timestamp, tier_for, waiting,
};
use postrider_registry::Snapshot;
use postrider_store::ApplicationRef;
use postrider_trace::{Span, Tracer};

use crate::{Options, Rejected};

/// What follows from one record.
#[derive(Debug)]
pub(crate) enum Matched {
    /// These records; so many of them deliveries.
    Outputs {
        /// The same for a repeat of the record, and for nothing else.
        key: EventId,
        records: Vec<NewRecord>,
        deliveries: usize,
        /// Of all this, if the event is sampled. The records carry its context.
        span: Span,
    },
    /// It cannot be dealt with, ever.
    Reject(Rejected, String),
    /// Only a fresh snapshot can tell: the application is not in this one, or it is a rematch. This record brings it back.
    NeedsFresh(NewRecord),
}

impl Matched {
    /// The same, and this record with it.
    fn and(mut self, record: NewRecord) -> Self {
        if let Self::Outputs { records, .. } = &mut self {
            records.push(record);
        }
        self
    }

    /// The same, done within `of`.
    fn within(mut self, of: Span) -> Self {
        if let Self::Outputs {
            span, deliveries, ..
        } = &mut self
        {
            *span = of;
            span.note(|note| note.number("postrider.fanout.deliveries", *deliveries));
        }
        self
    }
}

/// What matching goes by.
pub(crate) struct Matcher<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// True if the snapshot could not be brought up to date after the record was read.
    pub(crate) stale: bool,
    pub(crate) options: &'a Options,
    pub(crate) tracer: &'a Tracer,
}

/// The part of an event that is matched now.
struct Part<'a> {
    endpoints: Vec<&'a Endpoint>,
    /// True if more endpoints follow it.
    more: bool,
}

impl Matcher<'_> {
    pub(crate) fn outputs(&self, record: &Record) -> Matched {
        match Incoming::read(record, self.options.intake) {
            Ok(Incoming::Own(event)) => self.own(event, record),
            Ok(Incoming::Foreign(foreign)) => self.foreign(foreign, record),
            Err(refused) => Matched::Reject(refused.kind.into(), refused.to_string()),
        }
    }

    fn own(&self, event: Event, record: &Record) -> Matched {
        let known = self
            .snapshot
            .application(&ApplicationRef::Id(event.app_id))
            .is_some();
        match (&event.origin, known, self.stale) {
            (EventOrigin::Rematch(_), _, true) | (_, false, true) => {
                Matched::NeedsFresh(waiting(record))
            }
            (_, false, false) => no_application(&event.app_id.to_string()),
            (_, true, _) => {
                // Ingest drew for a new trace already.
                let parent = event.trace.as_deref();
                let (event, span) = self.in_span(self.tracer.process(parent, record.at), event);
                let matched = match &event.origin {
                    EventOrigin::Rematch(rematch) => self.add(&event, record, rematch),
                    EventOrigin::Accepted => self.part(&event, record, None),
                    EventOrigin::Continuation { after } => self.part(&event, record, Some(*after)),
                };
                matched.within(span)
            }
        }
    }

    /// `event` as what is made within `span` carries it.
    fn in_span(&self, mut span: Span, mut event: Event) -> (Event, Span) {
        if let Some(trace) = span.context() {
            event.trace = Some(trace);
        }
        span.note(|note| {
            note.show("messaging.message.id", event.id);
            note.show("postrider.event.id", event.id);
            note.show("postrider.event.type", &event.event_type);
            note.show("postrider.application.id", event.app_id);
            note.number("postrider.registry.version", self.snapshot.version());
            note.flag("postrider.fanout.stale", self.stale);
        });
        (event, span)
    }

    /// What another producer wrote is judged here as ingest judges what comes over HTTP, and written once more for the
    /// archive as the event that it is: nobody else has to read it, or to agree on what it is.
    fn foreign(&self, foreign: Foreign, record: &Record) -> Matched {
        let Some(by) = application_ref(&foreign.application) else {
            return no_application(&foreign.application);
        };
        let event_type = foreign.event_type();
        let strict = self.options.strict_event_types;
        let is_type = !strict || self.snapshot.event_type(event_type).is_some();
        match (self.snapshot.application(&by), is_type, self.stale) {
            (Some(application), true, _) => {
                let event = foreign.into_event(application.id);
                let parent = event.trace.as_deref();
                let span = self.tracer.process_first(parent, record.at);
                let (event, span) = self.in_span(span, event);
                let matched = self.part(&event, record, None);
                let archived = NewRecord {
                    topic: FANOUTS,
                    ..event.to_record()
                };
                matched.and(archived).within(span)
            }
            (_, _, true) => Matched::NeedsFresh(waiting(record)),
            (None, _, false) => no_application(&foreign.application),
            (Some(_), false, false) => {
                let why = format!(
                    "the event type {event_type} is not registered, and this installation accepts registered types only"
                );
                Matched::Reject(Rejected::UnknownType, why)
            }
        }
    }

    /// The deliveries of the part behind `after`, its record in `fanouts`, and what comes behind it.
    fn part(&self, event: &Event, record: &Record, after: Option<EndpointId>) -> Matched {
        let part = self.take_part(event, self.wanting(event, after));
        let last = part.endpoints.last().map(|endpoint| endpoint.id);
        let large = part.more || after.is_some();
        let class = if large { Class::Bulk } else { Class::Normal };
        let mut records = self.deliveries(event, record, &part.endpoints, class);
        let deliveries = records.len();
        let matched: Vec<EndpointId> = part.endpoints.iter().map(|endpoint| endpoint.id).collect();
        if self.stale {
            let until = last.filter(|_| part.more);
            let rematch = Rematch {
                after,
                until,
                matched: matched.clone(),
            };
            records.push(to_rematch(event, rematch));
        }
        records.push(self.fanout(event, matched, !part.more).to_record());
        if let (true, Some(after)) = (part.more, last) {
            records.push(with_origin(event, EventOrigin::Continuation { after }));
        }
        Matched::Outputs {
            key: key(event),
            records,
            deliveries,
            span: Span::default(),
        }
    }

    /// What a part that was matched stale missed: endpoints that existed when the event was accepted.
    fn add(&self, event: &Event, record: &Record, rematch: &Rematch) -> Matched {
        let had: HashSet<EndpointId> = rematch.matched.iter().copied().collect();
        let missed = self
            .wanting(event, rematch.after)
            .take_while(|endpoint| rematch.until.is_none_or(|until| endpoint.id <= until))
            .filter(|endpoint| {
                endpoint.created_at <= event.accepted_at && !had.contains(&endpoint.id)
            });
        let part = self.take_part(event, missed);
        let rest = rest_of(rematch, &part);
        let large = rest.is_some() || rematch.after.is_some() || rematch.until.is_some();
        let class = if large { Class::Bulk } else { Class::Normal };
        let mut records = self.deliveries(event, record, &part.endpoints, class);
        let deliveries = records.len();
        if deliveries > 0 {
            let added = part.endpoints.iter().map(|endpoint| endpoint.id).collect();
            // That all parts of the event were matched is told by the last of them.
            records.push(self.fanout(event, added, false).to_record());
        }
        records.extend(rest.map(|rest| to_rematch(event, rest)));
        Matched::Outputs {
            key: key(event),
            records,
            deliveries,
            span: Span::default(),
        }
    }

    /// Those that the snapshot has for `event`, behind `after`.
    fn wanting<'a>(
        &'a self,
        event: &'a Event,
        after: Option<EndpointId>,
    ) -> impl Iterator<Item = &'a Endpoint> {
        let (event_type, channels) = (&event.event_type, &event.channels);
        let matching = self
            .snapshot
            .matching(event.app_id, event_type, channels, after);
        matching.map(AsRef::as_ref)
    }

    /// As many of `endpoints` as one part may have.
    fn take_part<'a>(
        &self,
        event: &Event,
        mut endpoints: impl Iterator<Item = &'a Endpoint>,
    ) -> Part<'a> {
        let fits = (self.options.part_bytes / event.payload.len().max(1))
            .clamp(1, self.options.part_endpoints);
        Part {
            endpoints: endpoints.by_ref().take(fits).collect(),
            more: endpoints.next().is_some(),
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
            let schedule = endpoint.policy.schedule.as_ref();
            let schedule = schedule.unwrap_or(&self.options.schedule);
            let deadline = self.deadline(schedule, event.accepted_at);
            // Not the snapshot's: whoever has missed the change of another endpoint may judge this one.
            let version = self.snapshot.version_of(endpoint);
            let delivery =
                Delivery::of_event(event, event_at, endpoint.id, version, class, deadline);
            to_record(delivery, schedule.wait_after(0).unwrap_or_default())
        });
        // Room for the records that come behind them.
        let mut records = Vec::with_capacity(to.len() + 3);
        records.extend(made);
        records
    }

    /// The whole schedule with its jitter, and the slack.
    fn deadline(&self, schedule: &Schedule, accepted_at: Timestamp) -> Timestamp {
        let total = schedule.total();
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

/// What tells a repeat of this record from the other records of the same event.
fn key(event: &Event) -> EventId {
    let id = event.id.as_bytes();
    let end = |end: &Option<EndpointId>| end.map_or([0; 16], |id| *id.as_bytes());
    match &event.origin {
        EventOrigin::Accepted => event.id,
        EventOrigin::Continuation { after } => EventId::derive(&[id, after.as_bytes()]),
        EventOrigin::Rematch(rematch) => {
            EventId::derive(&[id, &end(&rematch.after), &end(&rematch.until)])
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

/// The record that brings `event` back once the registry is up to date.
fn to_rematch(event: &Event, rematch: Rematch) -> NewRecord {
    NewRecord {
        topic: EVENTS_WAITING,
        ..with_origin(event, EventOrigin::Rematch(rematch))
    }
}

/// What is left of `rematch` behind `part`; `None` if nothing is.
fn rest_of(rematch: &Rematch, part: &Part<'_>) -> Option<Rematch> {
    let last = part.endpoints.last().filter(|_| part.more)?.id;
    let matched = rematch.matched.iter().copied();
    Some(Rematch {
        after: Some(last),
        until: rematch.until,
        matched: matched.filter(|id| *id > last).collect(),
    })
}

/// The record of a new delivery: for its class, or for the tier of the wait that its schedule begins with.
fn to_record(delivery: Delivery, first_wait: Duration) -> NewRecord {
    let Some(tier) = tier_for(&topics::RETRY, first_wait, first_wait) else {
        return delivery.to_record();
    };
    let at = delivery.accepted_at.plus(first_wait);
    delivery.first_at(at).to_record_in(tier.topic)
}

/// An application by id or uid; `None` if the text can be neither.
fn application_ref(given: &str) -> Option<ApplicationRef> {
    let id = given.parse().map(ApplicationRef::Id).ok();
    id.or_else(|| given.parse().map(ApplicationRef::Uid).ok())
}

fn no_application(given: &str) -> Matched {
    let shown = given.chars().take(80).collect::<String>();
    let why = format!("there is no application {shown}");
    Matched::Reject(Rejected::NoApplication, why)
}
