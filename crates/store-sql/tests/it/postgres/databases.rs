//! A database for each test, copied from one that has the schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_store::Closing;
use postrider_store_sql::{PostgresOptions, PostgresStore};
use postrider_testkit::shared_postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::sync::OnceCell;

use crate::metrics;

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A database that goes with its value.
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    /// An empty one with the schema of this program.
    pub(crate) async fn new() -> Self {
        let template = TEMPLATE.get_or_init(template).await;
        Self::made(&format!("TEMPLATE {template}")).await
    }

    /// One that is made `with` this.
    pub(crate) async fn made(with: &str) -> Self {
        let server = shared_postgres().unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{count}", std::process::id());
        let mut on = PgConnection::connect(&server).await.unwrap();
        run(
            &mut on,
            &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        )
        .await;
        run(&mut on, &format!("CREATE DATABASE {name} {with}")).await;
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    pub(crate) async fn open(&self) -> Arc<PostgresStore> {
        self.open_with(PostgresOptions::default()).await
    }

    pub(crate) async fn open_with(&self, options: PostgresOptions) -> Arc<PostgresStore> {
        let store = PostgresStore::open(&self.url(), options, metrics()).await;
        Arc::new(store.unwrap())
    }

    /// A connection beside the store's.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// The one number that a query returns.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let mut beside = self.connect().await;
        let row = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_one(&mut beside);
        row.await.unwrap().get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let gone = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let mut on = PgConnection::connect(&server).await.unwrap();
                run(&mut on, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
            });
        });
        // A test that fails says why itself.
        let _ = gone.join();
    }
}

/// In an order of names that is not that of their bytes, which nothing may rely on.
async fn template() -> String {
    let made = Database::made("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'").await;
    let store = made.open().await;
    store.close().await;
    let name = made.name.clone();
    // It is for the other tests, and goes with the server.
    std::mem::forget(made);
    name
}

pub(crate) async fn run(connection: &mut PgConnection, statement: &str) {
    let query = sqlx::query(AssertSqlSafe(statement.to_owned())).persistent(false);
    query.execute(connection).await.unwrap();
}
