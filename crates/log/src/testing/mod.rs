//! For tests: the conformance suite, and a log in memory that passes it.

pub mod conformance;
mod memory;

pub use memory::MemoryLog;
