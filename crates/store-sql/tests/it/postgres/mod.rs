//! The store in PostgreSQL.

mod conformance;
mod databases;
