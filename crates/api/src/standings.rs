//! How endpoints stand, as the workers that own them publish it: read from the log, and kept as long as there is something to
//! say.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};

use postrider_http::HttpError;
use postrider_log::{Followed, LogError, Record};
use postrider_model::{EndpointId, EndpointState, topics};

use crate::Api;

/// What was published last of each endpoint.
#[derive(Debug, Default)]
pub(crate) struct Standings(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    states: HashMap<EndpointId, EndpointState>,
    /// Everything that was published before is in it.
    whole: bool,
}

impl Standings {
    /// What its worker published of it; none if there was nothing to say.
    ///
    /// # Errors
    /// If what was published before this process began is not read yet.
    pub(crate) fn of(&self, endpoint: EndpointId) -> Result<Option<EndpointState>, HttpError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !known.whole {
            return Err(HttpError::Unavailable(
                "how endpoints stand is still being read: ask again".to_owned(),
            ));
        }
        Ok(known.states.get(&endpoint).cloned())
    }

    fn take_in(&self, followed: Followed) {
        // Each change is whole by itself.
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match followed {
            Followed::CaughtUp => known.whole = true,
            Followed::Records(records) => records.iter().for_each(|record| known.hear(record)),
        }
    }
}

impl Known {
    /// Of one that cannot be read nothing is known.
    fn hear(&mut self, record: &Record) {
        let Some(id) = EndpointId::from_slice(&record.key) else {
            return;
        };
        match EndpointState::decode(&record.value) {
            Ok(state) if !record.value.is_empty() => self.states.insert(id, state),
            _ => self.states.remove(&id),
        };
    }
}

impl Api {
    /// Keeps up with what workers publish of their endpoints, until `stop`.
    ///
    /// # Errors
    /// If the log stops.
    pub async fn follow(self: Arc<Self>, stop: impl Future<Output = ()>) -> Result<(), LogError> {
        let mut stop = pin!(stop);
        let mut follower = self.log.follow(topics::ENDPOINT_STATE).await?;
        loop {
            let followed = tokio::select! {
                () = &mut stop => return Ok(()),
                followed = follower.next() => followed?,
            };
            self.standings.take_in(followed);
        }
    }
}
