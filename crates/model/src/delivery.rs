//! One event to one endpoint.

use std::time::Duration;

use bytes::Bytes;

use crate::codec::{self, Malformed};
use crate::wire::{Fields, Sink};
use crate::{
    AppId, AttemptId, DeadLetterId, DeliveryId, EndpointId, Event, EventId, EventType, NewRecord,
    Partition, Position, Timestamp, Topic, TraceContext, proto, topics,
};

/// One event to one endpoint, with the payload inside. It changes only through the constructors here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Derived from (event, endpoint).
    pub id: DeliveryId,
    /// 0 as fan-out made it; else that of the replay or resend that made it, larger than those of all before.
    pub generation: u64,
    /// Attempts already made in this generation.
    pub attempts_made: u32,
    /// The event.
    pub event_id: EventId,
    /// Whose it is.
    pub app_id: AppId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// The event's type.
    pub event_type: EventType,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// Where the event lay in the log; never an identity outside it.
    pub event_at: (Partition, Position),
    /// Past this time the delivery becomes a dead letter.
    pub deadline: Timestamp,
    /// The version of the newest change of its endpoint, or of its application, that was known when the event was matched: no
    /// worker judges the endpoint as it was before.
    pub registry_version: u64,
    /// Which of the `deliveries` topics it travels in.
    pub class: Class,
    /// No attempt starts before this time.
    pub not_before: Timestamp,
    /// When the wait that ends at `not_before` began. Grows each time that it is parked, whoever's clock says the time: of
    /// two forms of a delivery with equal attempts made, the larger is the later one.
    pub waiting_since: Timestamp,
    /// The payload's media type.
    pub content_type: String,
    /// The payload, byte for byte.
    pub payload: Bytes,
    /// Whose child the next span of it is, and the attempt that it repeats.
    pub trace: Option<Box<TraceContext>>,
    /// What asked for the attempts of this generation.
    pub trigger: Trigger,
    /// When it was first parked since its last attempt.
    pub parked_since: Option<Timestamp>,
    /// When `not_before` was reckoned, where that is not `waiting_since`: the clock had been set back by then.
    pub reckoned_at: Option<Timestamp>,
    /// Fields that a newer version gave it and this one does not know, as they came: what moves it on must not drop them.
    pub newer: Box<[u8]>,
}

include!(concat!(env!("OUT_DIR"), "/Delivery.rs"));

/// Which of the `deliveries` topics a delivery travels in; read by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Before others.
    High,
    /// As usual.
    Normal,
    /// Large fan-outs and replays.
    Bulk,
}

/// What asked for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The delivery's schedule.
    Scheduled,
    /// An operator.
    Manual,
}

impl Class {
    /// The topic of this class.
    pub fn topic(self) -> Topic {
        match self {
            Self::High => topics::DELIVERIES_HIGH,
            Self::Normal => topics::DELIVERIES_NORMAL,
            Self::Bulk => topics::DELIVERIES_BULK,
        }
    }
}

/// Machines' clocks may differ by this, and none was set back.
const APART: Duration = Duration::from_secs(10);

impl Delivery {
    /// The delivery of `event` to `endpoint_id`, as fan-out makes it.
    pub fn of_event(
        event: &Event,
        event_at: (Partition, Position),
        endpoint_id: EndpointId,
        registry_version: u64,
        class: Class,
        deadline: Timestamp,
    ) -> Self {
        Self {
            id: Self::id_of(event.id, endpoint_id),
            generation: 0,
            attempts_made: 0,
            event_id: event.id,
            app_id: event.app_id,
            endpoint_id,
            event_type: event.event_type.clone(),
            accepted_at: event.accepted_at,
            event_at,
            deadline,
            registry_version,
            class,
            // Not the time of acceptance: a clock that steps back must not make what is new wait.
            not_before: Timestamp::default(),
            waiting_since: event.accepted_at,
            content_type: event.content_type.clone(),
            payload: event.payload.clone(),
            trace: event.trace.clone(),
            trigger: Trigger::Scheduled,
            parked_since: None,
            reckoned_at: None,
            newer: Box::default(),
        }
    }

    /// A new delivery whose schedule begins with a wait: to be tried first at `at`.
    pub fn first_at(self, at: Timestamp) -> Self {
        Self {
            not_before: at,
            ..self
        }
    }

    /// The id of the delivery of `event` to `endpoint`.
    pub fn id_of(event: EventId, endpoint: EndpointId) -> DeliveryId {
        DeliveryId::derive(&[event.as_bytes(), endpoint.as_bytes()])
    }

    /// The same delivery, to run through its schedule again because an operator asked for it at `now`, with a new
    /// deadline. `generation` is the request's own, so a request that is carried out twice makes the same delivery twice.
    /// `registry_version` is that of its endpoint as it was judged to take it: no worker judges it as it was before.
    pub fn again(
        self,
        generation: u64,
        registry_version: u64,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Self {
        Self {
            generation,
            attempts_made: 0,
            deadline,
            registry_version,
            class: Class::Bulk,
            not_before: now,
            waiting_since: now,
            trigger: Trigger::Manual,
            parked_since: None,
            reckoned_at: None,
            ..self
        }
    }

    /// The same, in this trace.
    pub fn traced(self, trace: Box<TraceContext>) -> Self {
        Self {
            trace: Some(trace),
            ..self
        }
    }

    /// The same, known as what repeats the attempt with this `traceparent`.
    pub fn repeating(self, attempt: &str) -> Self {
        Self {
            trace: self.trace.map(|trace| trace.repeating(attempt)),
            ..self
        }
    }

    /// After a failed attempt: to be tried again at `at`.
    pub fn retry_at(self, now: Timestamp, at: Timestamp) -> Self {
        let attempts_made = self.attempts_made.saturating_add(1);
        Self {
            attempts_made,
            not_before: at,
            waiting_since: now,
            parked_since: None,
            reckoned_at: None,
            ..self
        }
    }

    /// Without an attempt: to come back at `at`.
    pub fn parked_until(self, now: Timestamp, at: Timestamp) -> Self {
        let parked_since = Some(self.parked_since.unwrap_or(now));
        let later = self.waiting_since.plus(Duration::from_millis(1));
        Self {
            not_before: at,
            waiting_since: now.max(later),
            parked_since,
            reckoned_at: (now < later).then_some(now),
            ..self
        }
    }

    /// Of the wait that it began, `waited` is over at `now`. Where the clock was set back meanwhile, to before the wait began,
    /// its time is told anew by what is left of that; otherwise the clock says what is left, and nothing changes.
    pub fn waited(self, waited: Duration, now: Timestamp) -> Self {
        if self.reckoned_at() <= now.plus(APART) {
            return self;
        }
        let left = self.wait(now).saturating_sub(waited);
        Self {
            not_before: now.plus(left),
            reckoned_at: Some(now),
            ..self
        }
    }

    /// The id of the attempt that comes next.
    pub fn next_attempt_id(&self) -> AttemptId {
        self.attempt_id(self.attempts_made.saturating_add(1))
    }

    /// The id of attempt `number` of this generation.
    pub fn attempt_id(&self, number: u32) -> AttemptId {
        AttemptId::derive(&[
            self.id.as_bytes(),
            &self.generation.to_be_bytes(),
            &number.to_be_bytes(),
        ])
    }

    /// The id of the dead letter that this generation would become.
    pub fn dead_letter_id(&self) -> DeadLetterId {
        Self::dead_letter_id_of(self.id, self.generation)
    }

    /// The id of the dead letter that this generation of `delivery` would become.
    pub fn dead_letter_id_of(delivery: DeliveryId, generation: u64) -> DeadLetterId {
        DeadLetterId::derive(&[delivery.as_bytes(), &generation.to_be_bytes()])
    }

    /// Bytes that it takes in memory, for limits.
    pub fn weight(&self) -> usize {
        let texts = self.content_type.len() + self.event_type.as_str().len() + self.newer.len();
        let trace = self.trace.as_deref().map_or(0, TraceContext::weight);
        self.payload.len() + texts + trace + size_of::<Self>()
    }

    /// When `not_before` was reckoned, by the clock that it goes by.
    pub fn reckoned_at(&self) -> Timestamp {
        self.reckoned_at.unwrap_or(self.waiting_since)
    }

    /// How long it still waits at `now`: never longer than it was to wait when that was reckoned, also where the clock was set
    /// back since.
    pub fn wait(&self, now: Timestamp) -> Duration {
        self.not_before.since(now.max(self.reckoned_at()))
    }

    /// The record for the topic of its class.
    pub fn to_record(&self) -> NewRecord {
        self.to_record_in(self.class.topic())
    }

    /// The record for `topic`: a tier of retries or of parking.
    pub fn to_record_in(&self, topic: Topic) -> NewRecord {
        self.record(topic, self.endpoint_id)
    }

    /// The delivery in a record's value. The payload is a slice of it, not a copy.
    pub fn decode(value: &Bytes) -> Result<Self, Malformed> {
        let known: proto::Delivery = codec::decode("delivery", value)?;
        let newer = match codec::is_all(&known, value) {
            true => Box::default(),
            false => Self::newer_in(value),
        };
        let delivery = Self::from_proto(known)?;
        Ok(Self { newer, ..delivery })
    }

    /// The fields of an encoded delivery that this version does not know.
    pub(crate) fn newer_in(value: &[u8]) -> Box<[u8]> {
        codec::fields_above(NEWEST_FIELD, value)
    }

    pub(crate) fn from_proto(given: proto::Delivery) -> Result<Self, Malformed> {
        Ok(Self {
            id: codec::id("id", &given.id)?,
            generation: given.generation,
            attempts_made: given.attempts_made,
            event_id: codec::id("event_id", &given.event_id)?,
            app_id: codec::id("app_id", &given.app_id)?,
            endpoint_id: codec::id("endpoint_id", &given.endpoint_id)?,
            event_type: given
                .event_type
                .parse()
                .map_err(|error| Malformed::field("event_type", error))?,
            accepted_at: Timestamp::from_millis(given.accepted_at_ms),
            event_at: (given.event_partition, given.event_position),
            deadline: Timestamp::from_millis(given.deadline_ms),
            registry_version: given.registry_version,
            class: given.class().into(),
            not_before: Timestamp::from_millis(given.not_before_ms),
            waiting_since: Timestamp::from_millis(given.waiting_since_ms),
            trigger: given.trigger().into(),
            parked_since: (given.parked_since_ms != 0)
                .then(|| Timestamp::from_millis(given.parked_since_ms)),
            reckoned_at: (given.reckoned_at_ms != 0)
                .then(|| Timestamp::from_millis(given.reckoned_at_ms)),
            content_type: given.content_type,
            payload: given.payload,
            trace: TraceContext::of_record(&given.traceparent, &given.tracestate, &given.repeats),
            newer: Box::default(),
        })
    }
}

impl Fields for Delivery {
    fn write(&self, to: &mut impl Sink) {
        to.id(1, self.id);
        to.number(2, self.generation);
        to.number(3, self.attempts_made);
        to.id(4, self.event_id);
        to.id(5, self.app_id);
        to.id(6, self.endpoint_id);
        to.text(7, self.event_type.as_str());
        to.millis(8, self.accepted_at.as_millis());
        to.number(9, self.event_at.0);
        to.number(10, self.event_at.1);
        to.millis(11, self.deadline.as_millis());
        to.number(12, self.registry_version);
        to.choice(13, proto::Class::from(self.class));
        to.millis(14, self.not_before.as_millis());
        to.millis(15, self.waiting_since.as_millis());
        to.text(16, &self.content_type);
        to.bytes(17, &self.payload);
        let trace = self.trace.as_deref();
        to.text(18, trace.map_or("", TraceContext::traceparent));
        to.choice(19, proto::Trigger::from(self.trigger));
        to.millis(20, self.parked_since.map_or(0, Timestamp::as_millis));
        let (state, repeats) = (TraceContext::tracestate, TraceContext::repeats);
        to.text(21, trace.and_then(state).unwrap_or_default());
        to.text(22, trace.and_then(repeats).unwrap_or_default());
        to.millis(23, self.reckoned_at.map_or(0, Timestamp::as_millis));
        to.raw(&self.newer);
    }
}

impl From<Class> for proto::Class {
    fn from(class: Class) -> Self {
        match class {
            Class::High => Self::High,
            Class::Normal => Self::Normal,
            Class::Bulk => Self::Bulk,
        }
    }
}

/// A class that this version does not know reads as normal (the generated accessor's default).
impl From<proto::Class> for Class {
    fn from(class: proto::Class) -> Self {
        match class {
            proto::Class::High => Self::High,
            proto::Class::Normal => Self::Normal,
            proto::Class::Bulk => Self::Bulk,
        }
    }
}

impl From<Trigger> for proto::Trigger {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Scheduled => Self::Scheduled,
            Trigger::Manual => Self::Manual,
        }
    }
}

impl From<proto::Trigger> for Trigger {
    fn from(trigger: proto::Trigger) -> Self {
        match trigger {
            proto::Trigger::Scheduled => Self::Scheduled,
            proto::Trigger::Manual => Self::Manual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventOrigin;

    const S: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_700_000_000 + seconds) * 1000)
    }

    fn delivery() -> Delivery {
        let event = Event {
            id: EventId::new(),
            app_id: AppId::new(),
            event_type: "order.paid".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: "application/json".to_owned(),
            payload: Bytes::from_static(b"{}"),
            accepted_at: at(0),
            trace: None,
            origin: EventOrigin::Accepted,
        };
        let endpoint = EndpointId::new();
        Delivery::of_event(&event, (0, 1), endpoint, 1, Class::Normal, at(100_000))
    }

    #[test]
    fn no_wait_is_longer_than_it_was_to_be_however_far_the_clock_was_set_back() {
        let retry = delivery().retry_at(at(0), at(10));
        assert_eq!(retry.wait(at(4)), 6 * S);
        assert_eq!(retry.wait(at(-3600)), 10 * S);
        assert_eq!(delivery().wait(at(-3600)), Duration::ZERO);
    }

    #[test]
    fn what_is_over_of_a_wait_is_told_by_the_clock_or_where_that_was_set_back_by_the_tiers() {
        let retry = delivery().retry_at(at(0), at(1000));
        let on_time = retry.clone().waited(300 * S, at(300));
        assert_eq!(on_time, retry);
        let set_back = retry.waited(300 * S, at(-500));
        assert_eq!(set_back.wait(at(-500)), 700 * S);
        assert_eq!(set_back.wait(at(-200)), 400 * S);
        let once_more = set_back.waited(300 * S, at(-900));
        assert_eq!(once_more.wait(at(-900)), 400 * S);
    }

    #[test]
    fn what_is_parked_by_a_clock_that_was_set_back_is_the_later_form_and_comes_back_by_that_clock()
    {
        let first = delivery().parked_until(at(0), at(10));
        let second = first.clone().parked_until(at(-100), at(900));
        assert!(second.waiting_since > first.waiting_since);
        assert_eq!(second.wait(at(-100)), 1000 * S);
        assert_eq!(second.wait(at(-50)), 950 * S);
        let value = second.to_record().value;
        assert_eq!(Delivery::decode(&value).unwrap(), second);
        assert_eq!(second.retry_at(at(-40), at(-30)).wait(at(-40)), 10 * S);
    }
}
