//! Opening: the server, the schema, the connections.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_model::{Clock, SystemClock};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::errors::may_pass;
use super::migrations::{migrate, refuse_newer};
use super::outdated::Outdated;
use super::partitions::{Partitions, day_of};
use super::{PostgresOptions, PostgresStore};
use crate::{OpenError, StoreMetrics};

/// The oldest server that this was tested with.
pub(super) const OLDEST_SERVER: i32 = 150_000;

/// How long bringing the schema up to date is tried, by us or by another process that we wait for, before the server counts
/// as one that does not answer.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);

const NOT_UP_TO_DATE: &str =
    "its schema is being brought up to date, here or by another process, and that does not end";

/// A connection that was idle for so long is tried before it is used: the server may have been restarted meanwhile.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// How long a connection that comes back may take to be in order; then it is closed. A server that is gone without a word
/// would otherwise hold all of them for as long as the network is patient.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);

/// How long the server bears a transaction in which nothing happens.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// What SQLSTATEs of "invalid authorization" begin with, and that of a database that is not there
/// (<https://www.postgresql.org/docs/15/errcodes-appendix.html>).
const REFUSED: &str = "28";
const NO_SUCH_DATABASE: &str = "3D000";

/// Nothing that was acknowledged may be lost with the power, whatever the server's own setting is.
const SETTINGS: &str = "SELECT set_config('statement_timeout', $1, false), \
    set_config('lock_timeout', $2, false), \
    set_config('idle_in_transaction_session_timeout', $3, false), \
    set_config('default_transaction_isolation', 'read committed', false), \
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END";

/// Where a server is, for people: without names and passwords.
pub(super) struct Server {
    pub(super) name: String,
}

impl Server {
    pub(super) fn of(options: &PgConnectOptions) -> Self {
        let database = options.get_database().unwrap_or(options.get_username());
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self {
            name: format!("postgres://{place}/{database}"),
        }
    }

    /// What an error of the database means while the store is opened.
    pub(super) fn failed(&self, error: &sqlx::Error) -> OpenError {
        self.failed_in("", error)
    }

    /// The same, where `doing` says in what: a server that comes back, or goes, cuts off what it has begun, and is away like
    /// one that takes no connection.
    pub(super) fn failed_in(&self, doing: &str, error: &sqlx::Error) -> OpenError {
        let why = format!("{doing}{error}");
        match may_pass(error) {
            true => self.unreachable(why),
            false => self.unusable(why),
        }
    }

    /// What an error of the first connection means: a server that refuses the user or the password, or does not have the
    /// database, does so again; all others may be starting, or full.
    pub(super) fn not_connected(&self, error: &sqlx::Error) -> OpenError {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some(code) if code.starts_with(REFUSED) || code == NO_SUCH_DATABASE => self.unusable(
                format!("{error}: user, password and database are those of its URL"),
            ),
            _ => self.unreachable(error),
        }
    }

    pub(super) fn unusable(&self, why: impl ToString) -> OpenError {
        OpenError::Server {
            server: self.name.clone(),
            why: why.to_string(),
        }
    }

    pub(super) fn unreachable(&self, why: impl ToString) -> OpenError {
        OpenError::Unreachable {
            server: self.name.clone(),
            why: why.to_string(),
        }
    }
}

impl PostgresStore {
    /// Opens the store in the database that `url` names (`postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`).
    pub async fn open(
        url: &str,
        options: PostgresOptions,
        metrics: StoreMetrics,
    ) -> Result<Self, OpenError> {
        let store = Self::unopened(url, options, metrics)?;
        store.prepare().await?;
        Ok(store)
    }

    /// The same store, for whom it may be away at the start: nobody was asked yet, and every call returns
    /// [`StoreError::Unavailable`](postrider_store::StoreError::Unavailable) until [`PostgresStore::prepare`] has succeeded.
    pub fn unopened(
        url: &str,
        options: PostgresOptions,
        metrics: StoreMetrics,
    ) -> Result<Self, OpenError> {
        let place = parsed(url)?
            .application_name("postrider")
            .disable_statement_logging();
        let outdated = Outdated::default();
        let pool = |connections| pool(&place, &options, connections, &outdated);
        Ok(Self {
            pool: pool(options.max_connections.max(2) - 1),
            feed: pool(1),
            is_prepared: AtomicBool::new(false),
            place,
            outdated: outdated.clone(),
            partitions: Partitions::default(),
            options,
            metrics,
        })
    }

    /// Where the database is that `url` names, without user and password: `postgres://HOST:PORT/DATABASE`.
    pub fn place(url: &str) -> Result<String, OpenError> {
        Ok(Server::of(&parsed(url)?).name)
    }

    /// Looks whether the server is there and can be used, brings the schema up to date, and lets calls through.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] if it may be otherwise later, also where the server goes away in the midst of this.
    pub async fn prepare(&self) -> Result<(), OpenError> {
        let server = Server::of(&self.place);
        let connecting = async {
            let connected = self.place.connect().await;
            connected.map_err(|error| server.not_connected(&error))
        };
        let mut first = self.answered(&server, connecting).await?;
        // What takes connections may have no server behind it.
        self.answered(&server, look(&server, &mut first)).await?;
        match tokio::time::timeout(MIGRATION_TIMEOUT, migrate(&server, &mut first)).await {
            Ok(migrated) => migrated?,
            Err(_) => return Err(server.unreachable(NOT_UP_TO_DATE)),
        }
        // Before the partitions are made: until then the default one takes their rows, as on any day.
        self.is_prepared.store(true, Ordering::SeqCst);
        self.renew_partitions(day_of(SystemClock.now())).await;
        Ok(())
    }

    /// What a server that is there says at once.
    async fn answered<T>(
        &self,
        server: &Server,
        asking: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        let answered = tokio::time::timeout(self.options.acquire_timeout, asking).await;
        answered.unwrap_or_else(|_| Err(server.unreachable("it does not answer")))
    }
}

fn parsed(url: &str) -> Result<PgConnectOptions, OpenError> {
    PgConnectOptions::from_str(url).map_err(|error| OpenError::PostgresUrl(error.to_string()))
}

/// Whether it is a server and a schema that this program works with.
async fn look(server: &Server, first: &mut PgConnection) -> Result<(), OpenError> {
    let found: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *first)
        .await
        .map_err(|error| server.failed(&error))?;
    if found < OLDEST_SERVER {
        let why = format!("it is PostgreSQL {}; 15 or newer is needed", found / 10_000);
        return Err(server.unusable(why));
    }
    refuse_newer(server, first).await
}

/// Connections are made when they are needed, and again when they were lost.
fn pool(
    place: &PgConnectOptions,
    options: &PostgresOptions,
    connections: u32,
    outdated: &Outdated,
) -> PgPool {
    let outdated = outdated.clone();
    let settings = [
        options.statement_timeout,
        options.lock_timeout,
        IDLE_IN_TRANSACTION,
    ]
    .map(|timeout| format!("{}ms", timeout.as_millis()));
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection, known| {
            let is_outdated = outdated.includes(known.age);
            Box::pin(async move {
                if is_outdated {
                    return Ok(false);
                }
                if known.idle_for > TRIED_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                match tokio::time::timeout(RETURNS_WITHIN, connection.ping()).await {
                    Ok(in_order) => in_order.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                let mut query = sqlx::query(SETTINGS);
                for setting in settings {
                    query = query.bind(setting);
                }
                query.execute(connection).await.map(drop)
            })
        })
        .connect_lazy_with(place.clone())
}
