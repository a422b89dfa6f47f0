//! Which addresses may be called: nobody's endpoint is a way into our own network.
//!
//! **In and out.** A parsed URL or a resolved address goes in; nothing, or [`Refused`], comes out.
//! [`GuardedResolver`] is the same rule in the place of `reqwest`'s resolver; a name goes in, and its addresses, [`Refused`] or
//! [`Unresolved`] come out.
//!
//! **Invariants.** Only public unicast passes: IPv4 outside the special-purpose blocks, IPv6 inside
//! `2000::/3` less its special blocks (`blocks.rs` has both tables, each row with its source). An
//! IPv4-mapped IPv6 address is judged as the IPv4 address that it reaches. Networks allowed by
//! configuration come before the tables. If one address of a name is refused, the name is: a mixed
//! answer is how a name is made to change under the caller's eyes.
//!
//! A URL is checked at registration **and** before each send, because an address written in a URL
//! never reaches a resolver; a name is checked by the resolver at each new connection, with the very
//! addresses that are then connected to, so a name that changes gains nothing. The caller's client
//! must use no proxy and follow no redirect, or the check is made on somebody else's address.
//!
//! Names are looked up so many at a time ([`Limits`]), each once at a time, and an answer stands for some seconds. Names that
//! resolved lately, that failed, and that are new have turns of their own, so that those whose servers do not answer keep no
//! other waiting; where no answer comes, a name's last addresses are good enough for some minutes. The guard judges them at
//! each connection, however they were come by.
//!
//! **Authority and crashes.** The configuration decides, and [`Guard::replace`] is for when it changes; no verdict is
//! kept. What names resolved to is kept in memory only. What is open when the rule becomes narrower stays open: callers check the URL of each request, and a name's
//! address when they connect.
//!
//! **Failure.** [`Refused`] is our own decision, never the endpoint's fault: find it in the error of
//! a request with [`refusal_in`] and do not charge the endpoint for it. [`Unresolved`], found with [`unresolved_in`], says whose
//! fault it is: a lookup that had no turn is ours, and so is it if several names fail and none is answered ([`Outage`]). There
//! is nothing to stop: a lookup under way ends by itself.

mod blocks;
mod flight;
mod guard;
mod lookup;
mod memory;
mod names;
mod outage;
mod refused;
mod resolver;
mod unresolved;

#[cfg(test)]
mod memory_tests;

pub use guard::Guard;
pub use ipnet::IpNet;
pub use lookup::{Lookup, LookupError, SystemLookup};
pub use names::Limits;
pub use outage::Outage;
pub use refused::{Refused, refusal_in};
pub use resolver::GuardedResolver;
pub use unresolved::{Unresolved, unresolved_in};
