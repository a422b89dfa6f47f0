//! How many endpoints an application may have: every process holds all of them in memory, and an application's own token makes
//! them.

use std::array;
use std::hash::{BuildHasher, RandomState};

use postrider_http::{HttpError, unavailable};
use postrider_model::{AppId, Endpoint};
use tokio::sync::{Mutex, MutexGuard};

use crate::Api;

/// More than are made at once by different applications, mostly.
const LOCKS: usize = 64;

/// Endpoints of one application are made one after the other: those that come at once would all find the last place free.
pub(crate) struct Creating {
    locks: [Mutex<()>; LOCKS],
    hasher: RandomState,
}

impl Default for Creating {
    fn default() -> Self {
        Self {
            locks: array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl Creating {
    async fn of(&self, app_id: AppId) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(app_id) as usize;
        self.locks[hash % LOCKS].lock().await
    }
}

impl Api {
    /// Stores a new endpoint, unless its application has as many as it may have. Processes hear of each other's within a
    /// second, so several may together pass the bound by what they make in one.
    pub(crate) async fn make_endpoint(&self, new: &Endpoint) -> Result<Endpoint, HttpError> {
        let _turn = self.creating.of(new.app_id).await;
        self.check_room(new.app_id).await?;
        let made = self.store.insert_endpoint(new).await?;
        self.changed().await;
        Ok(made)
    }

    async fn check_room(&self, app_id: AppId) -> Result<(), HttpError> {
        let most = self.options.max_endpoints;
        let is_full = || self.registry().snapshot().endpoints_of(app_id) >= most;
        if !is_full() {
            return Ok(());
        }
        // Another process may have deleted some.
        self.registry().refresh().await.map_err(unavailable)?;
        if !is_full() {
            return Ok(());
        }
        Err(HttpError::Conflict(format!(
            "an application may have {most} endpoints (api.max_endpoints), and this one has them: delete what is not needed"
        )))
    }
}
