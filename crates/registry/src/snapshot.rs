//! The configuration at one version, immutable.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use postrider_model::{AppId, Channel, Endpoint, EndpointId, EventType, Uid};
use postrider_store::{Application, ApplicationRef, Change, EventTypeInfo, TokenRecord};

use crate::subscriptions::Subscriptions;

/// The configuration at one version. Cloning shares everything.
///
/// What is there in great number lies in trees: the hash maps leave up to nine tenths of their nodes empty, by their size.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    version: u64,
    applications: OrdMap<AppId, Known>,
    uids: OrdMap<Uid, AppId>,
    endpoints: OrdMap<EndpointId, Arc<Endpoint>>,
    event_types: HashMap<EventType, Arc<EventTypeInfo>>,
    tokens: HashMap<[u8; 32], Arc<TokenRecord>>,
}

/// What is known of one application. The feed may bring its endpoints before it, and its removal before theirs.
#[derive(Debug, Clone, Default)]
struct Known {
    application: Option<Arc<Application>>,
    /// How many endpoints it has, disabled ones included.
    endpoints: u32,
    subscriptions: Subscriptions,
}

impl Snapshot {
    /// The version of the newest change in it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An application by its id or uid.
    pub fn application(&self, by: &ApplicationRef) -> Option<&Arc<Application>> {
        let id = match by {
            ApplicationRef::Id(id) => id,
            ApplicationRef::Uid(uid) => self.uids.get(uid)?,
        };
        self.applications.get(id)?.application.as_ref()
    }

    /// An endpoint, disabled or not.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    /// The version of the newest change of what `endpoint` goes by: its own, or its application's, whose limit it may have.
    /// Changes of others do not count: who has missed one of those knows this endpoint as it is.
    pub fn version_of(&self, endpoint: &Endpoint) -> u64 {
        let known = self.applications.get(&endpoint.app_id);
        let application = known.and_then(|known| known.application.as_ref());
        application.map_or(endpoint.version, |it| it.version.max(endpoint.version))
    }

    /// Starts of attempts in any second to `endpoint`, at most: its own limit, or else its application's.
    pub fn rate_limit(&self, endpoint: &Endpoint) -> Option<u32> {
        let application = || {
            self.applications
                .get(&endpoint.app_id)?
                .application
                .as_ref()
        };
        let inherited = || application()?.rate_limit;
        endpoint.policy.rate_limit.or_else(inherited)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// How many endpoints an application has, disabled ones included.
    pub fn endpoints_of(&self, app_id: AppId) -> usize {
        let known = self.applications.get(&app_id);
        known.map_or(0, |known| known.endpoints as usize)
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
        event_type: &'a EventType,
        channels: &'a [Channel],
        after: Option<EndpointId>,
    ) -> impl Iterator<Item = &'a Arc<Endpoint>> + use<'a> {
        let known = self.applications.get(&app_id);
        let candidates = known.map(|known| known.subscriptions.candidates(event_type, after));
        candidates
            .into_iter()
            .flatten()
            .filter(|endpoint| endpoint.wants(event_type, channels))
    }

    /// All applications.
    pub(crate) fn applications(&self) -> impl Iterator<Item = &Arc<Application>> {
        let known = self.applications.values();
        known.filter_map(|known| known.application.as_ref())
    }

    /// All endpoints, disabled or not.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// All registered event types.
    pub(crate) fn event_types(&self) -> impl Iterator<Item = &Arc<EventTypeInfo>> {
        self.event_types.values()
    }

    /// All tokens, revoked ones included.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Arc<TokenRecord>> {
        self.tokens.values()
    }

    /// Puts a change in.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Application(application) => self.put_application(application),
            Change::ApplicationRemoved(id) => {
                if let Some(gone) = self.known(id, |known| known.application.take()) {
                    self.forget_uid(&gone);
                }
            }
            Change::Endpoint(mut endpoint) => {
                self.share_types(&mut endpoint);
                match self.endpoints.insert(endpoint.id, Arc::clone(&endpoint)) {
                    Some(before) => self.unsubscribe(&before),
                    None => self.known(endpoint.app_id, |known| known.endpoints += 1),
                }
                if endpoint.disabled.is_none() {
                    self.known(endpoint.app_id, |known| {
                        known.subscriptions.insert(&endpoint)
                    });
                }
            }
            Change::EndpointRemoved(_, id) => {
                if let Some(gone) = self.endpoints.remove(&id) {
                    self.unsubscribe(&gone);
                    // It was counted when it came.
                    self.known(gone.app_id, |known| known.endpoints -= 1);
                }
            }
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
        let put = |known: &mut Known| known.application.replace(Arc::clone(&application));
        if let Some(before) = self.known(application.id, put) {
            self.forget_uid(&before);
        }
        if let Some(uid) = &application.uid {
            self.uids.insert(uid.clone(), application.id);
        }
    }

    /// Removes the uid of `application`, unless another has taken it since.
    fn forget_uid(&mut self, application: &Application) {
        if let Some(uid) = &application.uid
            && self.uids.get(uid) == Some(&application.id)
        {
            self.uids.remove(uid);
        }
    }

    fn unsubscribe(&mut self, endpoint: &Endpoint) {
        if endpoint.disabled.is_none() {
            self.known(endpoint.app_id, |known| {
                known.subscriptions.remove(endpoint)
            });
        }
    }

    /// Lets the endpoint hold the names of registered types in common with all others.
    fn share_types(&self, endpoint: &mut Arc<Endpoint>) {
        let Some(endpoint) = Arc::get_mut(endpoint) else {
            return;
        };
        for name in endpoint.event_types.iter_mut().flatten() {
            if let Some((shared, _)) = self.event_types.get_key_value(name) {
                name.clone_from(shared);
            }
        }
    }

    /// Changes what is known of an application. Nothing is kept of one of which nothing is known.
    fn known<T>(&mut self, id: AppId, change: impl FnOnce(&mut Known) -> T) -> T {
        let known = self.applications.entry(id).or_default();
        let result = change(known);
        if known.application.is_none() && known.endpoints == 0 {
            self.applications.remove(&id);
        }
        result
    }
}
