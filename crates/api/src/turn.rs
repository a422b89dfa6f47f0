//! How many requests read much at once: a page of history holds megabytes, and a count keeps a connection of the store for as
//! long as it takes.

use postrider_http::HttpError;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::Api;

impl Api {
    /// Waits for a turn to read much, and has it until what is returned is dropped. What gets none in time is 503: whoever has
    /// one waits for the store.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, HttpError> {
        let turn = timeout(self.options.turn_wait, self.turns.acquire()).await;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(HttpError::Unavailable(
                "too many listings and counts are being read: ask again".to_owned(),
            )),
        }
    }
}
