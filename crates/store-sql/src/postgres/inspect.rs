//! Looking at a database, without changing it.

use std::str::FromStr;
use std::time::Instant;

use postrider_model::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use super::PostgresOptions;
use super::migrations::{NEWEST, newer, version};
use super::open::{OLDEST_SERVER, Server};
use crate::steps::Newer;
use crate::{Inspected, InspectedConnections, InspectedServer, OpenError};

const ASK: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
    pg_is_in_recovery(), \
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// The bound that leaves the least, of the server's, the database's and the user's, which are -1 where there is none (and
/// bind no superuser); and
/// how many count for it. Of others' sessions only a part can be seen, not what they are: those of the server itself are in
/// no database.
const CONNECTIONS: &str = "WITH sessions AS (
        SELECT datname = current_database() AS here, usename = current_user AS same, application_name
        FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()
            AND coalesce(backend_type, 'client backend') = 'client backend'
    ), bounds AS (
        SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0) AS most, count(*) AS open FROM sessions
        UNION ALL SELECT datconnlimit, (SELECT count(*) FROM sessions WHERE here)
        FROM pg_database WHERE datname = current_database() AND current_setting('is_superuser') = 'off'
        UNION ALL SELECT rolconnlimit, (SELECT count(*) FROM sessions WHERE same)
        FROM pg_roles WHERE rolname = current_user AND current_setting('is_superuser') = 'off'
    )
    SELECT most, open, (SELECT count(*) FROM sessions WHERE here AND application_name = 'postrider')
    FROM bounds WHERE most >= 0 ORDER BY most - open LIMIT 1";

/// What there is to see of the database that `url` names.
pub(crate) async fn inspect(url: &str, options: &PostgresOptions) -> Result<Inspected, OpenError> {
    let place = PgConnectOptions::from_str(url)
        .map_err(|error| OpenError::PostgresUrl(error.to_string()))?
        .application_name("postrider doctor")
        .disable_statement_logging();
    let server = Server::of(&place);
    let looking = async {
        let mut connection = place
            .connect()
            .await
            .map_err(|error| server.not_connected(&error))?;
        look(&mut connection)
            .await
            .map_err(|error| server.failed(&error))
    };
    match tokio::time::timeout(options.acquire_timeout * 2, looking).await {
        Ok(looked) => looked.map(|(schema, newer, seen)| Inspected {
            place: server.name,
            schema,
            known: NEWEST,
            forbids: newer.forbids(),
            file: None,
            server: Some(seen),
        }),
        Err(_) => Err(server.unreachable("it does not answer")),
    }
}

async fn look(
    connection: &mut PgConnection,
) -> Result<(Option<i64>, Newer, InspectedServer), sqlx::Error> {
    let schema = version(&mut *connection).await?;
    let newer = newer(&mut *connection).await?;
    let began = Instant::now();
    let (number, version, is_standby, may_make_tables, now): (i32, String, bool, bool, i64) =
        sqlx::query_as(ASK).fetch_one(&mut *connection).await?;
    let asked_for = began.elapsed();
    let seen = InspectedServer {
        version,
        is_old: number < OLDEST_SERVER,
        is_standby,
        may_make_tables,
        now: Timestamp::from_millis(now),
        asked_for,
        connections: connections(connection).await?,
    };
    Ok((schema, newer, seen))
}

async fn connections(connection: &mut PgConnection) -> Result<InspectedConnections, sqlx::Error> {
    let (limit, open, ours): (i32, i64, i64) =
        sqlx::query_as(CONNECTIONS).fetch_one(connection).await?;
    Ok(InspectedConnections {
        limit: u32::try_from(limit).unwrap_or_default(),
        open: u32::try_from(open).unwrap_or(u32::MAX),
        ours: u32::try_from(ours).unwrap_or(u32::MAX),
    })
}
