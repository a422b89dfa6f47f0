//! The store in PostgreSQL.

mod conformance;
mod databases;
mod faults;
mod feed;
mod opening;
mod partitions;
mod refusals;
mod samples;
