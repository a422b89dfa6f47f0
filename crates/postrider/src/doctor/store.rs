//! The store: whether it is there, and whether its schema is one that this program knows; whether all of its file can be
//! read, or its server's clock.

use postrider_model::{Clock, SystemClock};
use postrider_store_sql::{Extent, Inspected, InspectedFile, InspectedServer, OpenError, inspect};

use super::{Finding, READ_FOR, clock, connections};
use crate::config::Config;
use crate::options;

const PART: &str = "store";

pub(super) async fn examine(config: &Config, all: Option<u32>) -> Vec<Finding> {
    let url = options::store_url(config);
    let looked = inspect(&url, options::postgres(config), READ_FOR).await;
    let ours = SystemClock.now();
    match looked {
        Err(error) => vec![Finding::wrong(PART, error.to_string(), advice(&error))],
        Ok(found) => {
            let mut findings = vec![schema(&found)];
            if let (Some(_), Some(file)) = (found.schema, found.file) {
                findings.push(read(&found.place, file));
            }
            if let Some(server) = &found.server {
                findings.extend(faults(server));
                let own = config.store.max_connections;
                findings.push(connections::judge(&server.connections, own, all));
                findings.push(clock::judge(ours, server.now, server.asked_for));
            }
            findings
        }
    }
}

fn schema(found: &Inspected) -> Finding {
    let place = match &found.server {
        Some(server) => format!("{} (PostgreSQL {})", found.place, server.version),
        None => found.place.clone(),
    };
    if let Some(step) = found.forbids {
        return Finding::wrong(
            PART,
            format!(
                "{place} has schema version {step}, and this program knows none above {}",
                found.known
            ),
            "use the newer program that wrote it, or restore a backup of before",
        );
    }
    match found.schema {
        None => Finding::ok(
            PART,
            format!("{place} is new: the first start makes its schema"),
        ),
        Some(schema) if schema > found.known => Finding::ok(
            PART,
            format!(
                "{place} has schema version {schema}: this program knows {}, and can work beside the newer one",
                found.known
            ),
        ),
        Some(schema) if schema < found.known => Finding::ok(
            PART,
            format!(
                "{place} has schema version {schema}; the next start brings it up to {}",
                found.known
            ),
        ),
        Some(schema) => Finding::ok(PART, format!("{place} has schema version {schema}")),
    }
}

fn read(place: &str, file: InspectedFile) -> Finding {
    let mib = file.bytes >> 20;
    match file.extent {
        Extent::Whole => Finding::ok(
            PART,
            format!("{place} can be read from end to end ({mib} MiB)"),
        ),
        Extent::Part => Finding::warning(
            PART,
            format!(
                "nothing is wrong in what was read of {place} within {} s; the rest of its {mib} MiB was not looked at",
                READ_FOR.as_secs()
            ),
            format!(
                "to read all of it, however long it takes, while no server runs: sqlite3 {place} 'PRAGMA quick_check'"
            ),
        ),
        Extent::AllBut(tables) => Finding::warning(
            PART,
            format!(
                "{place} ({mib} MiB) was read whole but for: {}; whether these are sound is not known",
                tables.join(", ")
            ),
            format!(
                "to read these as well: stop the server, whose store grows while somebody reads it for long, and ask again; \
                 or, however long it takes: sqlite3 {place} 'PRAGMA quick_check'"
            ),
        ),
    }
}

fn faults(server: &InspectedServer) -> Vec<Finding> {
    let mut findings = Vec::new();
    if server.is_old {
        findings.push(Finding::wrong(
            PART,
            format!("the server is PostgreSQL {}", server.version),
            "use PostgreSQL 15 or newer",
        ));
    }
    if server.is_standby {
        findings.push(Finding::wrong(
            PART,
            "the server follows another one and takes no writes",
            "name the primary in store.url; with several hosts add ?target_session_attrs=read-write to a proxy that knows it",
        ));
    }
    if !server.may_make_tables && !server.is_standby {
        findings.push(Finding::wrong(
            PART,
            "the user of store.url may not make tables: neither the schema nor partitions for coming days can be made",
            "make it the owner of the database, or GRANT CREATE ON SCHEMA public TO it",
        ));
    }
    findings
}

fn advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Url(_) | OpenError::PostgresUrl(_) => "correct store.url",
        OpenError::Unreachable { .. } => {
            "check host and port in store.url, that the server runs and listens there, and that pg_hba.conf lets this machine in"
        }
        OpenError::Server { .. } => {
            "check user, password and database in store.url: the server is there, and says no"
        }
        OpenError::NewerDatabase { .. } | OpenError::Newer { .. } => {
            "use the newer program that wrote it"
        }
        OpenError::InUse { .. } => "stop the other process, or give this one a place of its own",
        OpenError::Damaged { .. } => {
            "a server does not start with it, or answers with errors as soon as it comes to what is damaged"
        }
        OpenError::Io { .. } | OpenError::Database { .. } => {
            "see that the file and its folder belong to the user that runs the server"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_was_not_read_is_named_and_nothing_is_promised_of_it() {
        let bytes = 3 << 20;
        let told = |extent| read("store.db", InspectedFile { bytes, extent });
        assert_eq!(told(Extent::Whole).verdict, Verdict::Ok);
        let tables = ["attempts", "events"].map(str::to_owned);
        let found = told(Extent::AllBut(tables.into()));
        assert_eq!(found.verdict, Verdict::Warning);
        assert_eq!(
            found.seen,
            "store.db (3 MiB) was read whole but for: attempts, events; whether these are sound is not known"
        );
        assert!(found.advice.unwrap().contains("stop the server"));
        // Nobody has that one.
        let found = told(Extent::Part);
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(!found.advice.unwrap().contains("stop the server"));
    }
}
