//! What a snapshot's content is made of: a line of JSON for what it is of, and one for each thing. Every field of a thing
//! stands here, or this does not compile; a field that is added is another [`FORMAT`](super::FORMAT), because a reader that
//! left it out would deliver what the endpoint's owner did not ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_model::{
    AppId, Channel, Disabled, Endpoint, EndpointId, EndpointPolicy, EndpointSecret, EventType,
    Schedule, SecretText, Timestamp, TokenId, Uid,
};
use postrider_store::{Application, Change, EventTypeInfo, TokenRecord, TokenScope};
use serde::{Deserialize, Serialize};
use url::Url;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// Which database it is of, by its own name.
    pub(super) store: [u8; 16],
    /// Likewise, by where it is.
    pub(super) place: String,
    pub(super) version: u64,
    /// From where on the feed is read.
    pub(super) next: u64,
    /// When the refresh began that showed all of it.
    #[serde(with = "millis")]
    pub(super) as_of: Timestamp,
}

/// Each other line, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Written<'a> {
    EventType(#[serde(serialize_with = "EventTypeFields::serialize")] &'a EventTypeInfo),
    Application(#[serde(serialize_with = "ApplicationFields::serialize")] &'a Application),
    Endpoint(#[serde(serialize_with = "EndpointFields::serialize")] &'a Endpoint),
    Token(#[serde(serialize_with = "TokenFields::serialize")] &'a TokenRecord),
}

/// Each other line, as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    EventType(#[serde(with = "EventTypeFields")] EventTypeInfo),
    Application(#[serde(with = "ApplicationFields")] Application),
    Endpoint(#[serde(with = "EndpointFields")] Endpoint),
    Token(#[serde(with = "TokenFields")] TokenRecord),
}

/// The thing in a line, as a change that brings it.
pub(super) fn change(line: &[u8]) -> Result<Change, serde_json::Error> {
    Ok(match serde_json::from_slice(line)? {
        Read::EventType(event_type) => Change::EventType(Arc::new(event_type)),
        Read::Application(application) => Change::Application(Arc::new(application)),
        Read::Endpoint(endpoint) => Change::Endpoint(Arc::new(without_spare_room(endpoint))),
        Read::Token(token) => Change::Token(Arc::new(token)),
    })
}

/// Endpoints lie in memory in great number, and for long.
fn without_spare_room(mut endpoint: Endpoint) -> Endpoint {
    if let Some(types) = &mut endpoint.event_types {
        types.shrink_to_fit();
    }
    if let Some(channels) = &mut endpoint.channels {
        channels.shrink_to_fit();
    }
    endpoint.secrets.shrink_to_fit();
    endpoint
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EventTypeInfo", deny_unknown_fields)]
struct EventTypeFields {
    name: EventType,
    description: String,
    archived: bool,
    deprecated: bool,
    schemas: Option<String>,
    feature_flag: Option<String>,
    version: u64,
    #[serde(with = "millis")]
    created_at: Timestamp,
    #[serde(with = "millis")]
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Application", deny_unknown_fields)]
struct ApplicationFields {
    id: AppId,
    uid: Option<Uid>,
    name: String,
    metadata: BTreeMap<String, String>,
    rate_limit: Option<u32>,
    version: u64,
    #[serde(with = "millis")]
    created_at: Timestamp,
    #[serde(with = "millis")]
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Endpoint", deny_unknown_fields)]
struct EndpointFields {
    id: EndpointId,
    app_id: AppId,
    uid: Option<Uid>,
    url: Url,
    description: String,
    metadata: BTreeMap<String, String>,
    event_types: Option<Vec<EventType>>,
    channels: Option<Vec<Channel>>,
    #[serde(with = "disabled")]
    disabled: Option<Disabled>,
    #[serde(with = "policy")]
    policy: Arc<EndpointPolicy>,
    #[serde(with = "secrets")]
    secrets: Vec<EndpointSecret>,
    version: u64,
    #[serde(with = "millis")]
    created_at: Timestamp,
    #[serde(with = "millis")]
    updated_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Disabled")]
enum DisabledFields {
    ByOwner,
    Gone,
    Failing,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EndpointPolicy", deny_unknown_fields)]
struct PolicyFields {
    rate_limit: Option<u32>,
    max_in_flight: Option<u32>,
    #[serde(with = "schedule")]
    schedule: Option<Schedule>,
    timeout: Option<Duration>,
    final_statuses: Vec<u16>,
    headers: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EndpointSecret", deny_unknown_fields)]
struct SecretFields {
    #[serde(with = "text")]
    secret: SecretText,
    #[serde(with = "some_millis")]
    expires_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TokenRecord", deny_unknown_fields)]
struct TokenFields {
    id: TokenId,
    hash: [u8; 32],
    #[serde(with = "ScopeFields")]
    scope: TokenScope,
    name: String,
    #[serde(with = "some_millis")]
    expires_at: Option<Timestamp>,
    #[serde(with = "some_millis")]
    revoked_at: Option<Timestamp>,
    version: u64,
    #[serde(with = "millis")]
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TokenScope")]
enum ScopeFields {
    Operator,
    Application(AppId),
}

/// How a type of the model is written: as another that serde knows, and back.
macro_rules! written_as {
    ($name:ident: $Type:ty as $Other:ty, $to:expr, $from:expr) => {
        mod $name {
            use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

            use super::*;

            pub(super) fn serialize<S: Serializer>(
                value: &$Type,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                let to: fn(&$Type) -> $Other = $to;
                to(value).serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$Type, D::Error> {
                let from: fn($Other) -> Result<$Type, String> = $from;
                from(<$Other>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

written_as!(millis: Timestamp as i64, |at| at.as_millis(), |at| Ok(Timestamp::from_millis(at)));
written_as!(some_millis: Option<Timestamp> as Option<i64>,
    |at| at.map(Timestamp::as_millis), |at| Ok(at.map(Timestamp::from_millis)));
written_as!(schedule: Option<Schedule> as Option<String>,
    |waits| waits.as_ref().map(ToString::to_string),
    |text| text.map(|text| text.parse().map_err(|error| format!("{error}"))).transpose());
written_as!(text: SecretText as String, |secret| secret.expose().to_owned(), |text| Ok(SecretText::new(text)));
written_as!(disabled: Option<Disabled> as Option<OneDisabled>,
    |why| why.map(OneDisabled), |why| Ok(why.map(|OneDisabled(why)| why)));
written_as!(policy: Arc<EndpointPolicy> as OnePolicy,
    |policy| OnePolicy(EndpointPolicy::clone(policy)), |OnePolicy(policy)| Ok(policy.shared()));
written_as!(secrets: Vec<EndpointSecret> as Vec<OneSecret>,
    |secrets| secrets.iter().cloned().map(OneSecret).collect(),
    |secrets| Ok(secrets.into_iter().map(|OneSecret(secret)| secret).collect()));

#[derive(Serialize, Deserialize)]
struct OneDisabled(#[serde(with = "DisabledFields")] Disabled);

#[derive(Serialize, Deserialize)]
struct OnePolicy(#[serde(with = "PolicyFields")] EndpointPolicy);

#[derive(Serialize, Deserialize)]
struct OneSecret(#[serde(with = "SecretFields")] EndpointSecret);
