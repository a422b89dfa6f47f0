//! Errors of PostgreSQL, divided by what the caller does next.

use postrider_store::StoreError;
use sqlx::postgres::PgDatabaseError;

/// Codes and classes (the first two characters) that decide what happens next:
/// <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
mod code {
    pub(super) const UNIQUE_VIOLATION: &str = "23505";
    pub(super) const FOREIGN_KEY_VIOLATION: &str = "23503";
    pub(super) const DISK_FULL: &str = "53100";
    /// The values, not the circumstances: a zero byte in a text, a number out of range.
    pub(super) const DATA: &str = "22";
    pub(super) const CONSTRAINT: &str = "23";
    /// A key that is too long for an index, and the like.
    pub(super) const LIMIT: &str = "54";
    pub(super) const CORRUPTED: &str = "XX";
    /// Much that the server does not do, and of a prepared statement also that its result would have other columns than when
    /// it was prepared.
    pub(super) const NOT_SUPPORTED: &str = "0A000";
    /// A standby, or a primary that is being made one.
    pub(super) const READ_ONLY: &str = "25006";
    pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
    /// Of the connection. Poolers say so, too, of a server that is away.
    pub(super) const CONNECTION: &str = "08";
    /// For another transaction's sake.
    pub(super) const ROLLED_BACK: &str = "40";
    /// Too many connections, no memory, no disk.
    pub(super) const RESOURCES: &str = "53";
    /// It starts, stops, or somebody ended this.
    pub(super) const INTERVENTION: &str = "57";
    /// I/O.
    pub(super) const SYSTEM: &str = "58";
}

/// The server's function that finds a prepared statement outdated, and no other error. Its words depend on the server's
/// language.
const REVALIDATION: &str = "RevalidateCachedQuery";

const OUTDATED: &str = "the schema was changed beside this connection, and the next one knows it";

/// That a statement was prepared for an older schema.
pub(super) fn is_outdated(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(words) if words == OUTDATED)
}

/// That a lock was not had within the statement's patience.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some(code::LOCK_NOT_AVAILABLE)
}

/// Whether the same may succeed later, though nobody changes a setting, a right or a program: the connection was lost, or
/// the server starts, stops, is full, or is not the primary now.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, Protocol, Tls};
    let Some(code) = code_of(error) else {
        return matches!(error, Io(_) | Tls(_) | Protocol(_));
    };
    match code.as_str() {
        code::READ_ONLY | code::LOCK_NOT_AVAILABLE => true,
        code => matches!(
            code.get(..2),
            Some(
                code::CONNECTION
                    | code::ROLLED_BACK
                    | code::RESOURCES
                    | code::INTERVENTION
                    | code::SYSTEM
            )
        ),
    }
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    error.code().map(std::borrow::Cow::into_owned)
}

/// That a row refers to one that is not there, or that a row which is referred to cannot go.
pub(super) fn breaks_a_reference(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some(code::FOREIGN_KEY_VIOLATION)
}

/// What the caller of the store is told.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    if let sqlx::Error::Encode(why) = &error {
        return StoreError::Refused(why.to_string());
    }
    let (Some(code), Some(from_database)) = (code_of(&error), error.as_database_error()) else {
        return StoreError::Unavailable(error.to_string());
    };
    let words = from_database.message().to_owned();
    if code == code::UNIQUE_VIOLATION {
        return StoreError::Conflict(words);
    }
    if code == code::DISK_FULL {
        return StoreError::Unavailable(format!("the disk is full ({words})"));
    }
    let place = from_database.try_downcast_ref::<PgDatabaseError>();
    if code == code::NOT_SUPPORTED && place.and_then(PgDatabaseError::routine) == Some(REVALIDATION)
    {
        return StoreError::Unavailable(OUTDATED.to_owned());
    }
    match code.get(..2) {
        Some(code::DATA | code::CONSTRAINT | code::LIMIT) => StoreError::Refused(words),
        Some(code::CORRUPTED) => {
            StoreError::Unavailable(format!("the database is damaged or at fault ({words})"))
        }
        // A lost connection, a server that starts or stops, too many connections, a timeout, a deadlock: later it may
        // work. And a schema or rights that are not what they should be: somebody will mend them.
        _ => StoreError::Unavailable(format!("{words} ({code})")),
    }
}

/// The same, where a name or an id that is taken already is what `taken` says in words.
pub(super) fn or_taken(taken: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match store_error(error) {
        StoreError::Conflict(_) => StoreError::Conflict(taken.to_owned()),
        other => other,
    }
}
