//! Claims in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_model::Timestamp;

use super::MemoryStore;
use crate::{Claim, Claims, StoreError};

#[derive(Default)]
pub(super) struct Held(HashMap<String, Entry>);

struct Entry {
    holder: String,
    fingerprint: [u8; 32],
    until: Timestamp,
    made_at: Timestamp,
    answer: Option<Bytes>,
}

impl Entry {
    /// What the claim is to somebody else at `now`; `None` if it is free.
    fn taken(&self, holder: &str, now: Timestamp) -> Option<Claim> {
        let fingerprint = self.fingerprint;
        match &self.answer {
            Some(answer) => Some(Claim::Done {
                fingerprint,
                answer: answer.clone(),
            }),
            None => (self.holder != holder && self.until > now).then_some(Claim::Held {
                fingerprint,
                until: self.until,
            }),
        }
    }
}

#[async_trait]
impl Claims for MemoryStore {
    async fn claim(
        &self,
        key: &str,
        holder: &str,
        fingerprint: &[u8; 32],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        let claims = &mut self.state()?.claims.0;
        if let Some(taken) = claims.get(key).and_then(|entry| entry.taken(holder, now)) {
            return Ok(taken);
        }
        let since = claims.get(key).map_or(now, |entry| entry.made_at);
        let entry = Entry {
            holder: holder.to_owned(),
            fingerprint: *fingerprint,
            until,
            made_at: since,
            answer: None,
        };
        claims.insert(key.to_owned(), entry);
        Ok(Claim::Ours { since })
    }

    async fn confirm(
        &self,
        key: &str,
        holder: &str,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let claims = &mut self.state()?.claims.0;
        if let Some(entry) = claims.get_mut(key)
            && entry.holder == holder
            && entry.answer.is_none()
        {
            entry.answer = Some(Bytes::copy_from_slice(answer));
            entry.made_at = now;
        }
        Ok(())
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        let claims = &mut self.state()?.claims.0;
        let ours = |entry: &Entry| entry.holder == holder && entry.answer.is_none();
        if claims.get(key).is_some_and(ours) {
            claims.remove(key);
        }
        Ok(())
    }

    async fn delete_claims(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let claims = &mut self.state()?.claims.0;
        let old = claims.iter().filter(|(_, entry)| {
            entry.made_at < before && (entry.answer.is_some() || entry.until <= before)
        });
        let mut old: Vec<_> = old
            .map(|(key, entry)| (entry.made_at, key.clone()))
            .collect();
        old.sort();
        old.truncate(limit);
        for (_, key) in &old {
            claims.remove(key);
        }
        Ok(old.len())
    }
}
