//! The API over the in-memory log and store, through its routes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod applications;
mod attempts;
mod bounds;
mod breakers;
mod dead_letters;
mod endpoint_secrets;
mod endpoints;
mod event_types;
mod events;
mod house;
mod identities;
mod naming;
mod paging;
mod rejected;
mod resend;
mod tokens;
mod turns;
