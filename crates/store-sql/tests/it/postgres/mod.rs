//! The store in PostgreSQL.

mod conformance;
mod databases;
mod faults;
mod feed;
mod flapping;
mod opening;
mod partitions;
mod refusals;
mod samples;
mod steps;
