//! What the owner of an endpoint knows of its health.

use bytes::Bytes;
use prost::Message;

use crate::codec::{self, Malformed, id_bytes};
use crate::{EndpointId, NewRecord, Partition, Timestamp, proto, topics};

/// A breaker's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Deliveries pass.
    Closed,
    /// None passes until a probe is due.
    Open,
    /// One probe is out.
    HalfOpen,
}

/// What the owner of an endpoint knows of it, for the next owner, for the pump and for fan-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its breaker's position.
    pub breaker: BreakerState,
    /// While open: when the next probe may be sent.
    pub probe_at: Option<Timestamp>,
    /// Openings since the breaker was last closed; the wait grows with it.
    pub openings: u32,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// The first send time not yet reserved for a parked delivery.
    pub next_slot: Option<Timestamp>,
    /// Deliveries parked and not yet back, as far as the owner knows.
    pub parked: u64,
    /// Their bytes.
    pub parked_bytes: u64,
    /// The owner's epoch: grows with each change of owner.
    pub epoch: u64,
    /// When this was written.
    pub updated_at: Timestamp,
    /// Since when it fails without a single success.
    pub failing_since: Option<Timestamp>,
    /// The number of the partition that its deliveries lie in.
    pub partition: Partition,
    /// At a handover: the one that the commit which ends it carries too. 0 where the owner goes on.
    pub nonce: u64,
    /// Fields that a newer version gave it and this one does not know, as they came. They go with a state that is handed
    /// on as it was found; of one that changed since they say nothing.
    pub newer: Box<[u8]>,
    /// While not closed: when it opened, after it had been closed.
    pub opened_at: Option<Timestamp>,
    /// The endpoint's version that the owner went by; 0 where it knows none.
    pub endpoint_version: u64,
}

include!(concat!(env!("OUT_DIR"), "/EndpointState.rs"));

impl EndpointState {
    /// The record for `endpoint-state`.
    pub fn to_record(&self) -> NewRecord {
        let value = proto::EndpointState {
            endpoint_id: id_bytes(self.endpoint_id),
            breaker: proto::BreakerState::from(self.breaker).into(),
            probe_at_ms: millis(self.probe_at),
            openings: self.openings,
            consecutive_failures: self.consecutive_failures,
            next_slot_ms: millis(self.next_slot),
            parked: self.parked,
            parked_bytes: self.parked_bytes,
            epoch: self.epoch,
            updated_at_ms: self.updated_at.as_millis(),
            failing_since_ms: millis(self.failing_since),
            partition: self.partition,
            nonce: self.nonce,
            opened_at_ms: millis(self.opened_at),
            endpoint_version: self.endpoint_version,
        };
        let mut value = value.encode_to_vec();
        value.extend_from_slice(&self.newer);
        NewRecord::new(topics::ENDPOINT_STATE, id_bytes(self.endpoint_id), value)
    }

    /// The record that removes what is known of an endpoint.
    pub fn forget(endpoint_id: EndpointId) -> NewRecord {
        NewRecord::new(topics::ENDPOINT_STATE, id_bytes(endpoint_id), Bytes::new())
    }

    /// The state in a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Malformed> {
        let given: proto::EndpointState = codec::decode("endpoint state", value)?;
        let newer = match codec::is_all(&given, value) {
            true => Box::default(),
            false => codec::fields_above(NEWEST_FIELD, value),
        };
        Ok(Self {
            endpoint_id: codec::id("endpoint_id", &given.endpoint_id)?,
            breaker: given.breaker().into(),
            probe_at: time(given.probe_at_ms),
            openings: given.openings,
            consecutive_failures: given.consecutive_failures,
            next_slot: time(given.next_slot_ms),
            parked: given.parked,
            parked_bytes: given.parked_bytes,
            epoch: given.epoch,
            updated_at: Timestamp::from_millis(given.updated_at_ms),
            failing_since: time(given.failing_since_ms),
            partition: given.partition,
            nonce: given.nonce,
            newer,
            opened_at: time(given.opened_at_ms),
            endpoint_version: given.endpoint_version,
        })
    }
}

fn millis(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::as_millis)
}

fn time(millis: i64) -> Option<Timestamp> {
    (millis != 0).then(|| Timestamp::from_millis(millis))
}

impl From<BreakerState> for proto::BreakerState {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

impl From<proto::BreakerState> for BreakerState {
    fn from(state: proto::BreakerState) -> Self {
        match state {
            proto::BreakerState::Closed => Self::Closed,
            proto::BreakerState::Open => Self::Open,
            proto::BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}
