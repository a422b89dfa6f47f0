//! Whom an event went to.

use bytes::Bytes;
use prost::Message;

use crate::codec::{self, Malformed, id_bytes};
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
    /// The record for `fanouts`.
    pub fn to_record(&self) -> NewRecord {
        let ids: Vec<u8> = self
            .endpoints
            .iter()
            .flat_map(|id| *id.as_bytes())
            .collect();
        let value = proto::Fanout {
            event_id: id_bytes(self.event_id),
            app_id: id_bytes(self.app_id),
            endpoint_ids: ids.into(),
            registry_version: self.registry_version,
            stale: self.stale,
            accepted_at_ms: self.accepted_at.as_millis(),
            complete: self.complete,
        };
        NewRecord::new(
            topics::FANOUTS,
            id_bytes(self.event_id),
            value.encode_to_vec(),
        )
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
