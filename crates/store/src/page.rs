//! Listings come in pages, each found by an index from where the one before ended.

use postrider_model::Timestamp;

/// Which end of a listing comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The oldest (smallest) first.
    #[default]
    Ascending,
    /// The newest (largest) first.
    Descending,
}

/// Where a page begins, in the listing's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PageStart<K> {
    /// At the listing's beginning.
    #[default]
    Beginning,
    /// Behind this key.
    After(K),
    /// With the items that end just before this key. They are returned in the listing's order.
    Before(K),
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    /// Items, at most.
    pub limit: usize,
    /// Where it begins.
    pub start: PageStart<K>,
    /// Which end comes first.
    pub order: Order,
}

/// Where an item of history stands: listings order by (time, id), because derived ids carry no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryKey {
    /// The time that comes from the record.
    pub at: Timestamp,
    /// The id's bytes.
    pub id: [u8; 16],
}
