//! Listings: `limit`, `iterator`, `order` in; `data`, `iterator`, `prevIterator`, `done` out.

use postrider_http::{HttpError, Query};
use postrider_model::{EventType, Id, IdKind, Timestamp};
use postrider_store::{HistoryKey, Order, Page, PageStart};
use serde::Serialize;

/// Items a page, unless asked for otherwise, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 250;

/// The parameters of every listing.
pub(crate) const PAGING: [&str; 3] = ["limit", "iterator", "order"];

/// What of each item is shown. The last two are of later versions of the dialect: nothing is shown for them, and nothing that
/// was not meant.
pub(crate) const CONTENT: [&str; 3] = ["with_content", "with_msg", "expanded_statuses"];

/// A place in a listing that has a text form.
pub(crate) trait Cursor: Sized {
    /// The text form.
    fn write(&self) -> String;
    /// The place that a text names.
    fn read(text: &str) -> Option<Self>;
}

impl<K: IdKind> Cursor for Id<K> {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Cursor for EventType {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// `it_`, 16 hexadecimal digits of the time and 32 of the id.
impl Cursor for HistoryKey {
    fn write(&self) -> String {
        let id = u128::from_be_bytes(self.id);
        format!("it_{:016x}{id:032x}", self.at.as_millis())
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("it_").filter(|rest| rest.len() == 48)?;
        let (at, id) = digits.split_at_checked(16)?;
        let at = i64::try_from(u64::from_str_radix(at, 16).ok()?).ok()?;
        Some(Self {
            at: Timestamp::from_millis(at),
            id: u128::from_str_radix(id, 16).ok()?.to_be_bytes(),
        })
    }
}

/// One page that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Paging<K> {
    pub(crate) limit: usize,
    pub(crate) start: PageStart<K>,
    pub(crate) order: Order,
}

impl<K: Cursor + Clone> Paging<K> {
    /// What `query` asks for, in `order` unless it says otherwise.
    pub(crate) fn of(query: &Query, order: Order) -> Result<Self, HttpError> {
        let limit = match query.single("limit")?.map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => {
                return Err(HttpError::query(
                    "limit",
                    format!("expected 1 to {MAX_LIMIT}"),
                ));
            }
        };
        let order = match query.single("order")? {
            None => order,
            Some("ascending") => Order::Ascending,
            Some("descending") => Order::Descending,
            Some(_) => {
                return Err(HttpError::query(
                    "order",
                    "expected ascending or descending",
                ));
            }
        };
        let malformed = || {
            HttpError::query(
                "iterator",
                "expected an iterator or prevIterator of an earlier answer of this listing",
            )
        };
        let start = match query.single("iterator")? {
            None => PageStart::Beginning,
            Some(text) => match text.strip_prefix('-') {
                Some(text) => PageStart::Before(K::read(text).ok_or_else(malformed)?),
                None => PageStart::After(K::read(text).ok_or_else(malformed)?),
            },
        };
        Ok(Self {
            limit,
            start,
            order,
        })
    }

    /// What to ask of the store: one more than is shown, to know whether there is more.
    pub(crate) fn page(&self) -> Page<K> {
        Page {
            limit: self.limit + 1,
            start: self.start.clone(),
            order: self.order,
        }
    }

    /// True if the page was asked for by `prevIterator`.
    pub(crate) fn is_backward(&self) -> bool {
        matches!(self.start, PageStart::Before(_))
    }

    /// The envelope around what the store returned, cut to the limit. What `out` maps to nothing is left out.
    pub(crate) fn listed<'a, T, O>(
        &self,
        items: &'a [T],
        key: impl Fn(&'a T) -> K,
        out: impl FnMut(&'a T) -> Option<O>,
    ) -> ListOut<O> {
        let surplus = items.len().saturating_sub(self.limit);
        let shown = if self.is_backward() {
            &items[surplus..]
        } else {
            &items[..items.len() - surplus]
        };
        ListOut {
            iterator: shown.last().map(|last| key(last).write()),
            prev_iterator: shown
                .first()
                .map(|first| format!("-{}", key(first).write())),
            done: surplus == 0,
            data: shown.iter().filter_map(out).collect(),
        }
    }
}

/// A page as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListOut<T> {
    data: Vec<T>,
    /// Where the next page begins.
    iterator: Option<String>,
    /// Where the page before ends.
    prev_iterator: Option<String>,
    /// True if there is nothing more in the direction that was asked for.
    done: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_history_reads_back_from_its_text_and_nothing_else_does() {
        let key = HistoryKey {
            at: Timestamp::from_millis(1_700_000_000_123),
            id: [7; 16],
        };
        assert_eq!(HistoryKey::read(&key.write()), Some(key));
        for bad in [
            "",
            "it_",
            "msg_1",
            &"it_".repeat(17),
            &format!("it_{}", "é".repeat(24)),
        ] {
            assert_eq!(HistoryKey::read(bad), None, "{bad}");
        }
    }
}
