//! For tests: a log in memory.

mod memory;

pub use memory::MemoryLog;
