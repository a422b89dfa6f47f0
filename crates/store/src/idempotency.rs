//! Claims: each request under one key is carried out once, and its repeats get the first answer.

use async_trait::async_trait;
use bytes::Bytes;
use postrider_model::Timestamp;

use crate::StoreError;

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours until the lease ends: carry the request out, then confirm or release it.
    Ours {
        /// When the key was first claimed, by whomever, and not released or deleted since. Those who take it over one after
        /// another are told the same.
        since: Timestamp,
    },
    /// Somebody else carries it out at present.
    Held {
        /// What they were asked; compare it with this request's.
        fingerprint: [u8; 32],
        /// When their lease ends.
        until: Timestamp,
    },
    /// It was carried out.
    Done {
        /// What was asked; compare it with this request's.
        fingerprint: [u8; 32],
        /// What was answered.
        answer: Bytes,
    },
}

/// Claims by key. A key names the operation, whose it is, and what the client chose.
#[async_trait]
pub trait Claims: Send + Sync + 'static {
    /// Claims `key` until `until`, unless it is done or held by another at `now`. After a lease ended exactly one caller
    /// gets it. `holder` tells callers apart: unique to this request.
    async fn claim(
        &self,
        key: &str,
        holder: &str,
        fingerprint: &[u8; 32],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError>;

    /// Records the answer, if `holder` still has the claim; otherwise does nothing.
    async fn confirm(
        &self,
        key: &str,
        holder: &str,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Gives the claim up, because nothing was carried out, if `holder` still has it.
    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError>;

    /// Deletes at most `limit` claims that were answered before `before`, or first claimed before it and not held beyond it.
    /// Returns how many.
    async fn delete_claims(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
