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
use crate::{Inspected, InspectedServer, OpenError};

const ASK: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
    pg_is_in_recovery(), \
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

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
        sqlx::query_as(ASK).fetch_one(connection).await?;
    let seen = InspectedServer {
        version,
        is_old: number < OLDEST_SERVER,
        is_standby,
        may_make_tables,
        now: Timestamp::from_millis(now),
        asked_for: began.elapsed(),
    };
    Ok((schema, newer, seen))
}
