//! The configuration at one version, immutable.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use postrider_model::{AppId, Channel, Endpoint, EndpointId, EventType, Uid};
use postrider_store::{Application, ApplicationRef, Change, EventTypeInfo, TokenRecord};

type ById = OrdMap<EndpointId, Arc<Endpoint>>;

/// The configuration at one version. Cloning shares everything.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    version: u64,
    applications: HashMap<AppId, Arc<Application>>,
    uids: HashMap<Uid, AppId>,
    subscriptions: HashMap<AppId, Subscriptions>,
    endpoints: HashMap<EndpointId, Arc<Endpoint>>,
    event_types: HashMap<EventType, Arc<EventTypeInfo>>,
    tokens: HashMap<[u8; 32], Arc<TokenRecord>>,
}

/// The enabled endpoints of one application, by what they want.
#[derive(Debug, Clone, Default)]
struct Subscriptions {
    every_type: ById,
    by_type: HashMap<EventType, ById>,
}

impl Snapshot {
    /// The version of the newest change in it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An application by its id or uid.
    pub fn application(&self, by: &ApplicationRef) -> Option<&Arc<Application>> {
        match by {
            ApplicationRef::Id(id) => self.applications.get(id),
            ApplicationRef::Uid(uid) => self.applications.get(self.uids.get(uid)?),
        }
    }

    /// An endpoint, disabled or not.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    /// Starts of attempts in any second to `endpoint`, at most: its own limit, or else its application's.
    pub fn rate_limit(&self, endpoint: &Endpoint) -> Option<u32> {
        let application = || self.applications.get(&endpoint.app_id)?.rate_limit;
        endpoint.policy.rate_limit.or_else(application)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// A registered event type.
    pub fn event_type(&self, name: &EventType) -> Option<&Arc<EventTypeInfo>> {
        self.event_types.get(name)
    }

    /// A token by the SHA-256 of its text, revoked ones included.
    pub fn token(&self, hash: &[u8; 32]) -> Option<&Arc<TokenRecord>> {
        self.tokens.get(hash)
    }

    /// The enabled endpoints of `app_id` that want events of `event_type` on `channels`, in the order of their ids, behind
    /// `after` if it is given.
    pub fn matching<'a>(
        &'a self,
        app_id: AppId,
        event_type: &EventType,
        channels: &'a [Channel],
        after: Option<EndpointId>,
    ) -> impl Iterator<Item = &'a Arc<Endpoint>> + use<'a> {
        let subscriptions = self.subscriptions.get(&app_id);
        let every = subscriptions
            .map(|all| behind(&all.every_type, after))
            .into_iter()
            .flatten();
        let typed = subscriptions.and_then(|all| all.by_type.get(event_type));
        let typed = typed
            .map(|wanting| behind(wanting, after))
            .into_iter()
            .flatten();
        merge(every, typed).filter(|endpoint| on_channel(endpoint, channels))
    }

    /// Puts a change in.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Application(application) => self.put_application(application),
            Change::ApplicationRemoved(id) => {
                if let Some(gone) = self.applications.remove(&id) {
                    self.forget_uid(&gone);
                }
            }
            Change::Endpoint(endpoint) => {
                self.remove_endpoint(endpoint.id);
                self.subscribe(&endpoint);
                self.endpoints.insert(endpoint.id, endpoint);
            }
            Change::EndpointRemoved(_, id) => self.remove_endpoint(id),
            Change::EventType(event_type) => {
                self.event_types.insert(event_type.name.clone(), event_type);
            }
            Change::EventTypeRemoved(name) => {
                self.event_types.remove(&name);
            }
            Change::Token(token) => {
                self.tokens.insert(token.hash, token);
            }
        }
    }

    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    fn put_application(&mut self, application: Arc<Application>) {
        if let Some(before) = self.applications.get(&application.id).cloned() {
            self.forget_uid(&before);
        }
        if let Some(uid) = &application.uid {
            self.uids.insert(uid.clone(), application.id);
        }
        self.applications.insert(application.id, application);
    }

    /// Removes the uid of `application`, unless another has taken it since.
    fn forget_uid(&mut self, application: &Application) {
        if let Some(uid) = &application.uid
            && self.uids.get(uid) == Some(&application.id)
        {
            self.uids.remove(uid);
        }
    }

    fn subscribe(&mut self, endpoint: &Arc<Endpoint>) {
        if endpoint.disabled.is_some() {
            return;
        }
        let subscriptions = self.subscriptions.entry(endpoint.app_id).or_default();
        match &endpoint.event_types {
            None => {
                subscriptions
                    .every_type
                    .insert(endpoint.id, Arc::clone(endpoint));
            }
            Some(wanted) => {
                for event_type in wanted {
                    let wanting = subscriptions.by_type.entry(event_type.clone()).or_default();
                    wanting.insert(endpoint.id, Arc::clone(endpoint));
                }
            }
        }
    }

    fn remove_endpoint(&mut self, id: EndpointId) {
        let Some(gone) = self.endpoints.remove(&id) else {
            return;
        };
        let Some(subscriptions) = self.subscriptions.get_mut(&gone.app_id) else {
            return;
        };
        subscriptions.every_type.remove(&id);
        for event_type in gone.event_types.iter().flatten() {
            if let Some(wanting) = subscriptions.by_type.get_mut(event_type) {
                wanting.remove(&id);
                if wanting.is_empty() {
                    subscriptions.by_type.remove(event_type);
                }
            }
        }
        if subscriptions.every_type.is_empty() && subscriptions.by_type.is_empty() {
            self.subscriptions.remove(&gone.app_id);
        }
    }
}

fn behind(endpoints: &ById, after: Option<EndpointId>) -> impl Iterator<Item = &Arc<Endpoint>> {
    let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    endpoints
        .range((from, std::ops::Bound::Unbounded))
        .map(|(_, endpoint)| endpoint)
}

/// Two sequences in the order of ids, as one.
fn merge<'a>(
    a: impl Iterator<Item = &'a Arc<Endpoint>>,
    b: impl Iterator<Item = &'a Arc<Endpoint>>,
) -> impl Iterator<Item = &'a Arc<Endpoint>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if x.id <= y.id => a.next(),
        (Some(_), None) => a.next(),
        (_, Some(_)) => b.next(),
        (None, None) => None,
    })
}

fn on_channel(endpoint: &Endpoint, channels: &[Channel]) -> bool {
    endpoint
        .channels
        .as_ref()
        .is_none_or(|wanted| wanted.iter().any(|channel| channels.contains(channel)))
}
