//! A page and the bounds of a filter as one interval: at most one lower and one upper bound, which an index serves.

use postrider_model::Timestamp;
use postrider_store::{HistoryKey, Order, Page, PageStart, StoreError};

/// What a listing's query needs. Both bounds are exclusive.
#[derive(Debug, Clone)]
pub(crate) struct Window<K> {
    pub(crate) above: Option<K>,
    pub(crate) below: Option<K>,
    /// The order in which the database is asked.
    pub(crate) descending: bool,
    pub(crate) limit: i64,
    /// True if the answer is the other way round than the listing.
    flipped: bool,
}

impl<K: Clone + Ord> Window<K> {
    pub(crate) fn of(page: &Page<K>) -> Self {
        let flipped = matches!(page.start, PageStart::Before(_));
        let descending = (page.order == Order::Descending) != flipped;
        let key = match &page.start {
            PageStart::Beginning => None,
            PageStart::After(key) | PageStart::Before(key) => Some(key.clone()),
        };
        let (above, below) = if descending { (None, key) } else { (key, None) };
        Self {
            above,
            below,
            descending,
            limit: i64::try_from(page.limit).unwrap_or(i64::MAX),
            flipped,
        }
    }

    pub(crate) fn direction(&self) -> &'static str {
        if self.descending { " DESC" } else { " ASC" }
    }

    /// What the query found, in the listing's order.
    pub(crate) fn arrange<T>(&self, mut found: Vec<T>) -> Vec<T> {
        if self.flipped {
            found.reverse();
        }
        found
    }

    /// What is left of it behind `rows`, which it has found, if `skipped` of them are to be made up for and there may be more.
    pub(crate) fn behind<R>(
        &self,
        rows: &[R],
        skipped: usize,
        key: impl Fn(&R) -> Result<K, StoreError>,
    ) -> Result<Option<Self>, StoreError> {
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= self.limit);
        let Some(last) = rows.last().filter(|_| is_full && skipped > 0) else {
            return Ok(None);
        };
        let mut rest = self.clone();
        let bound = if self.descending {
            &mut rest.below
        } else {
            &mut rest.above
        };
        *bound = Some(key(last)?);
        rest.limit = i64::try_from(skipped).unwrap_or(i64::MAX);
        Ok(Some(rest))
    }
}

impl Window<HistoryKey> {
    /// The part of it that lies strictly between two times.
    pub(crate) fn between(self, after: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        let after = after.map(|at| HistoryKey { at, id: [0xff; 16] });
        let before = before.map(|at| HistoryKey { at, id: [0; 16] });
        let below = match (self.below, before) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            above: self.above.max(after),
            below,
            ..self
        }
    }
}
