//! Many rows by few statements: row by row the statements themselves cost ten times what the rows do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use postrider_store::StoreError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, Transaction, Type};

use crate::error::store_error;

/// Rows a statement. Few sizes, so that every statement is prepared once a connection.
const SIZES: [usize; 4] = [256, 64, 8, 1];

/// A statement that inserts rows, in every size.
pub(super) struct Insert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: Mutex<BTreeMap<usize, Arc<str>>>,
}

impl Insert {
    /// `head` is everything up to `VALUES`, with `columns` columns; `tail` is what follows the rows.
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self {
            head,
            columns,
            tail,
            texts: Mutex::new(BTreeMap::new()),
        }
    }

    /// Inserts `rows`, each bound by `bind` in the order of the columns.
    pub(super) async fn run<T>(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        mut rows: &[T],
        bind: impl Fn(&mut Values, &T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for size in SIZES {
            while let Some((chunk, rest)) = rows.split_at_checked(size) {
                rows = rest;
                let mut values = Values::default();
                values.0.reserve(size * self.columns, 0);
                for row in chunk {
                    bind(&mut values, row)?;
                }
                sqlx::query_with(AssertSqlSafe(self.text(size)), values.0)
                    .execute(&mut **tx)
                    .await
                    .map_err(store_error)?;
            }
        }
        Ok(())
    }

    fn text(&self, size: usize) -> Arc<str> {
        // A panic in here leaves the map as it was before or after an insertion.
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts.entry(size).or_insert_with(|| {
            let row = format!("({})", vec!["?"; self.columns].join(","));
            let rows = vec![row; size].join(",");
            format!("{} VALUES {rows} {}", self.head, self.tail).into()
        });
        text.clone()
    }
}

/// The values of one statement.
#[derive(Default)]
pub(super) struct Values(SqliteArguments);

impl Values {
    pub(super) fn push<'t, T>(&mut self, value: T) -> Result<(), StoreError>
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
    {
        let added = self.0.add(value);
        added.map_err(|error| StoreError::Refused(error.to_string()))
    }
}
