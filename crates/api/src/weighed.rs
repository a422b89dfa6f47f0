//! Listings of what carries payloads: read a few at a time, and a page ends early where it holds much.

use bytes::Bytes;
use postrider_http::HttpError;
use postrider_store::{Page, PageStart};

use crate::page::{Cursor, Paging};

/// Bytes of payloads in a page: it ends with the item that reaches them, and has one at least.
const PAGE_BYTES: usize = 8 << 20;

/// Items read at once: so many payloads are in memory beyond the page's bytes, at most.
const STEP: usize = 16;

/// Bytes of a payload, which is dropped unless it is shown.
pub(crate) fn weight(payload: &mut Bytes, is_shown: bool) -> usize {
    let bytes = payload.len();
    if !is_shown {
        *payload = Bytes::new();
    }
    bytes
}

impl<K: Cursor + Clone> Paging<K> {
    /// What [`Paging::listed`] is to show: the page, and one behind it if there is one. A page that ends early has a lower
    /// limit from then on. `ask` reads from the store; `weigh` tells the bytes of an item's payload, and may drop it.
    pub(crate) async fn weighed<T, F>(
        &mut self,
        key: impl Fn(&T) -> K,
        weigh: impl Fn(&mut T) -> usize,
        ask: impl Fn(Page<K>) -> F,
    ) -> Result<Vec<T>, HttpError>
    where
        F: Future<Output = Result<Vec<T>, HttpError>>,
    {
        let is_backward = self.is_backward();
        // In the order in which they are come to.
        let (mut found, mut bytes): (Vec<T>, usize) = (Vec::new(), 0);
        let mut start = self.start.clone();
        while found.len() <= self.limit {
            let limit = STEP.min(self.limit + 1 - found.len());
            let order = self.order;
            let page = Page {
                limit,
                start,
                order,
            };
            let mut part = ask(page).await?;
            let is_end = part.len() < limit;
            if is_backward {
                part.reverse();
            }
            for mut item in part {
                if found.len() > self.limit {
                    break;
                }
                bytes += weigh(&mut item);
                found.push(item);
                if bytes >= PAGE_BYTES {
                    self.limit = self.limit.min(found.len());
                }
            }
            let Some(last) = found.last().filter(|_| !is_end) else {
                break;
            };
            start = match is_backward {
                true => PageStart::Before(key(last)),
                false => PageStart::After(key(last)),
            };
        }
        if is_backward {
            found.reverse();
        }
        Ok(found)
    }
}
