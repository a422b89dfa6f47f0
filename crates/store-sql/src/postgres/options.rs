//! How the store uses its PostgreSQL server.

use std::time::Duration;

/// How the store uses its PostgreSQL server. The defaults suit a server in the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Connections of this process, at most; at least 2. One of them is for the feed of configuration alone, so that it
    /// waits for nothing else.
    pub max_connections: u32,
    /// How long a call waits for a connection, while all are in use or none can be made, before the store counts as not
    /// available.
    pub acquire_timeout: Duration,
    /// How long the server works on one statement, at most.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock, at most.
    pub lock_timeout: Duration,
    /// How long a call lasts, at most, though the server does not even say no: the network or the machine is gone. Longer
    /// than the others together. Retention, and reading all configuration at once, may last [`LONG`](Self::LONG).
    pub call_timeout: Duration,
}

impl PostgresOptions {
    /// How long what is seldom done and much at once may last.
    pub const LONG: Duration = Duration::from_secs(600);
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(25),
        }
    }
}
