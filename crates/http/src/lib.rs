//! What every HTTP service of Postrider says and asks in the same way.
//!
//! **In → out.** A request's token, path, query and body in; an identity, typed ids and values out, or an [`HttpError`] in
//! the dialect's shape. Ingest and the API build their routes on this and never see each other.
//!
//! **Invariants.** Every error is `{code, detail}`, or `{detail: [{loc, msg, type}]}` with 422. A foreign application is
//! answered exactly as a missing one. A body is bounded before it is read, and all that have come in part together. One idempotency key is carried out once.
//!
//! **Authority.** Nothing is kept here: identities are the registry's, claims are the store's.
//!
//! **Failure.** [`HttpError`] is divided by what the client does next: correct the request, ask again later, or give up.
//! What the registry does not know while the store is down is 503, never 401 or 404.

mod application;
mod body;
mod bounded;
mod budget;
mod described;
mod error;
mod gate;
mod given;
mod idempotency;
mod json;
mod message;
mod not_taken;
mod path;
mod query;
mod routes;
#[cfg(feature = "testing")]
pub mod testing;

pub use application::{ApplicationIn, PerSecond, either};
pub use body::{BodyLimit, read_body};
pub use bounded::{Bounded, Bounds};
pub use budget::BodyBudget;
pub use described::{MAX_DESCRIPTION, MAX_METADATA, check_description, check_metadata};
pub use error::{Fault, HttpError, unavailable};
pub use gate::{Caller, Gate, HasGate, InApp, Operator};
pub use given::Given;
pub use idempotency::{Idempotency, KeyClaim, key_header};
pub use json::{check_json, parse_json};
pub use message::{MessageOut, is_json};
pub use not_taken::{not_acknowledged, not_taken};
pub use path::{InPath, application_ref, check_uid, endpoint_ref, event_ref};
pub use query::Query;
pub use routes::{Slashed, finish};
