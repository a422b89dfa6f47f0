//! The guard seen from outside: every block and its edges, URLs, and resolved names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod blocks;
mod lookups;
mod resolving;
mod urls;

use postrider_guard::{Guard, Refused};

/// A guard as production has it, with these networks allowed; `http` passes.
fn guard(allow: &[&str]) -> Guard {
    Guard::new(
        allow.iter().map(|net| net.parse().unwrap()).collect(),
        false,
    )
}

fn check(guard: &Guard, ip: &str) -> Result<(), Refused> {
    guard.check_ip(ip.parse().unwrap())
}
