//! Keeps the snapshot in a file while the registry goes on. Nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::Clock;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::registry::Moment;
use crate::{KeeperMetrics, Registry, Saved, Snapshot, SnapshotFile};

/// How often it is looked whether something is to be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after the last time something that changed is written, at the earliest.
const CHANGED_AFTER: Duration = Duration::from_secs(5);
/// How long after the last time it is written again although nothing changed, so that it says of when it is. Sooner where
/// it may not become so old.
const UNCHANGED_AFTER: Duration = Duration::from_secs(300);
/// A start is to find it at less than this part of the age that it may have.
const FRESH_BY: u32 = 4;
/// So many times as long as writing took, it is not written again, unless it would become too old: a large configuration
/// that changes all the time takes a fiftieth of a core.
const PAUSE: u32 = 50;
/// How long a refresh is waited for at a stop: nobody asks for another, and the registry's own is dropped.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Writes a registry's snapshot into its file, again and again.
pub struct Keeper {
    registry: Arc<Registry>,
    file: Arc<SnapshotFile>,
    clock: Arc<dyn Clock>,
    metrics: KeeperMetrics,
    last: Option<Last>,
    /// Of when the file is; none if nothing was read from it or written into it.
    file_of: Option<Moment>,
    failing: bool,
}

/// What was written last.
struct Last {
    snapshot: Arc<Snapshot>,
    fresh_at: Moment,
    ended: Instant,
    took: Duration,
}

impl Keeper {
    /// Of this registry, which may be restored from this file.
    pub fn new(
        registry: Arc<Registry>,
        file: SnapshotFile,
        clock: Arc<dyn Clock>,
        metrics: KeeperMetrics,
    ) -> Self {
        let file_of = registry.is_restored().then(|| registry.fresh_at());
        Self {
            registry,
            file: Arc::new(file),
            clock,
            metrics,
            last: None,
            file_of,
            failing: false,
        }
    }

    /// Until `shutdown`, and once more then. A file that cannot be written ends nothing.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look(Duration::ZERO, Self::is_due).await;
        }
        self.look(LAST_WAIT, |_, _, _| true).await;
    }

    /// Writes what is known, if there is something newer than in the file and it is `due`. Waits as long as `patience` for a
    /// refresh to end.
    async fn look(&mut self, patience: Duration, due: impl Fn(&Last, &Saved, Duration) -> bool) {
        if let Some((saved, fresh_at)) = self.registry.to_save(&*self.clock, patience).await {
            let max_age = self.file.max_age;
            let newer = |last: &Last| last.fresh_at != fresh_at && due(last, &saved, max_age);
            if self.last.as_ref().is_none_or(newer) {
                self.write(saved, fresh_at).await;
            }
        }
        if let Some(file_of) = self.file_of {
            self.metrics.age.set(file_of.elapsed().as_secs_f64());
        }
    }

    /// True if it is time to write what may be `max_age` old when it is read.
    fn is_due(last: &Last, saved: &Saved, max_age: Duration) -> bool {
        let fresh = max_age / FRESH_BY;
        let after = match Arc::ptr_eq(&last.snapshot, &saved.snapshot) {
            true => UNCHANGED_AFTER.min(fresh),
            false => CHANGED_AFTER,
        };
        last.ended.elapsed() >= after.max((last.took * PAUSE).min(fresh))
    }

    async fn write(&mut self, saved: Saved, fresh_at: Moment) {
        let (file, snapshot) = (Arc::clone(&self.file), Arc::clone(&saved.snapshot));
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || file.write(&saved)).await;
        let fault = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = fault {
            self.metrics.failures.inc();
            if !std::mem::replace(&mut self.failing, true) {
                let path = self.file.path.display();
                tracing::warn!(%path, "the configuration cannot be kept for a start without the store: {why}");
            }
            return;
        }
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("the configuration is kept again for a start without the store");
        }
        self.file_of = Some(fresh_at);
        self.last = Some(Last {
            snapshot,
            fresh_at,
            ended: Instant::now(),
            took: began.elapsed(),
        });
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::Timestamp;
    use postrider_store::StoreId;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changed_is_written_soon_and_what_did_not_seldom_and_neither_takes_a_core() {
        let saved = |snapshot: &Arc<Snapshot>| Saved {
            snapshot: Arc::clone(snapshot),
            store: StoreId([0; 16]),
            next: 1,
            as_of: Timestamp::default(),
        };
        let snapshot = Arc::new(Snapshot::default());
        let (same, changed) = (saved(&snapshot), saved(&Arc::default()));
        let (hour, minute) = (3600, 60);
        for (max_age, took, changed_after, same_after) in [
            (hour, 0, 5, 300),
            (hour, 2, 100, 300),
            (hour, 10, 500, 500),
            (minute, 0, 5, 15),
            (minute, 2, 15, 15),
        ] {
            let last = |after| Last {
                snapshot: Arc::clone(&snapshot),
                fresh_at: Moment::at(Instant::now()),
                ended: Instant::now() - Duration::from_secs(after),
                took: Duration::from_secs(took),
            };
            let max_age = Duration::from_secs(max_age);
            let due_after = |saved: &Saved| {
                (0..1000).find(|after| Keeper::is_due(&last(*after), saved, max_age))
            };
            assert_eq!(due_after(&changed), Some(changed_after));
            assert_eq!(due_after(&same), Some(same_after));
        }
    }
}
