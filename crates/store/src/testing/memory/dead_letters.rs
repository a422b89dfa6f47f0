//! Dead letters in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use postrider_model::{DeadLetter, DeadLetterId, ReplayId, Timestamp};

use super::config::Config;
use super::history::within;
use super::timeline::Timeline;
use super::{MemoryStore, Row};
use crate::{
    DeadLetterFilter, DeadLetters, HistoryKey, Page, Replay, StoreError, StoredDeadLetter,
};

#[derive(Default)]
pub(super) struct Letters {
    kept: Timeline<StoredDeadLetter>,
    /// Which replay has it in hand, or had it last.
    taken: BTreeMap<DeadLetterId, ReplayId>,
}

impl Letters {
    /// Gives a dead letter to `replay`, if it is there, whoever has it lets it go, and nobody published it first.
    pub(super) fn take(
        &mut self,
        id: DeadLetterId,
        replay: &Replay,
        is_free: impl Fn(ReplayId) -> bool,
    ) -> bool {
        let takes = self
            .kept
            .get(id.as_bytes())
            .is_some_and(|stored| is_left_to(replay, stored))
            && self.taken.get(&id).is_none_or(|holder| is_free(*holder));
        if takes {
            self.taken.insert(id, replay.id);
        }
        takes
    }

    pub(super) fn mark(&mut self, id: DeadLetterId, replay: ReplayId, now: Timestamp) {
        if let Some(stored) = self.kept.get_mut(id.as_bytes()) {
            stored.replayed = Some((replay, now));
        }
    }
}

/// True unless another replay published it since `replay` was made; or ever, if it takes only what none has.
fn is_left_to(replay: &Replay, stored: &StoredDeadLetter) -> bool {
    stored.replayed.is_none_or(|(by, at)| {
        by == replay.id || (!replay.only_replayable() && at < replay.created_at)
    })
}

/// With what is known of those that it belonged to.
fn judged(stored: &StoredDeadLetter, config: &Config) -> StoredDeadLetter {
    let delivery = &stored.letter.delivery;
    StoredDeadLetter {
        deleted: config.deleted(delivery.app_id, delivery.endpoint_id),
        ..stored.clone()
    }
}

fn matches(filter: &DeadLetterFilter, stored: &StoredDeadLetter, config: &Config) -> bool {
    let delivery = &stored.letter.delivery;
    filter.app_id.is_none_or(|id| id == delivery.app_id)
        && filter
            .endpoint_id
            .is_none_or(|id| id == delivery.endpoint_id)
        && filter
            .event_type
            .as_ref()
            .is_none_or(|event_type| *event_type == delivery.event_type)
        && within(stored.letter.died_at, filter.after, filter.before)
        && !(filter.only_replayable
            && (stored.replayed.is_some()
                || stored.letter.payload_left_out
                || config
                    .deleted(delivery.app_id, delivery.endpoint_id)
                    .is_some()))
}

#[async_trait]
impl DeadLetters for MemoryStore {
    async fn keep_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        let state = &mut self.state()?;
        self.check(letters.iter().map(Row::DeadLetter))?;
        for letter in letters {
            let stored = StoredDeadLetter {
                letter: letter.clone(),
                replayed: None,
                deleted: None,
            };
            let id = *letter.id.as_bytes();
            state.dead_letters.kept.insert(letter.died_at, id, stored);
        }
        Ok(())
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        let state = self.state()?;
        self.check_readable(id.as_bytes())?;
        let found = state.dead_letters.kept.get(id.as_bytes());
        Ok(found.map(|stored| judged(stored, &state.config)))
    }

    async fn given_up(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetterId>, StoreError> {
        let letters = &self.state()?.dead_letters.kept;
        let given_up = ids.iter().filter(|id| {
            let stored = letters.get(id.as_bytes());
            stored.is_some_and(|stored| stored.replayed.is_none())
        });
        Ok(given_up.copied().collect())
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let state = self.listing().await?;
        let (letters, config) = (&state.dead_letters.kept, &state.config);
        let found = letters.page(
            |key, stored| matches(filter, stored, config) && !self.is_spoiled(&key.id),
            page,
        );
        Ok(found.iter().map(|stored| judged(stored, config)).collect())
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
        let state = self.listing().await?;
        let (letters, config) = (&state.dead_letters.kept, &state.config);
        let count = letters.values();
        let count = count.filter(|stored| matches(filter, stored, config));
        Ok(count.count() as u64)
    }

    async fn delete_dead_letter(&self, id: DeadLetterId) -> Result<(), StoreError> {
        let letters = &mut self.state()?.dead_letters.kept;
        let removed = letters.remove(id.as_bytes());
        removed
            .map(|_| ())
            .ok_or(StoreError::NotFound("dead letter"))
    }

    async fn delete_dead_letters(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let letters = &mut self.state()?.dead_letters.kept;
        Ok(letters.remove_before(before, limit).len())
    }
}
