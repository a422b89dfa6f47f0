//! The dead letters that a replay takes next.

use std::collections::HashSet;

use postrider_model::{DeadLetter, DeadLetterId, Timestamp};
use postrider_store::{
    DeadLetterFilter, DeadLetters, HistoryKey, Order, Page, PageStart, Replay, Replays, Selection,
    StoreError,
};

/// A part of a replay's selection.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) letters: Vec<DeadLetter>,
    /// Chosen, but no longer there, or another application's, or such that the store cannot read it.
    pub(crate) missing: u64,
    /// The last of them; where the replay stood already if there was none.
    pub(crate) cursor: HistoryKey,
    /// Nothing is behind it.
    pub(crate) last: bool,
}

impl Part {
    /// Leaves out what another replay has in hand or published first: two that overlap publish nothing twice.
    pub(crate) async fn keep_taken<S: Replays + ?Sized>(
        &mut self,
        store: &S,
        replay: &Replay,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ids: Vec<DeadLetterId> = self.letters.iter().map(|letter| letter.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let taken = store.take_dead_letters(replay.id, &ids, now).await?;
        let taken: HashSet<DeadLetterId> = taken.into_iter().collect();
        self.letters.retain(|letter| taken.contains(&letter.id));
        Ok(())
    }
}

/// At most `limit` behind the replay's cursor.
pub(crate) async fn next<S: DeadLetters + ?Sized>(
    store: &S,
    replay: &Replay,
    limit: usize,
) -> Result<Part, StoreError> {
    match &replay.selection {
        Selection::Filter(filter) => by_filter(store, replay, filter, limit).await,
        Selection::Ids(ids) => by_id(store, replay, ids, limit).await,
    }
}

async fn by_filter<S: DeadLetters + ?Sized>(
    store: &S,
    replay: &Replay,
    filter: &DeadLetterFilter,
    limit: usize,
) -> Result<Part, StoreError> {
    let page = Page {
        limit,
        start: replay.cursor.map_or(PageStart::Beginning, PageStart::After),
        order: Order::Ascending,
    };
    let found = store.dead_letters(filter, &page).await?;
    let key = |letter: &DeadLetter| HistoryKey {
        at: letter.died_at,
        id: *letter.id.as_bytes(),
    };
    let cursor = found.last().map(|stored| key(&stored.letter));
    let last = found.len() < limit;
    let (ours, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .map(|stored| stored.letter)
        .partition(|letter| is_ours(replay, letter));
    Ok(Part {
        letters: ours,
        missing: others.len() as u64,
        cursor: cursor.unwrap_or_else(|| stands_at(replay)),
        last,
    })
}

async fn by_id<S: DeadLetters + ?Sized>(
    store: &S,
    replay: &Replay,
    ids: &[DeadLetterId],
    limit: usize,
) -> Result<Part, StoreError> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let done = replay.cursor.map(|cursor| cursor.id);
    let from = ids.partition_point(|id| done.is_some_and(|done| *id.as_bytes() <= done));
    let rest = ids.get(from..).unwrap_or_default();
    let chosen = rest.get(..limit.min(rest.len())).unwrap_or_default();
    let mut part = Part {
        letters: Vec::with_capacity(chosen.len()),
        missing: 0,
        cursor: stands_at(replay),
        last: chosen.len() == rest.len(),
    };
    for id in chosen {
        let found = match store.dead_letter(*id).await {
            Ok(found) => found,
            Err(StoreError::Unreadable(why)) => {
                tracing::error!(dead_letter = %id, why, "not replayed: a dead letter that cannot be read");
                None
            }
            Err(error) => return Err(error),
        };
        match found.filter(|stored| is_ours(replay, &stored.letter)) {
            Some(stored) => part.letters.push(stored.letter),
            None => part.missing += 1,
        }
        part.cursor.id = *id.as_bytes();
    }
    Ok(part)
}

/// A replay that was made for one application touches no other's.
fn is_ours(replay: &Replay, letter: &DeadLetter) -> bool {
    replay
        .app_id
        .is_none_or(|app_id| letter.delivery.app_id == app_id)
}

fn stands_at(replay: &Replay) -> HistoryKey {
    replay.cursor.unwrap_or(HistoryKey {
        at: Timestamp::default(),
        id: [0; 16],
    })
}
