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
            "Memory for deliveries that were read and not finished; beyond it the longest lanes are parked."
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

/// Values that are right one by one and wrong together.
pub(super) fn contradictions(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(admin) = config
        .admin
        .listen
        .filter(|admin| *admin == config.listen && admin.port() != 0)
    {
        problems.push(Problem::Together(format!(
            "admin.listen and listen are both {admin}: they must differ, or leave admin.listen out to answer both in \
             one place"
        )));
    }
    let (payload, record) = (config.ingest.max_payload, config.log.record);
    if payload.0 + ENVELOPE.0 > record.0 {
        problems.push(Problem::Together(format!(
            "ingest.max_payload is {} and log.record {}: a record must have {} more than a payload, for what travels \
             with it",
            payload.toml(),
            record.toml(),
            ENVELOPE.toml()
        )));
    }
    problems.extend(refused_by_services(config));
    problems
}

/// What the services say of the options that the configuration makes.
fn refused_by_services(config: &Config) -> impl Iterator<Item = Problem> {
    let delivery = crate::options::delivery(config).check();
    let recorder = crate::options::recorder(config).check();
    let recorder = recorder.iter().map(ToString::to_string);
    delivery
        .into_iter()
        .chain(recorder.collect::<Vec<_>>())
        .map(Problem::Together)
}
