//! What tests and checks share; nothing of it is in the `postrider` binary.
//!
//! **In → out.** Tests come here for what stands around Postrider; `make layers` for the check of
//! the crates' dependencies ([`layers`]).
//!
//! **Invariants.** It looks at Postrider from outside, over HTTP and as a process: it depends on
//! no service, port or adapter, and starts engines rather than linking them.
//!
//! **Authority and crashes.** It keeps nothing: what a test starts ends with the test.
//!
//! **Failing.** Loudly, with what was expected and what came.

pub mod layers;
