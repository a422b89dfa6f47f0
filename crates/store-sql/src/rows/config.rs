//! Rows of configuration.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{AppId, Disabled, Endpoint, EndpointPolicy};
use postrider_store::{Application, Change, EventTypeInfo, StoreError, TokenRecord, TokenScope};

use crate::columns::Columns;
use crate::error::unreadable;
use crate::secrets;

pub(crate) fn application(row: &impl Columns) -> Result<Application, StoreError> {
    Ok(Application {
        id: row.some_id("id")?,
        uid: row.parsed("uid")?,
        name: row.some_text("name")?.to_owned(),
        metadata: row.map("metadata")?,
        rate_limit: row.number("rate_limit")?,
        version: row.some_number("version")?,
        created_at: row.some_time("created_at")?,
        updated_at: row.some_time("updated_at")?,
    })
}

pub(crate) fn endpoint(row: &impl Columns) -> Result<Endpoint, StoreError> {
    Ok(Endpoint {
        id: row.some_id("id")?,
        app_id: row.some_id("app_id")?,
        uid: row.parsed("uid")?,
        url: row.some_parsed("url")?,
        description: row.some_text("description")?.to_owned(),
        metadata: row.map("metadata")?,
        event_types: row.json("event_types")?.map(exact),
        channels: row.json("channels")?.map(exact),
        disabled: disabled(row)?,
        policy: policy(row)?,
        secrets: exact(secrets::decode(row.some_text("secrets")?)?),
        version: row.some_number("version")?,
        created_at: row.some_time("created_at")?,
        updated_at: row.some_time("updated_at")?,
    })
}

/// The list without spare room: endpoints lie in memory in great number, and for long.
fn exact<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

fn policy(row: &impl Columns) -> Result<Arc<EndpointPolicy>, StoreError> {
    let policy = EndpointPolicy {
        rate_limit: row.number("rate_limit")?,
        max_in_flight: row.number("max_in_flight")?,
        schedule: row.parsed("schedule")?,
        timeout: row.number("timeout_ms")?.map(Duration::from_millis),
        final_statuses: row.some_json("final_statuses")?,
        headers: row.map("headers")?,
    };
    Ok(policy.shared())
}

fn disabled(row: &impl Columns) -> Result<Option<Disabled>, StoreError> {
    Ok(match row.text("disabled")? {
        None => None,
        Some("by_owner") => Some(Disabled::ByOwner),
        Some("gone") => Some(Disabled::Gone),
        Some("failing") => Some(Disabled::Failing),
        Some(other) => return Err(unreadable("disabled", other)),
    })
}

/// Why an endpoint gets nothing, as a column.
pub(crate) fn disabled_label(disabled: Disabled) -> &'static str {
    match disabled {
        Disabled::ByOwner => "by_owner",
        Disabled::Gone => "gone",
        Disabled::Failing => "failing",
    }
}

pub(crate) fn event_type(row: &impl Columns) -> Result<EventTypeInfo, StoreError> {
    Ok(EventTypeInfo {
        name: row.some_parsed("name")?,
        description: row.some_text("description")?.to_owned(),
        archived: row.flag("archived")?,
        deprecated: row.flag("deprecated")?,
        schemas: row.text("schemas")?.map(str::to_owned),
        feature_flag: row.text("feature_flag")?.map(str::to_owned),
        version: row.some_number("version")?,
        created_at: row.some_time("created_at")?,
        updated_at: row.some_time("updated_at")?,
    })
}

pub(crate) fn token(row: &impl Columns) -> Result<TokenRecord, StoreError> {
    Ok(TokenRecord {
        id: row.some_id("id")?,
        hash: row.bytes("hash")?,
        scope: row
            .id("app_id")?
            .map_or(TokenScope::Operator, TokenScope::Application),
        name: row.some_text("name")?.to_owned(),
        expires_at: row.time("expires_at")?,
        revoked_at: row.time("revoked_at")?,
        version: row.some_number("version")?,
        created_at: row.some_time("created_at")?,
    })
}

/// The application that a token is limited to, as a column.
pub(crate) fn scope_column(scope: TokenScope) -> Option<AppId> {
    match scope {
        TokenScope::Operator => None,
        TokenScope::Application(id) => Some(id),
    }
}

/// What kind of thing is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovedKind {
    Application,
    Endpoint,
    EventType,
}

impl RemovedKind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Endpoint => "endpoint",
            Self::EventType => "event_type",
        }
    }
}

pub(crate) fn removal(row: &impl Columns) -> Result<Change, StoreError> {
    let kind = row.some_text("kind")?;
    if kind == RemovedKind::Application.label() {
        Ok(Change::ApplicationRemoved(row.some_id("id")?))
    } else if kind == RemovedKind::Endpoint.label() {
        Ok(Change::EndpointRemoved(
            row.some_id("app_id")?,
            row.some_id("id")?,
        ))
    } else {
        let name =
            std::str::from_utf8(row.some_blob("id")?).map_err(|error| unreadable("id", error))?;
        let name = name.parse().map_err(|error| unreadable("id", error))?;
        Ok(Change::EventTypeRemoved(name))
    }
}
