//! Which addresses may be called: nobody's endpoint is a way into our own network.
//!
//! **In and out.** A parsed URL or a resolved address goes in; nothing, or [`Refused`], comes out.
//! [`GuardedResolver`] is the same rule in the place of `reqwest`'s resolver.
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
//! **Authority and crashes.** The configuration decides, and [`Guard::replace`] is for when it changes; nothing is kept or
//! cached. What is open when the rule becomes narrower stays open: callers check the URL of each request, and a name's
//! address when they connect.
//!
//! **Failure.** [`Refused`] is our own decision, never the endpoint's fault: find it in the error of
//! a request with [`refusal_in`] and do not charge the endpoint for it. There is nothing to stop.

mod blocks;
mod guard;
mod refused;
mod resolver;

pub use guard::Guard;
pub use ipnet::IpNet;
pub use refused::{Refused, refusal_in};
pub use resolver::{GuardedResolver, Lookup, SystemLookup};
