//! Replays in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use postrider_model::{AppId, DeadLetterId, ReplayId, Timestamp};

use super::MemoryStore;
use super::paging::page;
use crate::{Page, Replay, ReplayStatus, ReplayStep, Replays, StoreError};

#[derive(Default)]
pub(super) struct Queue {
    entries: BTreeMap<ReplayId, Entry>,
    last_generation: u64,
}

impl Queue {
    /// It is still to end, or its owner may be at its last step.
    fn is_active(&self, id: ReplayId, now: Timestamp) -> bool {
        self.entries.get(&id).is_some_and(|entry| {
            !entry.replay.status.is_final()
                || entry.lease.as_ref().is_some_and(|(_, end)| *end > now)
        })
    }
}

struct Entry {
    replay: Replay,
    lease: Option<(String, Timestamp)>,
}

impl Entry {
    fn advance(&mut self, owner: &str, step: &ReplayStep, now: Timestamp, until: Timestamp) {
        let replay = &mut self.replay;
        // The same cursor again: this step was carried out, and its caller did not hear of it.
        if replay.cursor != Some(step.cursor) {
            replay.done += step.published.len() as u64;
            replay.failed += step.failed;
            replay.cursor = Some(step.cursor);
        }
        if step.finished && replay.status != ReplayStatus::Cancelled {
            replay.status = ReplayStatus::Done;
        }
        replay.updated_at = now;
        let goes_on = replay.status == ReplayStatus::Running;
        self.lease = goes_on.then(|| (owner.to_owned(), until));
    }
}

#[async_trait]
impl Replays for MemoryStore {
    async fn new_generation(&self, now: Timestamp) -> Result<u64, StoreError> {
        let last = &mut self.state()?.replays.last_generation;
        *last = (*last + 1).max(now.as_millis().max(0).unsigned_abs());
        Ok(*last)
    }

    async fn insert_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        let replays = &mut self.state()?.replays.entries;
        if replays.contains_key(&replay.id) {
            return Err(StoreError::Conflict(
                "another replay has that id already".into(),
            ));
        }
        let entry = Entry {
            replay: replay.clone(),
            lease: None,
        };
        replays.insert(replay.id, entry);
        Ok(())
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        let replays = &self.state()?.replays.entries;
        Ok(replays.get(&id).map(|entry| entry.replay.clone()))
    }

    async fn replays(
        &self,
        app_id: Option<AppId>,
        of: &Page<ReplayId>,
    ) -> Result<Vec<Replay>, StoreError> {
        let replays = &self.state()?.replays.entries;
        let items = replays.iter().map(|(id, entry)| (*id, &entry.replay));
        let items = items.filter(|(_, replay)| app_id.is_none() || replay.app_id == app_id);
        Ok(page(items, of).into_iter().cloned().collect())
    }

    async fn claim_replay(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Replay>, StoreError> {
        let replays = &mut self.state()?.replays.entries;
        let free = replays.values_mut().find(|entry| {
            entry.replay.status == ReplayStatus::Running
                && entry.lease.as_ref().is_none_or(|(_, end)| *end <= now)
        });
        Ok(free.map(|entry| {
            entry.lease = Some((owner.to_owned(), until));
            entry.replay.clone()
        }))
    }

    async fn release_replay(&self, id: ReplayId, owner: &str) -> Result<(), StoreError> {
        if let Some(entry) = self.state()?.replays.entries.get_mut(&id) {
            entry.lease.take_if(|(holder, _)| holder == owner);
        }
        Ok(())
    }

    async fn take_dead_letters(
        &self,
        id: ReplayId,
        letters: &[DeadLetterId],
        now: Timestamp,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        let state = &mut *self.state()?;
        let replays = &state.replays;
        let Some(Entry { replay, .. }) = replays.entries.get(&id) else {
            return Ok(Vec::new());
        };
        let is_free = |holder: ReplayId| holder == id || !replays.is_active(holder, now);
        let taken = letters
            .iter()
            .filter(|letter| state.dead_letters.take(**letter, replay, is_free));
        Ok(taken.copied().collect())
    }

    async fn advance_replay(
        &self,
        id: ReplayId,
        owner: &str,
        step: &ReplayStep,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Replay, StoreError> {
        let state = &mut *self.state()?;
        let entry = state.replays.entries.get_mut(&id);
        let entry = entry.ok_or(StoreError::NotFound("replay"))?;
        if entry
            .lease
            .as_ref()
            .is_none_or(|(holder, _)| holder != owner)
        {
            return Err(StoreError::Conflict(
                "the lease of the replay is another's".into(),
            ));
        }
        entry.advance(owner, step, now, until);
        for letter in &step.published {
            state.dead_letters.mark(*letter, id, now);
        }
        Ok(entry.replay.clone())
    }

    async fn set_replay_status(
        &self,
        id: ReplayId,
        from: &[ReplayStatus],
        to: ReplayStatus,
        because: Option<&str>,
        now: Timestamp,
    ) -> Result<Replay, StoreError> {
        let replays = &mut self.state()?.replays.entries;
        let entry = replays.get_mut(&id).ok_or(StoreError::NotFound("replay"))?;
        let replay = &mut entry.replay;
        if !from.contains(&replay.status) {
            return Err(StoreError::Conflict(format!(
                "the replay is {} already",
                replay.status.label()
            )));
        }
        if replay.status != to {
            replay.paused_because = because.map(str::to_owned);
        }
        replay.status = to;
        replay.updated_at = now;
        Ok(replay.clone())
    }

    async fn delete_replays(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let replays = &mut self.state()?.replays.entries;
        let ended = replays.values().map(|entry| &entry.replay);
        let ended = ended.filter(|replay| replay.status.is_final() && replay.updated_at < before);
        let mut old: Vec<_> = ended.map(|replay| (replay.updated_at, replay.id)).collect();
        old.sort_unstable();
        old.truncate(limit);
        old.iter().for_each(|(_, id)| drop(replays.remove(id)));
        Ok(old.len())
    }
}
