//! Signatures of outgoing webhooks: who sent this, and when, provable by a shared secret.
//!
//! **In and out.** An endpoint's secrets go in as text and become [`Secret`]s; a [`Signer`] is made
//! of them once and then turns (id, timestamp, body) into the value of the `webhook-signature`
//! header for every attempt. A [`Verifier`] does the reverse for a receiver.
//!
//! **Invariants.** The scheme is `v1` of [Standard Webhooks 1.0][spec]: HMAC-SHA256 over
//! `id.timestamp.body`, base64. The body is never copied. A signer always has a secret that does
//! not expire, so signing cannot fail. A retiring secret signs as long as the attempt's own
//! timestamp lies before its expiry. Signatures are compared in constant time.
//!
//! **Authority and crashes.** Nothing is kept here: secrets belong to the store, time is passed in.
//!
//! **Failure.** Only on input from others: [`Error`] says whether a secret or a request is refused,
//! and never shows either. There is nothing to stop.
//!
//! **Further schemes** (`v1a` of the same specification, GitHub's, Stripe's) each get a file beside
//! `v1.rs`, which alone knows what this scheme signs and how the tag is written.
//!
//! [spec]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

mod error;
mod secret;
mod sign;
mod v1;
mod verify;

pub use error::Error;
pub use secret::Secret;
pub use sign::Signer;
pub use verify::{Received, Verifier};

/// Carries the event's identifier, the same for all attempts and replays.
pub const HEADER_ID: &str = "webhook-id";
/// Carries the time of the attempt in whole seconds since the Unix epoch.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// Carries the signatures, separated by spaces.
pub const HEADER_SIGNATURE: &str = "webhook-signature";
