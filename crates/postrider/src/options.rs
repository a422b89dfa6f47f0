//! From the configuration to what each service takes.

use postrider_guard::Guard;
use postrider_http::{BodyBudget, BodyLimit};
use postrider_registry::SnapshotFile;
use postrider_store_sql::{OpenError, PostgresOptions, PostgresStore};

use crate::config::{Config, LogKind, StoreUrl};

/// Where the store is, as its adapter takes it. It may hold a password.
pub(crate) fn store_url(config: &Config) -> String {
    let path = match &config.store.url {
        StoreUrl::InDataDirectory => &config.data.join("store.db"),
        StoreUrl::Sqlite(path) => path,
        StoreUrl::Postgres(url) => return url.expose().to_owned(),
    };
    format!("sqlite:{}", path.display())
}

/// How a PostgreSQL server is used.
pub(crate) fn postgres(config: &Config) -> PostgresOptions {
    let store = &config.store;
    PostgresOptions {
        max_connections: store.max_connections,
        acquire_timeout: store.acquire_timeout,
        statement_timeout: store.statement_timeout,
        lock_timeout: store.lock_timeout,
        call_timeout: store.call_timeout,
    }
}

/// Where the registry is kept, if it is.
///
/// # Errors
/// If the store's URL is wrong.
pub(crate) fn snapshot(config: &Config) -> Result<Option<SnapshotFile>, OpenError> {
    let registry = &config.registry;
    let (Some(path), Some(key)) = (&registry.snapshot, &registry.snapshot_key) else {
        return Ok(None);
    };
    Ok(Some(SnapshotFile {
        path: path.clone(),
        key: key.clone(),
        place: PostgresStore::place(&store_url(config))?,
        max_age: registry.snapshot_max_age,
    }))
}

/// Which addresses may be called.
pub(crate) fn guard(config: &Config) -> Guard {
    Guard::new(config.egress.allow.clone(), config.egress.require_https)
}

/// The log's, but for its topics and metrics.
pub(crate) fn log(
    config: &Config,
    options: postrider_log_embedded::Options,
) -> postrider_log_embedded::Options {
    postrider_log_embedded::Options {
        record_bytes: config.log.record.as_usize(),
        tail_bytes: config.log.tail.as_usize(),
        wal_bytes: config.log.wal.0,
        reserve_bytes: config.log.reserve.0,
        max_bytes: config.log.max.map(|bytes| bytes.0),
        ..options
    }
}

/// What all requests that are being received may hold, whichever service they are for.
pub(crate) fn bodies(config: &Config) -> BodyBudget {
    BodyBudget::new(config.http.bodies.as_usize())
}

pub(crate) fn ingest(config: &Config, bodies: BodyBudget) -> postrider_ingest::Options {
    postrider_ingest::Options {
        payload_bytes: config.ingest.max_payload.as_usize(),
        json_depth: config.ingest.max_json_depth,
        strict_event_types: config.ingest.strict_event_types,
        bodies,
        ..postrider_ingest::Options::default()
    }
}

pub(crate) fn fanout(config: &Config) -> postrider_fanout::Options {
    let mut options = postrider_fanout::Options {
        schedule: config.delivery.schedule.clone(),
        slack: config.delivery.slack,
        strict_event_types: config.ingest.strict_event_types,
        ..postrider_fanout::Options::default()
    };
    options.intake.payload_bytes = config.ingest.max_payload.as_usize();
    options.intake.json_depth = config.ingest.max_json_depth;
    options
}

pub(crate) fn delivery(config: &Config) -> postrider_delivery::Options {
    let section = &config.delivery;
    let mut options = postrider_delivery::Options {
        schedule: section.schedule.clone(),
        timeout: section.timeout,
        in_flight: section.in_flight,
        answering_share: section.answering_share,
        memory: section.memory.as_usize(),
        drain: section.drain,
        // Another process may have owned an endpoint, and left no state of it.
        cautious_start: config.log.kind == LogKind::Kafka,
        ..postrider_delivery::Options::default()
    };
    options.lane.parked_bytes = parked(config, options.lane.parked_bytes);
    options.lane.max_in_flight = section.in_flight_per_endpoint;
    options.lane.first_in_flight = options
        .lane
        .first_in_flight
        .min(section.in_flight_per_endpoint);
    options.lane.breaker.consecutive_failures = section.breaker_failures;
    options.lane.breaker.first_wait = section.breaker_wait;
    options.lane.breaker.longest_wait = section.breaker_longest_wait;
    options
}

/// What may be parked for one endpoint. In a log with a bound it is so little that an endpoint with twice of it, as newcomers
/// make it, leaves the others' events three quarters.
fn parked(config: &Config, standard: u64) -> u64 {
    let bounded = match config.log.kind {
        LogKind::Embedded => config.log.max,
        LogKind::Kafka => None,
    };
    match (config.delivery.parked, bounded) {
        (Some(parked), _) => parked.0,
        (None, Some(max)) => standard.min(max.0 / 8),
        (None, None) => standard,
    }
}

pub(crate) fn recorder(config: &Config) -> postrider_recorder::Options {
    let mut options = postrider_recorder::Options {
        disable_failing_after: config.delivery.disable_failing_after,
        ..postrider_recorder::Options::default()
    };
    options.retention.events = config.retention.events;
    options.retention.attempts = config.retention.attempts;
    options.retention.claims = config.retention.idempotency_keys;
    options
}

pub(crate) fn dead_letters(config: &Config) -> postrider_deadletter::Options {
    postrider_deadletter::Options {
        keep: config.retention.dead_letters,
        schedule: config.delivery.schedule.clone(),
        deadline_slack: config.delivery.slack,
        ..postrider_deadletter::Options::default()
    }
}

pub(crate) fn api(config: &Config, bodies: BodyBudget) -> postrider_api::Options {
    postrider_api::Options {
        body: BodyLimit {
            budget: bodies,
            ..BodyLimit::default()
        },
        schedule: config.delivery.schedule.clone(),
        slack: config.delivery.slack,
        max_endpoints: config.api.max_endpoints,
        ..postrider_api::Options::default()
    }
}
