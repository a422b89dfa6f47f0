use std::{
    error::Error,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

/// Why an address may not be called. It is our decision: the endpoint is not charged with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another scheme than `http` and `https`.
    #[error(
        "the URL has the scheme {scheme}; an endpoint's URL must begin with https:// (or http:// where the configuration lets it)"
    )]
    Scheme {
        /// What the URL has.
        scheme: String,
    },
    /// `http` where only `https` is let.
    #[error("the URL begins with http://, and https:// is required here")]
    NotHttps,
    /// No host to connect to.
    #[error("the URL has no host; write it as https://HOST/PATH")]
    NoHost,
    /// A user name or password in the URL, which logs and errors would show.
    #[error(
        "the URL has a user name or password in it; give the endpoint a header for that instead"
    )]
    Credentials,
    /// A name that means this machine, while no loopback address is allowed.
    #[error("{host} is the server's own machine; an endpoint must have a public address")]
    LocalName {
        /// The host of the URL.
        host: String,
    },
    /// An address in a block that is not public.
    #[error(
        "{ip} is in {network} ({purpose}), which is not public; an endpoint must have a public address"
    )]
    Special {
        /// The address, an IPv4-mapped one as the IPv4 address that it reaches.
        ip: IpAddr,
        /// The block.
        network: IpNet,
        /// What the block is for.
        purpose: &'static str,
    },
    /// An IPv6 address outside the space from which public ones are given, in no block with a name.
    #[error(
        "{ip} is outside 2000::/3, the global unicast space, and so is not public; an endpoint must have a public address"
    )]
    NotGlobal {
        /// The address.
        ip: Ipv6Addr,
    },
    /// A name that resolved to no address at all.
    #[error("the name has no address; it must resolve to public addresses only")]
    NoAddress,
}

impl Refused {
    /// The setting by which an operator may let through what this refuses. Endpoints' owners, who see the refusal, cannot set
    /// it, and need not know of it.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        match self {
            Self::NotHttps => Some("egress.require_https"),
            Self::LocalName { .. } | Self::Special { .. } | Self::NotGlobal { .. } => {
                Some("egress.allow")
            }
            Self::Scheme { .. } | Self::NoHost | Self::Credentials | Self::NoAddress => None,
        }
    }
}

/// The refusal inside an error of `reqwest`, or of anything else that keeps its sources.
#[must_use]
pub fn refusal_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refused> {
    std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref())
}
