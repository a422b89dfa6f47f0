//! Configuration in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use postrider_model::{
    AppId, Clock, Endpoint, EndpointId, EventType, SystemClock, Timestamp, TokenId,
};

use super::MemoryStore;
use super::paging::page;
use crate::{
    Application, ApplicationRef, Applications, Change, Changes, ConfigFeed, Deleted, EndpointRef,
    Endpoints, EventTypeInfo, EventTypes, Page, StoreError, TokenRecord, Tokens,
};

#[derive(Default)]
pub(super) struct Config {
    version: u64,
    applications: BTreeMap<AppId, Arc<Application>>,
    endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    event_types: BTreeMap<EventType, Arc<EventTypeInfo>>,
    tokens: BTreeMap<TokenId, Arc<TokenRecord>>,
    /// The last change of each thing, by its version.
    feed: BTreeMap<u64, Change>,
    /// When things were removed, by the version of that.
    removed_at: BTreeMap<u64, Timestamp>,
    /// The version of the newest removal that is forgotten.
    forgotten: u64,
}

impl Config {
    /// Puts `change`, as it is with the version that it is given, in the place of the thing's change of version `old`.
    fn publish(&mut self, old: u64, change: Change) {
        self.feed.remove(&old);
        if is_removal(&change) {
            self.removed_at.insert(self.version, SystemClock.now());
        }
        self.feed.insert(self.version, change);
    }

    /// What of these is not there.
    pub(super) fn deleted(&self, application: AppId, endpoint: EndpointId) -> Option<Deleted> {
        if self.endpoints.contains_key(&endpoint) {
            None
        } else if self.applications.contains_key(&application) {
            Some(Deleted::Endpoint)
        } else {
            Some(Deleted::Application)
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn put_application(&mut self, application: &Application, old: u64) -> Application {
        let stored = Application {
            version: self.next_version(),
            ..application.clone()
        };
        let shared = Arc::new(stored.clone());
        self.applications.insert(stored.id, shared.clone());
        self.publish(old, Change::Application(shared));
        stored
    }

    fn application_uid_is_free(&self, application: &Application) -> Result<(), StoreError> {
        let taken = self.applications.values().any(|other| {
            other.id != application.id && other.uid.is_some() && other.uid == application.uid
        });
        free(!taken, "application has that uid")
    }

    fn put_endpoint(&mut self, endpoint: &Endpoint, old: u64) -> Endpoint {
        let stored = Endpoint {
            version: self.next_version(),
            ..endpoint.clone()
        };
        let shared = Arc::new(stored.clone());
        self.endpoints.insert(stored.id, shared.clone());
        self.publish(old, Change::Endpoint(shared));
        stored
    }

    fn endpoint_uid_is_free(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        if endpoint.uid.is_none() {
            return Ok(());
        }
        let taken = self.endpoints.values().any(|other| {
            other.id != endpoint.id && other.app_id == endpoint.app_id && other.uid == endpoint.uid
        });
        free(!taken, "endpoint of the application has that uid")
    }

    fn remove_endpoint(&mut self, endpoint: &Endpoint) {
        self.endpoints.remove(&endpoint.id);
        self.next_version();
        let change = Change::EndpointRemoved(endpoint.app_id, endpoint.id);
        self.publish(endpoint.version, change);
    }

    fn put_event_type(&mut self, event_type: &EventTypeInfo, old: u64) -> EventTypeInfo {
        let stored = EventTypeInfo {
            version: self.next_version(),
            ..event_type.clone()
        };
        let shared = Arc::new(stored.clone());
        self.event_types.insert(stored.name.clone(), shared.clone());
        self.publish(old, Change::EventType(shared));
        stored
    }

    fn put_token(&mut self, token: &TokenRecord, old: u64) -> TokenRecord {
        let stored = TokenRecord {
            version: self.next_version(),
            ..token.clone()
        };
        let shared = Arc::new(stored.clone());
        self.tokens.insert(stored.id, shared.clone());
        self.publish(old, Change::Token(shared));
        stored
    }
}

fn free(is: bool, what: &str) -> Result<(), StoreError> {
    if is {
        Ok(())
    } else {
        Err(StoreError::Conflict(format!("another {what} already")))
    }
}

/// That the thing is there and did not change since it was read.
fn unchanged(stored: Option<u64>, given: u64, what: &'static str) -> Result<(), StoreError> {
    match stored {
        None => Err(StoreError::NotFound(what)),
        Some(stored) if stored == given => Ok(()),
        Some(_) => Err(StoreError::Conflict(format!(
            "the {what} was changed by somebody else since it was read"
        ))),
    }
}

#[async_trait]
impl Applications for MemoryStore {
    async fn insert_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError> {
        let config = &mut self.state()?.config;
        let there = config.applications.contains_key(&application.id);
        free(!there, "application has that id")?;
        config.application_uid_is_free(application)?;
        Ok(config.put_application(application, 0))
    }

    async fn replace_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError> {
        let config = &mut self.state()?.config;
        let stored = config.applications.get(&application.id);
        unchanged(
            stored.map(|stored| stored.version),
            application.version,
            "application",
        )?;
        config.application_uid_is_free(application)?;
        Ok(config.put_application(application, application.version))
    }

    async fn delete_application(&self, id: AppId) -> Result<(), StoreError> {
        let config = &mut self.state()?.config;
        let removed = config.applications.remove(&id);
        let removed = removed.ok_or(StoreError::NotFound("application"))?;
        let endpoints: Vec<_> = config.endpoints.values().cloned().collect();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.app_id == id) {
            config.remove_endpoint(endpoint);
        }
        config.next_version();
        config.publish(removed.version, Change::ApplicationRemoved(id));
        Ok(())
    }

    async fn application(&self, by: &ApplicationRef) -> Result<Option<Application>, StoreError> {
        let config = &self.state()?.config;
        let found = match by {
            ApplicationRef::Id(id) => config.applications.get(id),
            ApplicationRef::Uid(uid) => config
                .applications
                .values()
                .find(|application| application.uid.as_ref() == Some(uid)),
        };
        Ok(found.map(|found| Application::clone(found)))
    }

    async fn applications(&self, of: &Page<AppId>) -> Result<Vec<Application>, StoreError> {
        let config = &self.state()?.config;
        let items = config.applications.iter().map(|(id, item)| (*id, item));
        let found = page(items, of);
        Ok(found
            .into_iter()
            .map(|item| Application::clone(item))
            .collect())
    }
}

#[async_trait]
impl Endpoints for MemoryStore {
    async fn insert_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError> {
        let config = &mut self.state()?.config;
        if !config.applications.contains_key(&endpoint.app_id) {
            return Err(StoreError::NotFound("application"));
        }
        let there = config.endpoints.contains_key(&endpoint.id);
        free(!there, "endpoint has that id")?;
        config.endpoint_uid_is_free(endpoint)?;
        Ok(config.put_endpoint(endpoint, 0))
    }

    async fn replace_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError> {
        let config = &mut self.state()?.config;
        let stored = config.endpoints.get(&endpoint.id);
        let stored = stored.filter(|stored| stored.app_id == endpoint.app_id);
        unchanged(
            stored.map(|stored| stored.version),
            endpoint.version,
            "endpoint",
        )?;
        config.endpoint_uid_is_free(endpoint)?;
        Ok(config.put_endpoint(endpoint, endpoint.version))
    }

    async fn delete_endpoint(&self, app_id: AppId, id: EndpointId) -> Result<(), StoreError> {
        let config = &mut self.state()?.config;
        let stored = config.endpoints.get(&id).cloned();
        let stored = stored.filter(|stored| stored.app_id == app_id);
        let stored = stored.ok_or(StoreError::NotFound("endpoint"))?;
        config.remove_endpoint(&stored);
        Ok(())
    }

    async fn endpoint(
        &self,
        app_id: AppId,
        by: &EndpointRef,
    ) -> Result<Option<Endpoint>, StoreError> {
        let config = &self.state()?.config;
        let found = match by {
            EndpointRef::Id(id) => config.endpoints.get(id),
            EndpointRef::Uid(uid) => config
                .endpoints
                .values()
                .find(|endpoint| endpoint.app_id == app_id && endpoint.uid.as_ref() == Some(uid)),
        };
        let found = found.filter(|endpoint| endpoint.app_id == app_id);
        if let Some(endpoint) = found {
            self.check_readable(endpoint.id.as_bytes())?;
        }
        Ok(found.map(|found| Endpoint::clone(found)))
    }

    async fn endpoints(
        &self,
        app_id: AppId,
        of: &Page<EndpointId>,
    ) -> Result<Vec<Endpoint>, StoreError> {
        let config = &self.state()?.config;
        let items = config.endpoints.iter().map(|(id, item)| (*id, item));
        let found = page(items.filter(|(_, item)| item.app_id == app_id), of);
        Ok(found
            .into_iter()
            .map(|item| Endpoint::clone(item))
            .collect())
    }
}

#[async_trait]
impl EventTypes for MemoryStore {
    async fn insert_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        let config = &mut self.state()?.config;
        let there = config.event_types.contains_key(&event_type.name);
        free(!there, "event type has that name")?;
        Ok(config.put_event_type(event_type, 0))
    }

    async fn replace_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        let config = &mut self.state()?.config;
        let stored = config.event_types.get(&event_type.name);
        unchanged(
            stored.map(|stored| stored.version),
            event_type.version,
            "event type",
        )?;
        Ok(config.put_event_type(event_type, event_type.version))
    }

    async fn delete_event_type(&self, name: &EventType) -> Result<(), StoreError> {
        let config = &mut self.state()?.config;
        let removed = config.event_types.remove(name);
        let removed = removed.ok_or(StoreError::NotFound("event type"))?;
        config.next_version();
        config.publish(removed.version, Change::EventTypeRemoved(name.clone()));
        Ok(())
    }

    async fn event_type(&self, name: &EventType) -> Result<Option<EventTypeInfo>, StoreError> {
        let config = &self.state()?.config;
        let found = config.event_types.get(name);
        Ok(found.map(|found| EventTypeInfo::clone(found)))
    }

    async fn event_types(
        &self,
        archived: bool,
        of: &Page<EventType>,
    ) -> Result<Vec<EventTypeInfo>, StoreError> {
        let config = &self.state()?.config;
        let items = config.event_types.iter();
        let items = items.filter(|(_, item)| archived || !item.archived);
        let found = page(items.map(|(name, item)| (name.clone(), item)), of);
        Ok(found
            .into_iter()
            .map(|item| EventTypeInfo::clone(item))
            .collect())
    }
}

#[async_trait]
impl Tokens for MemoryStore {
    async fn insert_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError> {
        let config = &mut self.state()?.config;
        let taken = config.tokens.values().any(|other| other.hash == token.hash)
            || config.tokens.contains_key(&token.id);
        free(!taken, "token has that text or id")?;
        Ok(config.put_token(token, 0))
    }

    async fn replace_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError> {
        let config = &mut self.state()?.config;
        let stored = config.tokens.get(&token.id);
        unchanged(stored.map(|stored| stored.version), token.version, "token")?;
        Ok(config.put_token(token, token.version))
    }

    async fn tokens(&self, of: &Page<TokenId>) -> Result<Vec<TokenRecord>, StoreError> {
        let config = &self.state()?.config;
        let found = page(config.tokens.iter().map(|(id, item)| (*id, item)), of);
        Ok(found
            .into_iter()
            .map(|item| TokenRecord::clone(item))
            .collect())
    }
}

#[async_trait]
impl ConfigFeed for MemoryStore {
    async fn changes(&self, since: u64) -> Result<Changes, StoreError> {
        let config = &self.state()?.config;
        let whole = since == 0 || since < config.forgotten;
        let since = if whole { 0 } else { since };
        let items = config.feed.range(since + 1..);
        // To somebody who has read nothing, nothing was removed.
        let items = items.filter(|(_, change)| !whole || !is_removal(change));
        Ok(Changes {
            store: self.shared.id,
            version: config.version,
            next: config.version,
            whole,
            items: items.map(|(_, change)| change.clone()).collect(),
        })
    }

    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let config = &mut self.state()?.config;
        let old = config.removed_at.iter().filter(|(_, at)| **at < before);
        let old: Vec<u64> = old.map(|(version, _)| *version).take(limit).collect();
        for version in &old {
            config.removed_at.remove(version);
            config.feed.remove(version);
            config.forgotten = config.forgotten.max(*version);
        }
        Ok(old.len())
    }
}

fn is_removal(change: &Change) -> bool {
    match change {
        Change::Application(_) | Change::Endpoint(_) | Change::EventType(_) | Change::Token(_) => {
            false
        }
        Change::ApplicationRemoved(_)
        | Change::EndpointRemoved(..)
        | Change::EventTypeRemoved(_) => true,
    }
}
