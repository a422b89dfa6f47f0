//! Read, change, write: the one way in which configuration changes.

use postrider_http::HttpError;
use postrider_model::{Endpoint, Timestamp};
use postrider_store::{Application, EventTypeInfo, StoreError};

use crate::Api;

/// How often a change is tried that others come before.
const TRIES: usize = 5;

/// A thing of the configuration that is replaced whole.
pub(crate) trait Versioned: Sized {
    /// The version of its last change.
    fn version(&self) -> u64;
    /// The same, changed at `now`.
    fn touched(self, now: Timestamp) -> Self;
}

macro_rules! versioned {
    ($($kind:ty),*) => {$(
        impl Versioned for $kind {
            fn version(&self) -> u64 {
                self.version
            }

            fn touched(mut self, now: Timestamp) -> Self {
                self.updated_at = now;
                self
            }
        }
    )*};
}

versioned!(Application, Endpoint, EventTypeInfo);

impl Api {
    /// Reads, changes and writes; again, if somebody else wrote in between.
    pub(crate) async fn change<T, R, W>(
        &self,
        read: impl Fn() -> R,
        change: impl Fn(T) -> Result<T, HttpError>,
        write: impl Fn(T) -> W,
    ) -> Result<T, HttpError>
    where
        T: Versioned,
        R: Future<Output = Result<T, HttpError>>,
        W: Future<Output = Result<T, StoreError>>,
    {
        let mut refused_at = None;
        for _ in 0..TRIES {
            let there = read().await?;
            let version = there.version();
            let changed = change(there)?.touched(self.now());
            match write(changed).await {
                Ok(written) => {
                    self.changed().await;
                    return Ok(written);
                }
                // Nobody wrote since the last try: it is the uid, which another has.
                Err(StoreError::Conflict(why)) if refused_at == Some(version) => {
                    return Err(HttpError::Conflict(why));
                }
                Err(StoreError::Conflict(_)) => refused_at = Some(version),
                Err(error) => return Err(error.into()),
            }
        }
        Err(HttpError::Conflict(
            "this is being changed by others all the time: try again".to_owned(),
        ))
    }
}
