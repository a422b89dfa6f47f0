//! Configuration: applications, endpoints, event types, tokens, and the feed of their changes.
//!
//! Things are written whole. `insert_…` takes a new one; `replace_…` takes one that was read and changed, and returns
//! [`StoreError::Conflict`] if somebody changed it since (its `version` is not the stored one). Both return it with the
//! version that the store gave to the change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_model::{AppId, Endpoint, EndpointId, EventType, Timestamp, TokenId, Uid};

use crate::{Order, Page, PageStart, StoreError};

/// One customer of the platform's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id.
    pub id: AppId,
    /// The user's own name for it, unique.
    pub uid: Option<Uid>,
    /// For people.
    pub name: String,
    /// For the user's programs.
    pub metadata: BTreeMap<String, String>,
    /// Starts of attempts in any second to each of its endpoints that sets none, at most.
    pub rate_limit: Option<u32>,
    /// The version of its last change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A registered event type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypeInfo {
    /// Its name.
    pub name: EventType,
    /// For people.
    pub description: String,
    /// Hidden from listings; events of it are still delivered.
    pub archived: bool,
    /// Marked as going away.
    pub deprecated: bool,
    /// JSON schemas by version, as JSON text, or none.
    pub schemas: Option<String>,
    /// A flag that the user's portal may test.
    pub feature_flag: Option<String>,
    /// The version of its last change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenScope {
    /// Everything.
    Operator,
    /// Everything within one application.
    Application(AppId),
}

/// A bearer token, as it is kept: never its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its public name.
    pub id: TokenId,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it may do.
    pub scope: TokenScope,
    /// For people.
    pub name: String,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The version of its last change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl TokenRecord {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 256;

    /// What is wrong with a token's name, which has to fit into a line of a listing.
    ///
    /// # Errors
    /// What would be right.
    pub fn check_name(name: &str) -> Result<(), String> {
        if (1..=Self::MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
            return Ok(());
        }
        Err(format!(
            "expected what the token is for, in 1 to {} bytes without control characters",
            Self::MAX_NAME
        ))
    }

    /// One that is made now, of whose text `hash` is the SHA-256.
    pub fn new(hash: [u8; 32], scope: TokenScope, name: String, now: Timestamp) -> Self {
        Self {
            id: TokenId::new(),
            hash,
            scope,
            name,
            expires_at: None,
            revoked_at: None,
            version: 0,
            created_at: now,
        }
    }

    /// The same, good for so long since it was made.
    #[must_use]
    pub fn lasting(self, lifetime: Option<Duration>) -> Self {
        Self {
            expires_at: lifetime.map(|lifetime| self.created_at.plus(lifetime)),
            ..self
        }
    }
}

/// An application by its id or by the user's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ApplicationRef {
    /// By id.
    Id(AppId),
    /// By uid.
    Uid(Uid),
}

/// An endpoint by its id or by the user's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointRef {
    /// By id.
    Id(EndpointId),
    /// By uid.
    Uid(Uid),
}

/// Applications.
#[async_trait]
pub trait Applications: Send + Sync + 'static {
    /// A new one. `Conflict` if its uid is taken.
    async fn insert_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError>;
    /// One that was changed. `Conflict` if its uid is taken or it changed since.
    async fn replace_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError>;
    /// Removes it and its endpoints. `NotFound` if it is not there.
    async fn delete_application(&self, id: AppId) -> Result<(), StoreError>;
    /// One, if it is there.
    async fn application(&self, by: &ApplicationRef) -> Result<Option<Application>, StoreError>;
    /// In the order of their ids, which is that of their making.
    async fn applications(&self, page: &Page<AppId>) -> Result<Vec<Application>, StoreError>;
}

/// Endpoints.
#[async_trait]
pub trait Endpoints: Send + Sync + 'static {
    /// A new one. `Conflict` if its uid is taken in the application; `NotFound` if the application is not there.
    async fn insert_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError>;
    /// One that was changed. `Conflict` if its uid is taken or it changed since.
    async fn replace_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError>;
    /// Removes it. `NotFound` if it is not there.
    async fn delete_endpoint(&self, app_id: AppId, id: EndpointId) -> Result<(), StoreError>;
    /// One of an application, if it is there.
    async fn endpoint(
        &self,
        app_id: AppId,
        by: &EndpointRef,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Those of an application, in the order of their ids, which is that of their making.
    async fn endpoints(
        &self,
        app_id: AppId,
        page: &Page<EndpointId>,
    ) -> Result<Vec<Endpoint>, StoreError>;
}

/// Event types.
#[async_trait]
pub trait EventTypes: Send + Sync + 'static {
    /// A new one. `Conflict` if its name is taken.
    async fn insert_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError>;
    /// One that was changed. `Conflict` if it changed since.
    async fn replace_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError>;
    /// Removes it. `NotFound` if it is not there.
    async fn delete_event_type(&self, name: &EventType) -> Result<(), StoreError>;
    /// One, if it is there.
    async fn event_type(&self, name: &EventType) -> Result<Option<EventTypeInfo>, StoreError>;
    /// In the order of their names; archived ones only if asked for.
    async fn event_types(
        &self,
        archived: bool,
        page: &Page<EventType>,
    ) -> Result<Vec<EventTypeInfo>, StoreError>;
}

/// Tokens.
#[async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// A new one. `Conflict` if its hash is there already.
    async fn insert_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError>;
    /// One that was changed. `Conflict` if it changed since.
    async fn replace_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError>;
    /// All, in the order of their ids.
    async fn tokens(&self, page: &Page<TokenId>) -> Result<Vec<TokenRecord>, StoreError>;
}

/// Every token, in the order in which they were made.
///
/// # Errors
/// Those of [`Tokens::tokens`].
pub async fn all_tokens<T: Tokens + ?Sized>(tokens: &T) -> Result<Vec<TokenRecord>, StoreError> {
    const LIMIT: usize = 100;
    let mut page = Page {
        limit: LIMIT,
        start: PageStart::Beginning,
        order: Order::Ascending,
    };
    let mut all = Vec::new();
    loop {
        let some = tokens.tokens(&page).await?;
        let is_whole = some.len() < LIMIT;
        all.extend(some);
        match all.last() {
            Some(last) if !is_whole => page.start = PageStart::After(last.id),
            _ => return Ok(all),
        }
    }
}

/// Takes a token back, at `now`; one that is revoked stays as it is, whoever was first. Returns it; `None` if there is none.
///
/// # Errors
/// Those of [`Tokens`]; a conflict only with a change that revoked nothing.
pub async fn revoke_token<T: Tokens + ?Sized>(
    tokens: &T,
    id: TokenId,
    now: Timestamp,
) -> Result<Option<TokenRecord>, StoreError> {
    let Some(found) = find_token(tokens, id).await? else {
        return Ok(None);
    };
    if found.revoked_at.is_some() {
        return Ok(Some(found));
    }
    let revoked = TokenRecord {
        revoked_at: Some(now),
        ..found
    };
    match tokens.replace_token(&revoked).await {
        Err(error @ StoreError::Conflict(_)) => {
            let again = find_token(tokens, id).await?;
            let again = again.filter(|token| token.revoked_at.is_some());
            again.map(Some).ok_or(error)
        }
        replaced => replaced.map(Some),
    }
}

async fn find_token<T: Tokens + ?Sized>(
    tokens: &T,
    id: TokenId,
) -> Result<Option<TokenRecord>, StoreError> {
    let all = all_tokens(tokens).await?;
    Ok(all.into_iter().find(|token| token.id == id))
}

/// Which database this is. Another one after a restore: what was read before must be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

/// One change of configuration: what the thing is now, or that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An application was made or changed.
    Application(Arc<Application>),
    /// An application was removed; its endpoints' removals come apart.
    ApplicationRemoved(AppId),
    /// An endpoint was made or changed.
    Endpoint(Arc<Endpoint>),
    /// An endpoint was removed.
    EndpointRemoved(AppId, EndpointId),
    /// An event type was made or changed.
    EventType(Arc<EventTypeInfo>),
    /// An event type was removed.
    EventTypeRemoved(EventType),
    /// A token was made, changed or revoked.
    Token(Arc<TokenRecord>),
}

/// What [`ConfigFeed::changes`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Which database this is.
    pub store: StoreId,
    /// The version of the newest change that is visible; at least that of every item here.
    pub version: u64,
    /// What to pass as `since` next time. May lie below `version` while transactions that began earlier are open: items
    /// may come again, and applying one twice is harmless.
    pub next: u64,
    /// True if `items` are everything that there is: whoever asked forgets what it knew before.
    pub whole: bool,
    /// The changes, oldest first.
    pub items: Vec<Change>,
}

/// The feed of changes.
#[async_trait]
pub trait ConfigFeed: Send + Sync + 'static {
    /// Every change that is visible now and was not to the call that returned `since` as its `next`; with `since` 0,
    /// everything that is there, and likewise with a `since` from before a removal that is forgotten. Costs next to
    /// nothing if nothing changed.
    async fn changes(&self, since: u64) -> Result<Changes, StoreError>;

    /// Forgets at most `limit` removals from before `before`, by the store's own clock, the oldest first. Returns how many.
    /// Who has not heard of them by then reads everything again.
    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
