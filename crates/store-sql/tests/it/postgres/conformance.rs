//! The suite, against PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_store::Store;
use postrider_store::testing::conformance::Harness;

use super::databases::Database;

#[derive(Default)]
struct InPostgres {
    open: Option<Database>,
}

#[async_trait]
impl Harness for InPostgres {
    async fn open(&mut self) -> Arc<dyn Store> {
        self.open.insert(Database::new().await).open().await
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        self.open.as_ref().unwrap().open().await
    }
}

postrider_store::store_conformance!(InPostgres::default());
