//! Things in the order of (time, id), found by id too.

use std::collections::{BTreeMap, HashMap};

use postrider_model::Timestamp;

use super::paging::page;
use crate::{HistoryKey, Page};

pub(super) struct Timeline<T> {
    items: BTreeMap<HistoryKey, T>,
    keys: HashMap<[u8; 16], HistoryKey>,
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            keys: HashMap::new(),
        }
    }
}

impl<T: Clone> Timeline<T> {
    /// Keeps `item`, unless one with its id is there.
    pub(super) fn insert(&mut self, at: Timestamp, id: [u8; 16], item: T) {
        let key = HistoryKey { at, id };
        self.keys.entry(id).or_insert_with(|| {
            self.items.insert(key, item);
            key
        });
    }

    pub(super) fn get(&self, id: &[u8; 16]) -> Option<&T> {
        self.items.get(self.keys.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &[u8; 16]) -> Option<&mut T> {
        self.items.get_mut(self.keys.get(id)?)
    }

    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.values()
    }

    pub(super) fn page(
        &self,
        wanted: impl Fn(HistoryKey, &T) -> bool,
        of: &Page<HistoryKey>,
    ) -> Vec<T> {
        let items = self.items.iter().filter(|(key, item)| wanted(**key, item));
        page(items.map(|(key, item)| (*key, item)), of)
            .into_iter()
            .cloned()
            .collect()
    }

    pub(super) fn remove(&mut self, id: &[u8; 16]) -> Option<T> {
        self.items.remove(&self.keys.remove(id)?)
    }

    /// Removes the oldest before `before`, `limit` at most, and returns their ids.
    pub(super) fn remove_before(&mut self, before: Timestamp, limit: usize) -> Vec<[u8; 16]> {
        let old = self.items.keys().take_while(|key| key.at < before);
        let ids: Vec<_> = old.take(limit).map(|key| key.id).collect();
        for id in &ids {
            self.remove(id);
        }
        ids
    }
}
