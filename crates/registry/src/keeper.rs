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
/// How long after the last time it is written again although nothing changed, so that it says of when it is.
const UNCHANGED_AFTER: Duration = Duration::from_secs(300);
/// So many times as long as writing took, it is not written again: a large configuration that changes all the time takes a
/// fiftieth of a core.
const PAUSE: u32 = 50;

/// Writes a registry's snapshot into its file, again and again.
pub struct Keeper {
    registry: Arc<Registry>,
    file: Arc<SnapshotFile>,
    clock: Arc<dyn Clock>,
    metrics: KeeperMetrics,
    last: Option<Last>,
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
    /// Of this registry, in this file.
    pub fn new(
        registry: Arc<Registry>,
        file: SnapshotFile,
        clock: Arc<dyn Clock>,
        metrics: KeeperMetrics,
    ) -> Self {
        Self {
            registry,
            file: Arc::new(file),
            clock,
            metrics,
            last: None,
            failing: false,
        }
    }

    /// Until `shutdown`, and once more then. A file that cannot be written ends nothing.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look(Self::is_due).await;
        }
        self.look(|_, _| true).await;
    }

    /// Writes what is known, if there is something newer than in the file and it is `due`.
    async fn look(&mut self, due: impl Fn(&Last, &Saved) -> bool) {
        if let Some((saved, fresh_at)) = self.registry.to_save(self.clock.now()) {
            let newer = |last: &Last| last.fresh_at != fresh_at && due(last, &saved);
            if self.last.as_ref().is_none_or(newer) {
                self.write(saved, fresh_at).await;
            }
        }
        if let Some(last) = self.last.as_ref() {
            self.metrics.age.set(last.fresh_at.elapsed().as_secs_f64());
        }
    }

    fn is_due(last: &Last, saved: &Saved) -> bool {
        let after = match Arc::ptr_eq(&last.snapshot, &saved.snapshot) {
            true => UNCHANGED_AFTER,
            false => CHANGED_AFTER,
        };
        last.ended.elapsed() >= after.max(last.took * PAUSE)
    }

    async fn write(&mut self, saved: Saved, fresh_at: Moment) {
        let (file, snapshot) = (Arc::clone(&self.file), Arc::clone(&saved.snapshot));
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || file.write(&saved)).await;
        let fault = match written {
            Ok(Ok(true)) => None,
            // Another process writes what it knows, which is as good.
            Ok(Ok(false)) => return,
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
        for (took, changed_after, same_after) in [(0, 5, 300), (2, 100, 300), (10, 500, 500)] {
            let last = Last {
                snapshot: Arc::clone(&snapshot),
                fresh_at: Moment::at(Instant::now()),
                ended: Instant::now(),
                took: Duration::from_secs(took),
            };
            let due_after = |saved: &Saved| {
                let ended = |after| Instant::now() - Duration::from_secs(after);
                let due = |after| {
                    let ended = ended(after);
                    Keeper::is_due(
                        &Last {
                            ended,
                            ..last_of(&last)
                        },
                        saved,
                    )
                };
                (0..1000).find(|after| due(*after))
            };
            assert_eq!(due_after(&changed), Some(changed_after));
            assert_eq!(due_after(&same), Some(same_after));
        }
    }

    fn last_of(last: &Last) -> Last {
        Last {
            snapshot: Arc::clone(&last.snapshot),
            ..*last
        }
    }
}
