//! What earlier owners knew of their endpoints.

use std::collections::HashMap;

use postrider_log::{Assignment, Followed, Log, LogError};
use postrider_model::{EndpointId, EndpointState, topics};

/// Reads the states of the endpoints whose deliveries lie in partitions that were taken over. A state that cannot be
/// read is left out: its endpoint starts as one of which nothing is known.
pub(crate) async fn restore(
    log: &dyn Log,
    assigned: &[Assignment],
) -> Result<HashMap<EndpointId, EndpointState>, LogError> {
    // Many more may lie in others than in these, and their lanes wait for it.
    let beside: Vec<_> = assigned.iter().map(|one| one.at).collect();
    let mut follower = log.follow_beside(topics::ENDPOINT_STATE, &beside).await?;
    let mut states = HashMap::new();
    let is_taken_over = |state: &EndpointState| {
        let partition = state.partition;
        assigned.iter().any(|one| one.at.partition == partition)
    };
    loop {
        match follower.next().await? {
            Followed::CaughtUp => return Ok(states),
            Followed::Records(records) => {
                for record in records {
                    let Some(id) = EndpointId::from_slice(&record.key) else {
                        continue;
                    };
                    match EndpointState::decode(&record.value) {
                        Ok(state) if !record.value.is_empty() && is_taken_over(&state) => {
                            states.insert(id, state)
                        }
                        _ => states.remove(&id),
                    };
                }
            }
        }
    }
}
