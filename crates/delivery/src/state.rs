//! What earlier owners knew of their endpoints.

use std::collections::HashMap;

use postrider_log::{Followed, Log, LogError};
use postrider_model::{EndpointId, EndpointState, topics};

/// Reads the states of all endpoints that have one. A state that cannot be read is left out: its endpoint starts as one
/// of which nothing is known.
pub(crate) async fn restore(log: &dyn Log) -> Result<HashMap<EndpointId, EndpointState>, LogError> {
    let mut follower = log.follow(topics::ENDPOINT_STATE).await?;
    let mut states = HashMap::new();
    loop {
        match follower.next().await? {
            Followed::CaughtUp => return Ok(states),
            Followed::Records(records) => {
                for record in records {
                    let Some(id) = EndpointId::from_slice(&record.key) else {
                        continue;
                    };
                    match EndpointState::decode(&record.value) {
                        Ok(state) if !record.value.is_empty() => states.insert(id, state),
                        _ => states.remove(&id),
                    };
                }
            }
        }
    }
}
