//! Signing seen from outside: against the specification, and against the official library.
#![allow(clippy::unwrap_used, reason = "tests")]

mod official_library;
mod rotation;
mod specification;
mod tampering;

use postrider_signing::{Received, Secret, Verifier};

const NOW_S: i64 = 1_614_265_330;

fn secret(fill: u8) -> Secret {
    Secret::from_bytes(vec![fill; 24]).unwrap()
}

fn verifier(secret: &Secret) -> Verifier {
    Verifier::new([secret], Verifier::DEFAULT_TOLERANCE_S)
}

fn received<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> Received<'a> {
    Received {
        id,
        timestamp,
        signature,
    }
}
