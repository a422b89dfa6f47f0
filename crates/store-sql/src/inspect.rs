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
    /// What only a file has that is there.
    pub file: Option<InspectedFile>,
    /// What only a server has.
    pub server: Option<InspectedServer>,
}

/// What was read of a SQLite file, and found sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedFile {
    /// Of the file and its WAL.
    pub bytes: u64,
    /// How much of it.
    pub extent: Extent,
}

/// How much of a SQLite file was read before the time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Of a file that nobody has: what was read was sound, and the rest was not read.
    Part,
    /// Of a file in use: all but these tables, which were not read to their end. Of what was read of them nothing is known.
    AllBut(Vec<String>),
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
    /// How many connections it takes.
    pub connections: InspectedConnections,
}

/// How many connections a PostgreSQL server takes, and has, apart from that which looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectedConnections {
    /// Of the user of the store, with everybody else's that are not kept for administrators: by the server's
    /// `max_connections`, or by a limit of the database or of the user, if one of these is less.
    pub limit: u32,
    /// That are open, of those that count for this limit.
    pub open: u32,
    /// Of processes of ours in this database.
    pub ours: u32,
}
