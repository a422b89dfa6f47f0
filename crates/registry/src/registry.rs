//! Keeping the snapshot current.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use postrider_access::{Denied, Scope, TokenGrant, TokenHash, parse_bearer};
use postrider_model::{Clock, Timestamp};
use postrider_store::{
    Application, ApplicationRef, Change, Changes, ConfigFeed, StoreError, StoreId, TokenRecord,
    TokenScope,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::away::Away;
use crate::{RegistryMetrics, Saved, Snapshot};

/// How often the snapshot is brought up to date when nobody asks.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// It is there.
    Here(T),
    /// It is not, as of a refresh that began after the lookup.
    Missing,
    /// It is not in the last snapshot, and the store does not answer: no verdict.
    Unknown,
}

/// Why a request has no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is refused.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The token is not known, and the store does not answer: ask again later.
    #[error("the token is not known here, and the store does not answer: try again in a moment")]
    Unavailable,
}

/// The configuration in memory.
pub struct Registry {
    feed: Arc<dyn ConfigFeed>,
    current: ArcSwap<Snapshot>,
    cursor: Mutex<Cursor>,
    /// Refreshes begun so far, and the newest one of them that succeeded.
    begun: AtomicU64,
    succeeded: AtomicU64,
    /// When the newest successful refresh began.
    fresh_at: ArcSwap<Moment>,
    away: Away,
    metrics: RegistryMetrics,
}

/// A moment, also one before this process was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    at: Instant,
    /// How long before `at` it was.
    before: Duration,
}

impl Moment {
    pub(crate) fn at(at: Instant) -> Self {
        let before = Duration::ZERO;
        Self { at, before }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.before.saturating_add(self.at.elapsed())
    }
}

/// How far the feed was read.
struct Cursor {
    store: StoreId,
    since: u64,
    /// The newest refresh that failed, and why.
    failed: Option<(u64, StoreError)>,
}

impl Registry {
    /// Reads everything from the store. Fails if the store does not answer: a cold start waits, it does not guess.
    pub async fn load(
        feed: Arc<dyn ConfigFeed>,
        metrics: RegistryMetrics,
    ) -> Result<Arc<Self>, StoreError> {
        let began = Moment::at(Instant::now());
        let changes = feed.changes(0).await?;
        let cursor = Cursor {
            store: changes.store,
            since: changes.next,
            failed: None,
        };
        let read = Arc::new(with_changes(Snapshot::default(), changes));
        let registry = Self::new(feed, read, cursor, began, metrics);
        registry.begun.store(1, Ordering::SeqCst);
        registry.succeeded.store(1, Ordering::SeqCst);
        Ok(registry)
    }

    /// Goes on with what was `saved`, as it was then, while the store is away. The first refresh that succeeds reads what
    /// changed since.
    pub fn restore(
        feed: Arc<dyn ConfigFeed>,
        saved: Saved,
        now: Timestamp,
        metrics: RegistryMetrics,
    ) -> Arc<Self> {
        let cursor = Cursor {
            store: saved.store,
            since: saved.next,
            failed: None,
        };
        let as_of = Moment {
            at: Instant::now(),
            before: now.since(saved.as_of),
        };
        Self::new(feed, saved.snapshot, cursor, as_of, metrics)
    }

    fn new(
        feed: Arc<dyn ConfigFeed>,
        snapshot: Arc<Snapshot>,
        cursor: Cursor,
        fresh_at: Moment,
        metrics: RegistryMetrics,
    ) -> Arc<Self> {
        let registry = Self {
            feed,
            current: ArcSwap::new(snapshot),
            cursor: Mutex::new(cursor),
            begun: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            fresh_at: ArcSwap::from_pointee(fresh_at),
            away: Away::default(),
            metrics,
        };
        registry.report();
        Arc::new(registry)
    }

    /// The configuration as it is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// How long ago the newest successful refresh began, also if that was another process's.
    pub fn age(&self) -> Duration {
        self.fresh_at().elapsed()
    }

    /// When the newest successful refresh began, also if that was another process's.
    pub(crate) fn fresh_at(&self) -> Moment {
        **self.fresh_at.load()
    }

    /// Whether the store has not answered yet, and what is known is what was saved.
    pub fn is_restored(&self) -> bool {
        self.succeeded.load(Ordering::SeqCst) == 0
    }

    /// What is known, to be saved by `clock`, and when it was read. None if it is still being refreshed after `patience`, and
    /// before the store has said anything.
    pub(crate) async fn to_save(
        &self,
        clock: &dyn Clock,
        patience: Duration,
    ) -> Option<(Saved, Moment)> {
        let cursor = tokio::time::timeout(patience, self.cursor.lock());
        let cursor = cursor.await.ok()?;
        if self.is_restored() {
            return None;
        }
        let fresh_at = self.fresh_at();
        let saved = Saved {
            snapshot: self.current.load_full(),
            store: cursor.store,
            next: cursor.since,
            as_of: clock.now().minus(fresh_at.elapsed()),
        };
        Some((saved, fresh_at))
    }

    /// Applies every change that is visible in the store now. Callers that wait at the same time share one read, and its
    /// failure: a store that hangs is waited for twice at most, however many ask.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let asked = self.begun.load(Ordering::SeqCst);
        let mut cursor = self.cursor.lock().await;
        if self.succeeded.load(Ordering::SeqCst) > asked {
            return Ok(());
        }
        if let Some((number, error)) = &cursor.failed
            && *number > asked
        {
            return Err(error.clone());
        }
        let began = Moment::at(Instant::now());
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let out = self.away.begin();
        let read = self.read(&mut cursor).await;
        out.ended(read.is_ok());
        match &read {
            Ok(()) => {
                self.fresh_at.store(Arc::new(began));
                self.succeeded.store(number, Ordering::SeqCst);
            }
            Err(error) => {
                self.metrics.failures.inc();
                cursor.failed = Some((number, error.clone()));
            }
        }
        read
    }

    /// Whether the store did not answer the newest refresh, or has not answered it for [`crate::AWAY_AFTER`]: who can do
    /// without one need not wait for another. [`Registry::run`] finds it again.
    pub fn is_away(&self) -> bool {
        self.away.is_away()
    }

    /// Brings the snapshot to `version` at least, if it is not there. The version of another database says nothing.
    pub async fn refresh_to(&self, version: u64) -> Result<(), StoreError> {
        if self.current.load().version() >= version {
            Ok(())
        } else {
            self.refresh().await
        }
    }

    /// Refreshes every second until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Some(Err(error)) = shutdown.run_until_cancelled(self.refresh()).await {
                tracing::warn!(%error, age_s = self.age().as_secs(), "the configuration could not be refreshed");
            }
            self.report();
        }
    }

    /// An application by its id or uid. A miss causes one shared refresh.
    pub async fn find_application(&self, by: &ApplicationRef) -> Found<Arc<Application>> {
        self.find(|snapshot| snapshot.application(by).cloned())
            .await
    }

    /// Who sends a request with this value of `Authorization`. Whether they may do what they ask is
    /// [`postrider_access::decide`]'s to say. A token that is not known causes one shared refresh.
    pub async fn authenticate(
        &self,
        authorization: Option<&[u8]>,
    ) -> Result<TokenGrant, AuthError> {
        let hash = parse_bearer(authorization)?.hash();
        match self
            .find(|snapshot| snapshot.token(hash.as_bytes()).map(|token| grant(token)))
            .await
        {
            Found::Here(grant) => Ok(grant),
            Found::Missing => Err(AuthError::Denied(Denied::Unknown)),
            Found::Unknown => Err(AuthError::Unavailable),
        }
    }

    async fn find<T>(&self, look: impl Fn(&Snapshot) -> Option<T>) -> Found<T> {
        if let Some(found) = look(&self.current.load()) {
            return Found::Here(found);
        }
        match self.refresh().await {
            Err(_) => Found::Unknown,
            Ok(()) => look(&self.current.load()).map_or(Found::Missing, Found::Here),
        }
    }

    async fn read(&self, cursor: &mut Cursor) -> Result<(), StoreError> {
        let mut changes = self.feed.changes(cursor.since).await?;
        if changes.store != cursor.store {
            tracing::warn!(
                "the store is another database than before: reading all configuration again"
            );
            changes = self.feed.changes(0).await?;
        }
        *cursor = Cursor {
            store: changes.store,
            since: changes.next,
            failed: None,
        };
        let current = self.current.load();
        if changes.whole {
            let all = with_changes(Snapshot::default(), changes);
            self.current.store(Arc::new(all));
        } else if !changes.items.is_empty() || changes.version > current.version() {
            let changed = with_changes(Snapshot::clone(&current), changes);
            self.current.store(Arc::new(changed));
        }
        Ok(())
    }

    fn report(&self) {
        let current = self.current.load();
        self.metrics.age.set(self.age().as_secs_f64());
        self.metrics
            .version
            .set(i64::try_from(current.version()).unwrap_or(i64::MAX));
        self.metrics
            .endpoints
            .set(i64::try_from(current.endpoint_count()).unwrap_or(i64::MAX));
    }
}

fn with_changes(mut snapshot: Snapshot, mut changes: Changes) -> Snapshot {
    // Types first, so that endpoints find their names to share.
    changes.items.sort_by_key(|change| {
        !matches!(change, Change::EventType(_) | Change::EventTypeRemoved(_))
    });
    changes
        .items
        .into_iter()
        .for_each(|change| snapshot.apply(change));
    snapshot.set_version(changes.version);
    snapshot
}

fn grant(token: &TokenRecord) -> TokenGrant {
    TokenGrant {
        hash: TokenHash::from_bytes(token.hash),
        scope: match token.scope {
            TokenScope::Operator => Scope::Operator,
            TokenScope::Application(app_id) => Scope::Application(*app_id.as_bytes()),
        },
        expires_at_ms: token.expires_at.map(|at| at.as_millis()),
        revoked: token.revoked_at.is_some(),
    }
}
