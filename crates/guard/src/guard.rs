use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net};
use url::{Host, Url};

use crate::{Refused, blocks};

/// The rule: which addresses may be called. Made once from the configuration, then shared: its clones are the same guard,
/// and what replaces the rule in one counts in all.
#[derive(Debug, Clone)]
pub struct Guard(Arc<RwLock<Rule>>);

#[derive(Debug)]
struct Rule {
    allow: Vec<IpNet>,
    require_https: bool,
}

impl Rule {
    fn new(allow: Vec<IpNet>, require_https: bool) -> Self {
        Self {
            allow: allow.into_iter().map(unmapped).collect(),
            require_https,
        }
    }
}

impl Guard {
    /// A guard that allows the networks in `allow` beside the public ones, and, with
    /// `require_https`, no `http://`.
    #[must_use]
    pub fn new(allow: Vec<IpNet>, require_https: bool) -> Self {
        Self(Arc::new(RwLock::new(Rule::new(allow, require_https))))
    }

    /// From now on this is the rule, for every connection and attempt that begins: [`Guard::new`] says what it means.
    pub fn replace(&self, allow: Vec<IpNet>, require_https: bool) {
        let rule = Rule::new(allow, require_https);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rule;
    }

    /// Asks the rule. Nobody holds it for longer than it takes to compare an address.
    fn ask<T>(&self, question: impl FnOnce(&Rule) -> T) -> T {
        question(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this address may be called.
    ///
    /// # Errors
    /// [`Refused::Special`] with the block that it is in, or [`Refused::NotGlobal`].
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Refused> {
        // A mapped address connects over IPv4: what counts is where it leads.
        let ip = ip.to_canonical();
        if self.ask(|rule| rule.allow.iter().any(|net| net.contains(&ip))) {
            return Ok(());
        }
        blocks::check(ip)
    }

    /// Whether an endpoint may have this URL. An address in it is judged here; a name is judged
    /// when it is resolved, but for the names of this machine.
    ///
    /// # Errors
    /// Every variant of [`Refused`] but [`Refused::NoAddress`].
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if self.ask(|rule| rule.require_https) => return Err(Refused::NotHttps),
            "http" => {}
            scheme => {
                return Err(Refused::Scheme {
                    scheme: scheme.to_owned(),
                });
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        // `Url` has already turned 0x7f.1, 2130706433 and the like into addresses.
        match url.host() {
            None => Err(Refused::NoHost),
            Some(Host::Ipv4(ip)) => self.check_ip(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_ip(ip.into()),
            Some(Host::Domain(name)) if is_localhost(name) => self.localhost(name).map(|_| ()),
            Some(Host::Domain(_)) => Ok(()),
        }
    }

    /// Whether a name that resolved to these addresses may be called: only if each of them may.
    ///
    /// # Errors
    /// [`Refused::NoAddress`], or the refusal of the first address that is refused.
    pub fn check_resolved(&self, addresses: &[SocketAddr]) -> Result<(), Refused> {
        if addresses.is_empty() {
            return Err(Refused::NoAddress);
        }
        addresses
            .iter()
            .try_for_each(|address| self.check_ip(address.ip()))
    }

    /// The loopback addresses that are allowed, with port 0: the whole meaning of `localhost` and
    /// of names below it (RFC 6761, section 6.3). Asked of no resolver, so that nobody else's
    /// answer counts, and so that allowing 127.0.0.0/8 suffices where the name also means `::1`.
    pub(crate) fn localhost(&self, name: &str) -> Result<Vec<SocketAddr>, Refused> {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let allowed: Vec<_> = loopback
            .into_iter()
            .filter(|ip| self.check_ip(*ip).is_ok())
            .map(|ip| SocketAddr::new(ip, 0))
            .collect();
        if allowed.is_empty() {
            return Err(Refused::LocalName {
                host: name.to_owned(),
            });
        }
        Ok(allowed)
    }
}

/// `localhost` and all names below it, with or without the root's full stop. The caller's name is
/// of a parsed URL, hence in lower case.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// A network of IPv4-mapped addresses as the IPv4 network that it is.
fn unmapped(net: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6
        .network()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(MAPPED_PREFIX));
    v4.and_then(|(ip, prefix)| Ipv4Net::new(ip, prefix).ok())
        .map_or(net, IpNet::V4)
}
