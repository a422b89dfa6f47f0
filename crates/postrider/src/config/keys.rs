//! Every key: its type, default, range and meaning. The one table behind the typed sections, `postrider config` and the
//! documentation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use postrider_model::Schedule;

use super::declare::{self, Key, keys};
use super::error::Problem;
use super::given::Given;
use super::kinds::{LogFilter, LogFormat, LogKind, StoreUrl};
use super::value::{Bytes, Value};

keys! {
    {
        data: PathBuf = "postrider-data";
            "Directory of everything that this process keeps: log, store, operator's token."
        listen: SocketAddr = "127.0.0.1:8071";
            "Where the API and the intake of events listen."
    }
    log: Log {
        kind: LogKind = "embedded";
            "Which log carries the events."
        record: Bytes = "8MiB", "1MiB" ..= "256MiB";
            "The largest record of the log: a payload with everything that travels with it."
        tail: Bytes = "32MiB", "1MiB" ..= "4GiB";
            "What is kept in memory for readers, over all topics."
        wal: Bytes = "64MiB", "8MiB" ..= "4GiB";
            "How large the write-ahead log may grow before the writer pauses while it is emptied."
        reserve: Bytes = "128MiB", "16MiB" ..= "1TiB";
            "Free disk space below which new events are refused, so that what is inside can still be finished."
        max: Option<Bytes> = "none";
            "How large the log's file may grow; beyond it new events are refused."
    }
    store: Store {
        url: StoreUrl = "";
            "Where configuration, history and dead letters are kept."
    }
    egress: Egress {
        allow: Vec<IpNet> = "";
            "Networks that endpoints may lie in beside the public ones."
        require_https: bool = "true";
            "Whether an endpoint's URL must begin with https."
    }
    ingest: Ingest {
        max_payload: Bytes = "1MiB", "1KiB" ..= "64MiB";
            "The largest payload of an event; larger ones are answered with 413."
        max_json_depth: usize = "100", "1" ..= "10000";
            "How deep the JSON of a payload may be nested."
        strict_event_types: bool = "false";
            "Whether events of a type that nobody registered are refused."
    }
    delivery: Delivery {
        schedule: Schedule = "0s,5s,5m,30m,2h,5h,10h,14h,20h,1d";
            "The waits before each attempt, for endpoints that set none; after the last a delivery becomes a dead letter."
        timeout: Duration = "15s", "100ms" ..= "10m";
            "How long an endpoint may take to answer, where it sets none."
        slack: Duration = "1d", "1s" ..= "30d";
            "How long beyond its schedule a delivery may wait for limits and breakers before it becomes a dead letter."
        in_flight: u32 = "2048", "8" ..= "100000";
            "Attempts in flight at once, over all endpoints."
        in_flight_per_endpoint: u32 = "64", "1" ..= "10000";
            "Attempts in flight at once to one endpoint, where it sets no limit; what it bears may be fewer."
        answering_share: u32 = "25", "0" ..= "90";
            "Percent of the attempts in flight that only endpoints which answer may use."
        memory: Bytes = "64MiB", "1MiB" ..= "64GiB";
            "Memory for deliveries that were read and not finished; beyond it the longest lanes are parked. Where only our own sockets are short and endpoints answer quickly, reading waits instead, up to ten seconds."
        breaker_failures: u32 = "5", "1" ..= "10000";
            "Failures in a row that open an endpoint's breaker. It also opens when nine in ten of at least 20 attempts within 30 s failed."
        breaker_wait: Duration = "2s", "100ms" ..= "1h";
            "How long a breaker that opened waits for its probe; doubles with each failed probe, up to breaker_longest_wait."
        breaker_longest_wait: Duration = "5m", "100ms" ..= "1d";
            "The longest wait for a probe."
        disable_failing_after: Option<Duration> = "5d";
            "How long an endpoint may fail without a single success before it is disabled."
        drain: Duration = "20s", "0s" ..= "10m";
            "How long attempts in flight may take to finish after SIGTERM; what is cut off is sent again."
    }
    retention: Retention {
        events: Option<Duration> = "90d";
            "How long events and whom they went to are kept, since they were accepted."
        attempts: Option<Duration> = "90d";
            "How long attempts are kept."
        dead_letters: Option<Duration> = "90d";
            "How long dead letters are kept."
        idempotency_keys: Duration = "1d", "1h" ..= "30d";
            "How long an idempotency key is remembered."
    }
    http: Http {
        max_connections: usize = "10000", "10" ..= "1000000";
            "Connections that are served at once; further ones wait to be accepted."
        request_timeout: Duration = "30s", "1s" ..= "10m";
            "How long one request may take, from its headers to its answer."
        drain: Duration = "10s", "0s" ..= "10m";
            "How long requests in flight may take to finish after SIGTERM."
    }
    admin: Admin {
        listen: Option<SocketAddr> = "";
            "A listener of their own for /metrics and /health; without it they are answered where the API is."
    }
    logs: Logs {
        format: LogFormat = "text";
            "How the process logs, on standard error."
        level: LogFilter = "info";
            "What it logs."
    }
}

/// What a record holds beside its payload, at most: how far the largest payload must lie below the largest record.
const ENVELOPE: Bytes = Bytes(128 << 10);

/// Values that are right one by one and wrong together. A key of `wrong` has its default here instead of what was given for
/// it, so nothing is said of it.
pub(super) fn contradictions(config: &Config, wrong: &[&str]) -> Vec<Problem> {
    let pairs = [
        (["listen", "admin.listen"], two_listeners(config)),
        (["ingest.max_payload", "log.record"], payload(config)),
        (
            ["delivery.breaker_wait", "delivery.breaker_longest_wait"],
            breaker(config),
        ),
        (
            ["retention.attempts", "delivery.disable_failing_after"],
            failing(config),
        ),
    ];
    let told: Vec<_> = pairs
        .into_iter()
        .filter(|(keys, _)| !keys.iter().any(|key| wrong.contains(key)))
        .filter_map(|(_, problem)| problem)
        .collect();
    if told.is_empty() && wrong.is_empty() {
        return refused_by_services(config).map(Problem::Together).collect();
    }
    told.into_iter().map(Problem::Together).collect()
}

fn two_listeners(config: &Config) -> Option<String> {
    let admin = config.admin.listen?;
    (admin == config.listen && admin.port() != 0).then(|| {
        format!(
            "admin.listen and listen are both {admin}: they must differ, or leave admin.listen out to answer both in \
             one place"
        )
    })
}

fn payload(config: &Config) -> Option<String> {
    let (payload, record) = (config.ingest.max_payload, config.log.record);
    (payload.0 + ENVELOPE.0 > record.0).then(|| {
        format!(
            "ingest.max_payload is {} and log.record {}: a record must have {} more than a payload, for what travels \
             with it",
            payload.toml(),
            record.toml(),
            ENVELOPE.toml()
        )
    })
}

fn breaker(config: &Config) -> Option<String> {
    let (first, longest) = (
        config.delivery.breaker_wait,
        config.delivery.breaker_longest_wait,
    );
    (first > longest).then(|| {
        format!(
            "delivery.breaker_wait is {} and delivery.breaker_longest_wait {}: the longest wait must not be below the \
             first",
            first.toml(),
            longest.toml()
        )
    })
}

/// How long an endpoint has failed is read from the attempts.
fn failing(config: &Config) -> Option<String> {
    let kept = config.retention.attempts?;
    let bears = config.delivery.disable_failing_after?;
    (kept <= bears).then(|| {
        format!(
            "retention.attempts is {} and delivery.disable_failing_after {}: attempts must be kept longer than an \
             endpoint may fail, which is read from them",
            kept.toml(),
            bears.toml()
        )
    })
}

/// What the services say of the options that the configuration makes, where nothing else was found.
fn refused_by_services(config: &Config) -> impl Iterator<Item = String> {
    let delivery = crate::options::delivery(config).check();
    let recorder = crate::options::recorder(config).check();
    let recorder: Vec<_> = recorder.iter().map(ToString::to_string).collect();
    delivery.into_iter().chain(recorder)
}
