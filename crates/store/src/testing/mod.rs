//! For tests: the conformance suite and an in-memory store.
