use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;

use crate::{Guard, Limits, Lookup, SystemLookup, Unresolved, guard::is_localhost, names::Names};

/// A resolver for `reqwest` that gives out only answers which pass the guard whole, so that the
/// addresses checked are the addresses connected to, also where they were looked up a moment ago.
///
/// It never sees an address written in a URL: those are for [`Guard::check_url`].
#[derive(Debug, Clone)]
pub struct GuardedResolver {
    guard: Arc<Guard>,
    names: Arc<Names>,
}

impl GuardedResolver {
    /// Guards the operating system's resolver.
    #[must_use]
    pub fn new(guard: Arc<Guard>, limits: Limits) -> Self {
        Self::with_lookup(guard, SystemLookup, limits)
    }

    /// Guards another resolver.
    #[must_use]
    pub fn with_lookup(guard: Arc<Guard>, lookup: impl Lookup, limits: Limits) -> Self {
        Self {
            guard,
            names: Names::new(lookup, limits),
        }
    }

    /// Whose fault it is that one who has asked for `host` since `asked` has no answer yet; `None` if no lookup of it is under
    /// way. For those who give up on their own.
    #[must_use]
    pub fn unanswered(&self, host: &str, asked: Instant) -> Option<Unresolved> {
        self.names.unanswered(host, asked)
    }

    /// Lookups that wait for their turn.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.names.queued()
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { guard, names } = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            if is_localhost(host) {
                return Ok(boxed(guard.localhost(host)?));
            }
            let addresses = names.resolve(host).await?;
            guard.check_resolved(&addresses)?;
            Ok(boxed(addresses.to_vec()))
        })
    }
}

fn boxed(addresses: Vec<SocketAddr>) -> Addrs {
    Box::new(addresses.into_iter())
}
