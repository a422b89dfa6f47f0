//! Bearer tokens: how they are made, stored and read, and what their holder may do.
//!
//! **In and out.** The value of an `Authorization` header goes in and a [`Token`] comes out; its
//! [`TokenHash`] is looked up in the registry; the [`TokenGrant`] found there and the [`Access`]
//! that the operation needs go into [`decide`], which allows it or says why not.
//!
//! **Invariants.** Only hashes are kept; a token's text exists where it is made, where it is shown
//! once and in requests, and no `Debug` prints it. A grant for one application opens nothing else.
//!
//! **Authority and crashes.** The store owns the grants, the registry's snapshot serves them; this
//! crate keeps nothing, and time is passed in. A revocation is as quick as that snapshot.
//!
//! **Failure.** [`Denied`] is divided by the answer that the caller gives. Nothing panics on any
//! input, and there is nothing to stop.

mod bearer;
mod denied;
mod grant;
mod token;

pub use bearer::parse_bearer;
pub use denied::Denied;
pub use grant::{Access, Scope, TokenGrant, decide};
pub use token::{Token, TokenHash};
