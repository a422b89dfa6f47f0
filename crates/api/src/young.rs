//! Reading an event that was accepted a moment ago: the recorder may not have archived it yet.

use postrider_http::{HttpError, event_ref, unavailable};
use postrider_log::LogError;
use postrider_metrics::Gauge;
use postrider_model::{AppId, Event, topics};

use crate::Api;

impl Api {
    /// The event that `given` names by id or `eventId`.
    ///
    /// A miss waits until the recorder has passed the log's end as it was when the miss was seen: then it is one. Waiting is
    /// bounded in time and number; what cannot wait is 503.
    pub(crate) async fn event(&self, app_id: AppId, given: &str) -> Result<Event, HttpError> {
        let by = event_ref(given)?;
        if let Some(event) = self.store.event(app_id, &by).await.map_err(unavailable)? {
            return Ok(event);
        }
        self.wait_for_recorder().await?;
        let event = self.store.event(app_id, &by).await.map_err(unavailable)?;
        event.ok_or(HttpError::NotFound)
    }

    async fn wait_for_recorder(&self) -> Result<(), HttpError> {
        let later = || {
            HttpError::Unavailable(
                "this may have been accepted a moment ago and is not readable yet: ask again"
                    .to_owned(),
            )
        };
        let _permit = self.waiting.try_acquire().map_err(|_| later())?;
        let _counted = Counted::one(&self.metrics.waiting);
        let passed = async {
            let ends = self.log.ends(topics::EVENTS).await?;
            self.log
                .wait_finished(topics::RECORDER, topics::EVENTS, &ends, self.options.wait)
                .await
        };
        let passed: Result<bool, LogError> = passed.await;
        match passed {
            Ok(true) => Ok(()),
            Ok(false) => Err(later()),
            Err(error) => {
                tracing::warn!(%error, "the log does not say how far the recorder is");
                Err(later())
            }
        }
    }
}

/// One more as long as it lives: a client may go away while its request waits, and then nothing below the wait is run.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn one(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
