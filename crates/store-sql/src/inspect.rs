//! Looking at a store without opening it: for an operator who asks what is wrong. Nothing is changed.

use std::time::Duration;

use postrider_model::Timestamp;

/// What was seen of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Where it is: without user and password.
    pub place: String,
    /// The version of its schema; none if it has none yet, or is not there yet.
    pub schema: Option<i64>,
    /// The newest version of the schema that this program knows, and brings it up to when it opens it.
    pub known: i64,
    /// The newest of its steps for which this program is too old; none where all that it does not know expand the schema.
    pub forbids: Option<i64>,
    /// What only a server has.
    pub server: Option<InspectedServer>,
}

/// What was seen of a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedServer {
    /// For instance `15.8`.
    pub version: String,
    /// Whether this program was tested with it.
    pub is_old: bool,
    /// Whether it follows another one and takes no writes.
    pub is_standby: bool,
    /// Whether its user may make tables here.
    pub may_make_tables: bool,
    /// Its clock.
    pub now: Timestamp,
    /// How long it took to ask for that: the clock was read somewhere within.
    pub asked_for: Duration,
}
