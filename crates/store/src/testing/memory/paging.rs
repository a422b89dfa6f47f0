//! One page out of a sorted listing.

use crate::{Order, Page, PageStart};

/// The page of `items`, which come sorted by key, the smallest first.
pub(super) fn page<K: Ord, T>(
    items: impl DoubleEndedIterator<Item = (K, T)>,
    page: &Page<K>,
) -> Vec<T> {
    let ascending = page.order == Order::Ascending;
    match &page.start {
        PageStart::Beginning => take(items, ascending, page.limit, |_| true),
        PageStart::After(key) => take(items, ascending, page.limit, |at| {
            if ascending { at > key } else { at < key }
        }),
        PageStart::Before(key) => {
            let mut found = take(items, !ascending, page.limit, |at| {
                if ascending { at < key } else { at > key }
            });
            found.reverse();
            found
        }
    }
}

fn take<K, T>(
    items: impl DoubleEndedIterator<Item = (K, T)>,
    forward: bool,
    limit: usize,
    wanted: impl Fn(&K) -> bool,
) -> Vec<T> {
    let pick = |(key, item): (K, T)| wanted(&key).then_some(item);
    if forward {
        items.filter_map(pick).take(limit).collect()
    } else {
        items.rev().filter_map(pick).take(limit).collect()
    }
}
