use std::{io, net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{Guard, guard::is_localhost};

/// How names become addresses; what is asked for each new connection to a host.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`, in the order of preference. The port is not used.
    ///
    /// # Errors
    /// The resolver's own: no such name, no answer.
    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The operating system's resolver, on tokio's pool of blocking threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// A resolver for `reqwest` that gives out only answers which pass the guard whole, so that the
/// addresses checked are the addresses connected to.
///
/// It never sees an address written in a URL: those are for [`Guard::check_url`].
#[derive(Debug)]
pub struct GuardedResolver<L = SystemLookup> {
    guard: Arc<Guard>,
    lookup: Arc<L>,
}

impl GuardedResolver {
    /// Guards the operating system's resolver.
    #[must_use]
    pub fn new(guard: Arc<Guard>) -> Self {
        Self::with_lookup(guard, SystemLookup)
    }
}

impl<L: Lookup> GuardedResolver<L> {
    /// Guards another resolver.
    #[must_use]
    pub fn with_lookup(guard: Arc<Guard>, lookup: L) -> Self {
        Self {
            guard,
            lookup: Arc::new(lookup),
        }
    }
}

impl<L: Lookup> Resolve for GuardedResolver<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookup) = (Arc::clone(&self.guard), Arc::clone(&self.lookup));
        Box::pin(async move {
            let host = name.as_str();
            if is_localhost(host) {
                return Ok(boxed(guard.localhost(host)?));
            }
            let addresses = lookup.lookup(host).await?;
            guard.check_resolved(&addresses)?;
            Ok(boxed(addresses))
        })
    }
}

fn boxed(addresses: Vec<SocketAddr>) -> Addrs {
    Box::new(addresses.into_iter())
}
