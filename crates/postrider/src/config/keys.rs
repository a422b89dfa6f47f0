//! Every key: its type, default, range and meaning. The one table behind the typed sections, `postrider config` and the
//! documentation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use postrider_model::Schedule;
use postrider_registry::SealKey;

use super::declare::{self, Key, keys};
use super::error::Problem;
use super::given::Given;
use super::kafka_kinds::{
    Brokers, GroupKind, Properties, SaslMechanism, SecurityProtocol, TopicPrefix, Word,
};
use super::kinds::{LogFilter, LogFormat, LogKind, StoreUrl};
use super::secret::Secret;
use super::trace_kinds::{Collector, SecretHeaders, ServiceName, Share};
use super::value::{Bytes, Value};

keys! {
    {
        data: PathBuf = "postrider-data";
            "Directory of everything that this process keeps: embedded log, SQLite store, operator's token. With Kafka and PostgreSQL nothing is kept there, and it is not made."
        listen: SocketAddr = "127.0.0.1:8071";
            "Where the API and the intake of events listen; a process whose roles have no routes answers health and metrics there."
    }
    log: Log in "log" {
        kind: LogKind = "embedded";
            "Which log carries the events: one in the data directory for a single process, or Apache Kafka for any number."
        record: Bytes = "8MiB", "1MiB" ..= "256MiB";
            "The largest record of the log: a payload with everything that travels with it. With Kafka topics are made to take it."
        tail: Bytes = "32MiB", "1MiB" ..= "4GiB";
            "Embedded log: what is kept in memory for readers, over all topics."
        wal: Bytes = "64MiB", "8MiB" ..= "4GiB";
            "Embedded log: how large the write-ahead log may grow before the writer pauses while it is emptied; at most an eighth of the disk. While another program reads log.db it may hold four times as much, before commits wait for that program."
        reserve: Bytes = "128MiB", "16MiB" ..= "1TiB";
            "Embedded log: free disk space below which new events are refused with 507, so that what is inside can still be finished; at most a quarter of the disk."
        max: Option<Bytes> = "none";
            "Embedded log: how much it may hold before new events are refused, log.reserve included; what was accepted may take more for a while, to be finished."
    }
    kafka: Kafka in "log.kafka" {
        brokers: Brokers = "";
            "Some of the brokers; the others are found by these. Needed where log.kind is kafka."
        topic_prefix: TopicPrefix = "postrider.";
            "Stands before the name of every topic and group, so that several installations can share a cluster."
        create_topics: bool = "true";
            "Whether topics that are missing are created at start; otherwise `postrider topics apply` does."
        partitions: u32 = "16", "1" ..= "10000";
            "Partitions of each topic: more processes of a role than this have no work. The owners of endpoints depend on it: it is not changed while anything runs."
        replication: u32 = "3", "1" ..= "16";
            "Copies of each partition of topics that are created."
        min_insync_replicas: u32 = "2", "1" ..= "16";
            "How many copies must be in sync before a record counts as written."
        retention: Duration = "6d", "2d" ..= "365d";
            "How long topics keep what is to be read; the brokers must keep the positions of groups for longer (offsets.retention.minutes, 7d by default). Twice the longest wait (1d) and the longest outage that is to be borne, together, at least."
        protocol: SecurityProtocol = "plaintext";
            "How connections to the brokers are secured."
        ca: Option<PathBuf> = "";
            "TLS: certificates (PEM) of those who are trusted to sign the brokers'; without it the system's."
        certificate: Option<PathBuf> = "";
            "TLS: our own certificate (PEM), where brokers ask for one."
        key: Option<PathBuf> = "";
            "TLS: the key (PEM) of our certificate."
        key_password: Option<Secret> = "";
            "TLS: what that key is encrypted with."
        sasl_mechanism: SaslMechanism = "scram-sha-512";
            "SASL: how the password is proved."
        username: Option<Word> = "";
            "SASL: who we are."
        password: Option<Secret> = "";
            "SASL: the password."
        group_protocol: GroupKind = "consumer";
            "How members of a group find each other: consumer is KIP-848, whose session timeout the brokers decide (group.consumer.session.timeout.ms); classic the older one. All processes must use the same."
        session_timeout: Duration = "6s", "3s" ..= "30m";
            "Classic protocol: a process that was silent for so long has left. Brokers have bounds of their own (group.min.session.timeout.ms)."
        heartbeat: Duration = "1s", "100ms" ..= "1m";
            "Classic protocol: how often a process says that it is there."
        instance_id: Option<Word> = "";
            "A name of this process that is the same after a restart and nobody else's (up to 200 of a-z, A-Z, 0-9, '.', '_' and '-'): with it a short restart moves no partition. Each reader adds the first topic that it reads, since a process may have several in one group. Without stable names leave it out."
        lease: Duration = "3s", "1500ms" ..= "1m";
            "How long after its last acknowledged commit a partition may be worked on: two thirds of the session timeout at most, and with the protocol consumer shorter than that by two heartbeats (group.consumer.heartbeat.interval.ms) at least."
        queue: Bytes = "8MiB", "1MiB" ..= "1GiB";
            "What may be on its way to the brokers; beyond it callers wait, and beyond four times as much they are refused."
        queue_wait: Duration = "2s", "0s" ..= "10s";
            "How long a caller waits for room before it is refused."
        delivery_timeout: Duration = "8s", "1s" ..= "10s";
            "How long a record may be on its way before it counts as not written."
        linger: Duration = "1ms", "0s" ..= "1s";
            "How long a record waits for others to share its request."
        fetch: Bytes = "16MiB", "1MiB" ..= "4GiB";
            "What each reader may hold in memory of records that it was sent and has not yet read."
        properties: Properties = "";
            "Further properties of librdkafka; in a file also a table, [log.kafka.properties]. Those that Postrider's promises rest on are refused."
    }
    store: Store in "store" {
        url: StoreUrl = "";
            "Where configuration, history and dead letters are kept. SQLite goes with the embedded log, PostgreSQL with Kafka; Kafka with SQLite only where one process plays every role that needs the store."
        max_connections: u32 = "16", "2" ..= "1000";
            "PostgreSQL: connections of this process, at most; one of them is for the feed of configuration alone."
        acquire_timeout: Duration = "5s", "100ms" ..= "1m";
            "PostgreSQL: how long a call waits for a connection before the store counts as away."
        statement_timeout: Duration = "15s", "100ms" ..= "10m";
            "PostgreSQL: how long the server works on one statement, at most."
        lock_timeout: Duration = "5s", "100ms" ..= "10m";
            "PostgreSQL: how long a statement waits for a lock, at most."
        call_timeout: Duration = "25s", "1s" ..= "30m";
            "PostgreSQL: how long a call lasts, at most, though the server does not even say no; as long as the other three together, at least."
    }
    registry: Registry in "registry" {
        snapshot: Option<PathBuf> = "";
            "PostgreSQL: a file, one for each process, in which the configuration of applications, endpoints and tokens is kept, sealed, so that a start goes on with it while the store is away. Without it such a start waits for the store."
        snapshot_key: Option<SealKey> = "";
            "What that file is sealed with; `openssl rand -base64 32` makes one. A file that was sealed with another key is not used."
        snapshot_max_age: Duration = "1d", "1m" ..= "30d";
            "How old what that file holds may be for a start to go on with it: what was changed or revoked since is not known to it."
    }
    egress: Egress in "egress" {
        allow: Vec<IpNet> = "";
            "Networks that endpoints may lie in beside the public ones."
        require_https: bool = "true";
            "Whether an endpoint's URL must begin with https."
    }
    ingest: Ingest in "ingest" {
        max_payload: Bytes = "1MiB", "1KiB" ..= "64MiB";
            "The largest payload of an event; larger ones are answered with 413."
        max_json_depth: usize = "100", "1" ..= "10000";
            "How deep the JSON of a payload may be nested."
        strict_event_types: bool = "false";
            "Whether events of a type that nobody registered are refused."
    }
    api: Api in "api" {
        max_endpoints: usize = "10000", "1" ..= "1000000";
            "How many endpoints an application may have: one more is answered with 409. Every process holds all of them in memory. What is there already stays."
    }
    delivery: Delivery in "delivery" {
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
        parked: Option<Bytes> = "none";
            "How much may be parked for one endpoint; beyond it the oldest that come round become dead letters, at twice as much what is new, too. With none 4GiB, or an eighth of log.max where that is less."
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
    retention: Retention in "retention" {
        events: Option<Duration> = "90d";
            "How long events and whom they went to are kept, since they were accepted."
        attempts: Option<Duration> = "90d";
            "How long attempts are kept."
        dead_letters: Option<Duration> = "90d";
            "How long dead letters are kept."
        idempotency_keys: Duration = "1d", "1h" ..= "30d";
            "How long an idempotency key is remembered."
    }
    http: Http in "http" {
        max_connections: usize = "10000", "10" ..= "1000000";
            "Connections that are served at once. For a further one the connection is closed that has been without a request longest, for a second at least; while there is none it waits."
        bodies: Bytes = "64MiB", "4MiB" ..= "1TiB";
            "What the bodies of requests may hold together while they are being received; beyond it they are refused with 503. What comes as a whole counts for nothing, and a quarter is for those up to 16 KiB. At least twice ingest.max_payload; three times that by itself where it is more than the default."
        request_timeout: Duration = "30s", "1s" ..= "10m";
            "How long one request may take, from its headers to its answer."
        leave: Duration = "1s", "0s" ..= "5m";
            "How long requests are still taken after SIGTERM, while /health/ready says no and each answer asks for its connection to be closed: clients with open connections leave meanwhile, and balancers that ask for readiness, if it is longer than they take to see it."
        drain: Duration = "10s", "0s" ..= "10m";
            "How long requests in flight may take to finish after that."
    }
    admin: Admin in "admin" {
        listen: Option<SocketAddr> = "";
            "A listener of their own for /metrics and /health; without it they are answered where the API is."
    }
    logs: Logs in "logs" {
        format: LogFormat = "text";
            "How the process logs, on standard error."
        level: LogFilter = "info";
            "What it logs."
    }
    traces: Traces in "traces" {
        endpoint: Option<Collector> = "";
            "Where spans are sent by OTLP over HTTP (protobuf), such as http://collector:4318; /v1/traces is added. Without it nothing is traced, and a producer's trace context is passed on as it came."
        headers: Option<SecretHeaders> = "";
            "Headers that the collector wants to see, such as a token; in a file they may be a table."
        sampling: Share = "0", "0" ..= "1";
            "The share of the traces that begin here which is sampled; what a producer began is as the producer sampled it."
        service_name: ServiceName = "postrider";
            "What the service is called in traces."
        queue: usize = "8192", "64" ..= "1000000";
            "Spans that may wait to be sent; what ends beyond them is dropped and counted."
        timeout: Duration = "5s", "100ms" ..= "1m";
            "How long the collector may take to answer. It is not waited for when the process stops: what is left is sent for a second at most."
    }
}
