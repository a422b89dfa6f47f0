//! An endpoint as it is answered, to both generations of clients.

use std::collections::BTreeMap;

use postrider_model::{Channel, Disabled, Endpoint, EndpointId, EventType, Timestamp, Uid};
use serde::Serialize;

/// The dialect's `version` of an endpoint, which only clients of the first generation know.
const DIALECT_VERSION: u16 = 1;

/// An endpoint as it is answered. Its secrets and headers have routes of their own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointOut<'a> {
    id: EndpointId,
    uid: Option<&'a Uid>,
    url: &'a str,
    version: u16,
    description: &'a str,
    metadata: &'a BTreeMap<String, String>,
    disabled: bool,
    event_types: Option<&'a [EventType]>,
    filter_types: Option<&'a [EventType]>,
    channels: Option<&'a [Channel]>,
    throttle_rate: Option<u32>,
    rate_limit: Option<u32>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    final_statuses: &'a [u16],
}

impl<'a> From<&'a Endpoint> for EndpointOut<'a> {
    fn from(endpoint: &'a Endpoint) -> Self {
        let policy = &endpoint.policy;
        Self {
            id: endpoint.id,
            uid: endpoint.uid.as_ref(),
            url: endpoint.url.as_str(),
            version: DIALECT_VERSION,
            description: &endpoint.description,
            metadata: &endpoint.metadata,
            disabled: endpoint.disabled.is_some(),
            event_types: endpoint.event_types.as_deref(),
            filter_types: endpoint.event_types.as_deref(),
            channels: endpoint.channels.as_deref(),
            throttle_rate: policy.rate_limit,
            rate_limit: policy.rate_limit,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
            disabled_reason: endpoint.disabled.map(reason),
            retry_schedule: policy.schedule.as_ref().map(ToString::to_string),
            timeout_ms: policy
                .timeout
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            max_in_flight: policy.max_in_flight,
            final_statuses: &policy.final_statuses,
        }
    }
}

const fn reason(disabled: Disabled) -> &'static str {
    match disabled {
        Disabled::ByOwner => "owner",
        Disabled::Gone => "gone",
        Disabled::Failing => "failing",
    }
}
