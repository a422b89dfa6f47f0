//! What the worker asks of the configuration.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_model::{Endpoint, EndpointId};
use postrider_registry::Registry;

/// What a refresh came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Everything that the store had when the refresh was asked for is in the snapshot: what it says is a verdict.
    Fresh,
    /// The store does not answer.
    Stale,
}

/// The endpoints as they are known here.
#[async_trait]
pub trait Endpoints: Send + Sync + 'static {
    /// An endpoint, disabled or not.
    fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>>;

    /// Starts of attempts in any second to `endpoint`, at most: its own limit, or else its application's.
    fn rate_limit(&self, endpoint: &Endpoint) -> Option<u32>;

    /// The version of the newest change of what `endpoint` goes by: its own, or its application's.
    fn version_of(&self, endpoint: &Endpoint) -> u64;

    /// The registry's version that is known.
    fn version(&self) -> u64;

    /// Asks the store for what has changed.
    async fn refresh(&self) -> Freshness;
}

#[async_trait]
impl Endpoints for Registry {
    fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        self.snapshot().endpoint(id).cloned()
    }

    fn rate_limit(&self, endpoint: &Endpoint) -> Option<u32> {
        self.snapshot().rate_limit(endpoint)
    }

    fn version_of(&self, endpoint: &Endpoint) -> u64 {
        self.snapshot().version_of(endpoint)
    }

    fn version(&self) -> u64 {
        self.snapshot().version()
    }

    async fn refresh(&self) -> Freshness {
        match Registry::refresh(self).await {
            Ok(()) => Freshness::Fresh,
            Err(_) => Freshness::Stale,
        }
    }
}
