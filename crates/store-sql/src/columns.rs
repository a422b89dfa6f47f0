//! A row's columns by name, the same whichever the database.

use std::collections::BTreeMap;
use std::str::FromStr;

use postrider_model::{Id, IdKind, Timestamp};
use postrider_store::StoreError;
use serde::de::DeserializeOwned;

use crate::error::unreadable;

/// What every database's rows give, and what is made of it.
pub(crate) trait Columns {
    fn int(&self, name: &str) -> Result<Option<i64>, StoreError>;
    fn text(&self, name: &str) -> Result<Option<&str>, StoreError>;
    fn blob(&self, name: &str) -> Result<Option<&[u8]>, StoreError>;

    fn some_int(&self, name: &str) -> Result<i64, StoreError> {
        self.int(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn some_text(&self, name: &str) -> Result<&str, StoreError> {
        self.text(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn some_blob(&self, name: &str) -> Result<&[u8], StoreError> {
        self.blob(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn flag(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.some_int(name)? != 0)
    }

    fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let number = self.int(name)?;
        let checked = |number: i64| {
            T::try_from(number).map_err(|_| unreadable(name, format!("{number} is out of range")))
        };
        number.map(checked).transpose()
    }

    fn some_number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, StoreError> {
        self.number(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.int(name)?.map(Timestamp::from_millis))
    }

    fn some_time(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.some_int(name).map(Timestamp::from_millis)
    }

    fn id<K: IdKind>(&self, name: &str) -> Result<Option<Id<K>>, StoreError> {
        let read = |bytes: &[u8]| {
            Id::from_slice(bytes).ok_or_else(|| unreadable(name, "not the 16 bytes of an id"))
        };
        self.blob(name)?.map(read).transpose()
    }

    fn some_id<K: IdKind>(&self, name: &str) -> Result<Id<K>, StoreError> {
        self.id(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn bytes<const N: usize>(&self, name: &str) -> Result<[u8; N], StoreError> {
        let blob = self.some_blob(name)?;
        blob.try_into()
            .map_err(|_| unreadable(name, format!("{} bytes, not {N}", blob.len())))
    }

    /// Ids one behind another.
    fn ids<K: IdKind>(&self, name: &str) -> Result<Option<Vec<Id<K>>>, StoreError> {
        let read = |bytes: &[u8]| {
            let ids = bytes.chunks(16).map(Id::from_slice);
            ids.collect::<Option<Vec<_>>>()
                .ok_or_else(|| unreadable(name, "not ids of 16 bytes"))
        };
        self.blob(name)?.map(read).transpose()
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let read = |text: &str| text.parse().map_err(|error| unreadable(name, error));
        self.text(name)?.map(read).transpose()
    }

    fn some_parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, StoreError> {
        self.parsed(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let read = |text: &str| serde_json::from_str(text).map_err(|error| unreadable(name, error));
        self.text(name)?.map(read).transpose()
    }

    fn some_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        self.json(name)?.ok_or_else(|| unreadable(name, "NULL"))
    }

    fn map(&self, name: &str) -> Result<BTreeMap<String, String>, StoreError> {
        self.some_json(name)
    }
}

/// An id as a column.
pub(crate) fn blob<K: IdKind>(id: Id<K>) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// Ids as one column, one behind another.
pub(crate) fn blob_of_ids<K: IdKind>(ids: &[Id<K>]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

/// `value` as a column of JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}
