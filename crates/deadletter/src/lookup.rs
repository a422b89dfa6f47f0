//! Which endpoints take deliveries, as a replay asks it.

use async_trait::async_trait;
use postrider_model::{EndpointId, Schedule};
use postrider_registry::Registry;
use postrider_store::StoreError;

/// What an endpoint takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Deliveries.
    Deliveries {
        /// How they are retried, if not by the configuration's default.
        schedule: Option<Schedule>,
        /// The version of its last change.
        version: u64,
    },
    /// Nothing: it is disabled or gone.
    Nothing,
}

/// Who knows the endpoints.
#[async_trait]
pub trait EndpointLookup: Send + Sync + 'static {
    /// Brings what is known up to date, so that "gone" is a verdict.
    async fn refresh(&self) -> Result<(), StoreError>;

    /// What the endpoint takes, as of the last refresh.
    fn takes(&self, endpoint: EndpointId) -> Takes;
}

#[async_trait]
impl EndpointLookup for Registry {
    async fn refresh(&self) -> Result<(), StoreError> {
        Self::refresh(self).await
    }

    fn takes(&self, endpoint: EndpointId) -> Takes {
        match self.snapshot().endpoint(endpoint) {
            Some(known) if known.disabled.is_none() => {
                let (schedule, version) = (known.policy.schedule.clone(), known.version);
                Takes::Deliveries { schedule, version }
            }
            _ => Takes::Nothing,
        }
    }
}
