//! Whom an event went to.

use bytes::Bytes;

use crate::codec::{self, Malformed};
use crate::wire::{Fields, Sink};
use crate::{AppId, EndpointId, EventId, NewRecord, Timestamp, proto, topics};

/// Whom an event went to, at which version of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fanout {
    /// The event.
    pub event_id: EventId,
    /// Whose it is.
    pub app_id: AppId,
    /// The endpoints of this part, in the order of their ids; empty if nobody wanted it.
    pub endpoints: Vec<EndpointId>,
    /// The registry's version at which the event was matched.
    pub registry_version: u64,
    /// True when the registry could not be brought up to date before matching.
    pub stale: bool,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// False when a continuation follows that covers further endpoints.
    pub complete: bool,
}

impl Fanout {
    /// The record for `fanouts`, keyed by the application as its event is: what is written together for one application goes
    /// to one partition.
    pub fn to_record(&self) -> NewRecord {
        NewRecord::new(topics::FANOUTS, self.app_id.to_string(), self.encode())
    }

    /// The fan-out in a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Malformed> {
        let given: proto::Fanout = codec::decode("fanout", value)?;
        let ids = given
            .endpoint_ids
            .chunks(16)
            .map(|bytes| codec::id("endpoint_ids", bytes));
        Ok(Self {
            event_id: codec::id("event_id", &given.event_id)?,
            app_id: codec::id("app_id", &given.app_id)?,
            endpoints: ids.collect::<Result<_, _>>()?,
            registry_version: given.registry_version,
            stale: given.stale,
            accepted_at: Timestamp::from_millis(given.accepted_at_ms),
            complete: given.complete,
        })
    }
}

impl Fields for Fanout {
    fn write(&self, to: &mut impl Sink) {
        to.id(1, self.event_id);
        to.id(2, self.app_id);
        to.ids(3, &self.endpoints);
        to.number(4, self.registry_version);
        to.number(5, self.stale);
        to.millis(6, self.accepted_at.as_millis());
        to.number(7, self.complete);
    }
}
