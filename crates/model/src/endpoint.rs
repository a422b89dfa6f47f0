//! An endpoint: where deliveries go, with which secret and policy.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use url::Url;

use crate::{AppId, Channel, EndpointId, EventType, Schedule, Timestamp, Uid};

/// One URL that a customer registered for an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub app_id: AppId,
    /// The user's own name for it, unique in the application.
    pub uid: Option<Uid>,
    /// Where deliveries go.
    pub url: Url,
    /// For people.
    pub description: String,
    /// For the user's programs.
    pub metadata: BTreeMap<String, String>,
    /// The event types it wants; `None` for all.
    pub event_types: Option<Vec<EventType>>,
    /// The channels it listens to; `None` for all.
    pub channels: Option<Vec<Channel>>,
    /// Why it gets nothing at present, if it does not.
    pub disabled: Option<Disabled>,
    /// How deliveries are made. Shared, because almost all endpoints set nothing: see [`EndpointPolicy::shared`].
    pub policy: Arc<EndpointPolicy>,
    /// The secrets that sign, the newest first; at least one.
    pub secrets: Vec<EndpointSecret>,
    /// The registry's version at its last change. Grows with each change of the endpoint.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Endpoint {
    /// True if the endpoint wants events of `event_type` on any of `channels`.
    ///
    /// An endpoint with channels gets only events that name one of them; an event without channels goes only to
    /// endpoints without channels.
    pub fn wants(&self, event_type: &EventType, channels: &[Channel]) -> bool {
        let by_type = self
            .event_types
            .as_ref()
            .is_none_or(|wanted| wanted.contains(event_type));
        let by_channel = self
            .channels
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|channel| channels.contains(channel)));
        self.disabled.is_none() && by_type && by_channel
    }
}

/// Why an endpoint gets no deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disabled {
    /// Its owner switched it off.
    ByOwner,
    /// It answered 410.
    Gone,
    /// It failed for longer than the configuration bears.
    Failing,
}

/// How deliveries to an endpoint are made. `None` takes the configuration's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointPolicy {
    /// Starts of attempts in any second, at most. `None`: no limit.
    pub rate_limit: Option<u32>,
    /// Attempts in flight, at most.
    pub max_in_flight: Option<u32>,
    /// When a delivery is tried again.
    pub schedule: Option<Schedule>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// Statuses after which a delivery is not tried again.
    pub final_statuses: Vec<u16>,
    /// Headers added to each request. Names are lower case and none of ours.
    pub headers: BTreeMap<String, String>,
}

impl EndpointPolicy {
    /// The policy to put into an endpoint: if it sets nothing, the one that all such endpoints share.
    pub fn shared(self) -> Arc<Self> {
        static SETS_NOTHING: LazyLock<Arc<EndpointPolicy>> = LazyLock::new(Arc::default);
        if self == **SETS_NOTHING {
            Arc::clone(&SETS_NOTHING)
        } else {
            Arc::new(self)
        }
    }
}

/// One of an endpoint's signing secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSecret {
    /// The secret.
    pub secret: SecretText,
    /// From when on it no longer signs; `None` for the current one.
    pub expires_at: Option<Timestamp>,
}

/// A secret in its text form (`whsec_…`). Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Box<str>);

impl SecretText {
    /// Takes the text, which the caller has checked.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text: for signing, storing, and for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
