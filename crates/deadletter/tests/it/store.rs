//! The store in memory, with a door before a replay's progress that a test can shut.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use postrider_model::{AppId, DeadLetter, DeadLetterId, ReplayId, Timestamp};
use postrider_store::testing::MemoryStore;
use postrider_store::{
    DeadLetterFilter, DeadLetters, HistoryKey, Page, Replay, ReplayStatus, ReplayStep, Replays,
    StoreError, StoredDeadLetter,
};
use tokio::sync::Notify;

#[derive(Clone, Default)]
pub(crate) struct DoorStore {
    pub(crate) memory: MemoryStore,
    shut: Arc<AtomicBool>,
    /// The next to take dead letters waits for `taking`.
    hold_take: Arc<AtomicBool>,
    taking: Arc<Notify>,
    refuses_progress: Arc<AtomicBool>,
    has_no_end_of_letters: Arc<AtomicBool>,
    before_progress: Arc<OnceLock<Look>>,
}

type Look = Box<dyn Fn() + Send + Sync>;

impl DoorStore {
    /// From now on there are always more dead letters to delete.
    pub(crate) fn have_no_end_of_letters(&self) {
        self.has_no_end_of_letters.store(true, Ordering::SeqCst);
    }

    /// While it does, the store refuses every progress of a replay, as it would for ever.
    pub(crate) fn refuse_progress(&self, refuses: bool) {
        self.refuses_progress.store(refuses, Ordering::SeqCst);
    }

    /// Looks, each time before the progress of a replay is recorded.
    pub(crate) fn look_before_progress(&self, look: impl Fn() + Send + Sync + 'static) {
        assert!(
            self.before_progress.set(Box::new(look)).is_ok(),
            "one looks already"
        );
    }

    /// While shut, a replay's progress is never recorded: its owner hangs there, as a process does that is about to be
    /// killed between publishing and recording.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::SeqCst);
    }

    /// The next replay that is about to take dead letters which it has read waits until [`Self::release_take`].
    pub(crate) fn hold_next_take(&self) {
        self.hold_take.store(true, Ordering::SeqCst);
    }

    /// True once a replay waits there.
    pub(crate) fn holds_a_take(&self) -> bool {
        !self.hold_take.load(Ordering::SeqCst)
    }

    pub(crate) fn release_take(&self) {
        self.taking.notify_one();
    }
}

#[async_trait]
impl DeadLetters for DoorStore {
    async fn keep_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        self.memory.keep_dead_letters(letters).await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.memory.dead_letter(id).await
    }

    async fn given_up(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetterId>, StoreError> {
        self.memory.given_up(ids).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.memory.dead_letters(filter, page).await
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
        self.memory.count_dead_letters(filter).await
    }

    async fn delete_dead_letter(&self, id: DeadLetterId) -> Result<(), StoreError> {
        self.memory.delete_dead_letter(id).await
    }

    async fn delete_dead_letters(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        if self.has_no_end_of_letters.load(Ordering::SeqCst) {
            return Ok(limit);
        }
        self.memory.delete_dead_letters(before, limit).await
    }
}

#[async_trait]
impl Replays for DoorStore {
    async fn new_generation(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.memory.new_generation(now).await
    }

    async fn release_replay(&self, id: ReplayId, owner: &str) -> Result<(), StoreError> {
        self.memory.release_replay(id, owner).await
    }

    async fn take_dead_letters(
        &self,
        id: ReplayId,
        letters: &[DeadLetterId],
        now: Timestamp,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        if self.hold_take.swap(false, Ordering::SeqCst) {
            self.taking.notified().await;
        }
        self.memory.take_dead_letters(id, letters, now).await
    }

    async fn delete_replays(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.memory.delete_replays(before, limit).await
    }

    async fn insert_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        self.memory.insert_replay(replay).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        self.memory.replay(id).await
    }

    async fn replays(
        &self,
        app_id: Option<AppId>,
        page: &Page<ReplayId>,
    ) -> Result<Vec<Replay>, StoreError> {
        self.memory.replays(app_id, page).await
    }

    async fn claim_replay(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Replay>, StoreError> {
        self.memory.claim_replay(owner, now, until).await
    }

    async fn advance_replay(
        &self,
        id: ReplayId,
        owner: &str,
        step: &ReplayStep,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Replay, StoreError> {
        if let Some(look) = self.before_progress.get() {
            look();
        }
        if self.shut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.refuses_progress.load(Ordering::SeqCst) {
            return Err(StoreError::Refused("testing".to_owned()));
        }
        self.memory
            .advance_replay(id, owner, step, now, until)
            .await
    }

    async fn set_replay_status(
        &self,
        id: ReplayId,
        from: &[ReplayStatus],
        to: ReplayStatus,
        because: Option<&str>,
        now: Timestamp,
    ) -> Result<Replay, StoreError> {
        self.memory
            .set_replay_status(id, from, to, because, now)
            .await
    }
}
