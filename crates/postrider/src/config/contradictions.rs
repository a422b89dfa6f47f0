//! What goes wrong only together.

use super::error::Problem;
use super::kafka_kinds::GroupKind;
use super::keys::Config;
use super::kinds::{LogKind, StoreUrl};
use super::value::{Bytes, Value};

/// Keys, and what is wrong with their values together.
type Together = (&'static [&'static str], Option<String>);

/// What a record holds beside its payload, at most: how far the largest payload must lie below the largest record.
const ENVELOPE: Bytes = Bytes(128 << 10);

/// Values that are right one by one and wrong together. A key of `wrong` has its default here instead of what was given for
/// it, so nothing is said of it.
pub(super) fn all(config: &Config, wrong: &[&str]) -> Vec<Problem> {
    let mut pairs: Vec<Together> = vec![
        (&["listen", "admin.listen"], two_listeners(config)),
        (&["ingest.max_payload", "log.record"], payload(config)),
        (&["ingest.max_payload", "http.bodies"], bodies(config)),
        (
            &["delivery.breaker_wait", "delivery.breaker_longest_wait"],
            breaker(config),
        ),
        (
            &["retention.attempts", "delivery.disable_failing_after"],
            failing(config),
        ),
        (&["log.kind", "store.url"], engines(config)),
        (&["data", "store.url"], store_file(config)),
        (&["store.url", "store.call_timeout"], call(config)),
        (
            &["registry.snapshot", "registry.snapshot_key", "store.url"],
            snapshot(config),
        ),
        (
            &["traces.endpoint", "traces.sampling", "traces.headers"],
            traces(config),
        ),
    ];
    if config.log.kind == LogKind::Kafka {
        pairs.extend(kafka(config));
    }
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

/// Large bodies may hold three quarters, and a payload comes in an envelope.
fn bodies(config: &Config) -> Option<String> {
    let (payload, bodies) = (config.ingest.max_payload, config.http.bodies);
    (payload.0.saturating_mul(2) > bodies.0).then(|| {
        format!(
            "ingest.max_payload is {} and http.bodies {}: bodies that are being received must have room for two such \
             payloads at least",
            payload.toml(),
            bodies.toml()
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

/// Each process with an embedded log would deliver for all endpoints of a store that it shares with others, and nothing
/// would keep a second one from being started.
fn engines(config: &Config) -> Option<String> {
    let refused =
        config.log.kind == LogKind::Embedded && matches!(config.store.url, StoreUrl::Postgres(_));
    refused.then(|| {
        "log.kind is embedded and store.url PostgreSQL: the embedded log belongs to one process and so must its store; \
         set log.kind to kafka, or leave store.url out"
            .to_owned()
    })
}

/// What is no place for the store in SQLite.
fn store_file(config: &Config) -> Option<String> {
    let StoreUrl::Sqlite(path) = &config.store.url else {
        return None;
    };
    let of_log = |name: &str| path.starts_with(config.data.join(name));
    if ["log.db", "log.db-wal", "log.db-shm", "log.lock"]
        .into_iter()
        .any(of_log)
    {
        return Some(format!(
            "store.url is {}, which belongs to the embedded log: the store is a file of its own; leave store.url out for {}, \
             or name another file",
            path.display(),
            config.data.join("store.db").display()
        ));
    }
    path.is_dir().then(|| {
        format!(
            "store.url is {}, which is a directory: name a file in it, such as sqlite:{}",
            path.display(),
            path.join("store.db").display()
        )
    })
}

fn call(config: &Config) -> Option<String> {
    let store = &config.store;
    let parts = store.acquire_timeout + store.statement_timeout + store.lock_timeout;
    (store.call_timeout < parts).then(|| {
        format!(
            "store.call_timeout is {}: it must not be below store.acquire_timeout, store.statement_timeout and \
             store.lock_timeout together ({})",
            store.call_timeout.toml(),
            parts.toml()
        )
    })
}

/// A file without its key, a key without its file, and a file that nobody would need.
fn snapshot(config: &Config) -> Option<String> {
    let registry = &config.registry;
    match (&registry.snapshot, &registry.snapshot_key) {
        (Some(_), None) => Some(
            "registry.snapshot is set and registry.snapshot_key is not: the file holds secrets, so it is sealed; \
             `openssl rand -base64 32` makes a key"
                .to_owned(),
        ),
        (None, Some(_)) => Some(
            "registry.snapshot_key is set and registry.snapshot is not: say which file is sealed with it, or leave it out"
                .to_owned(),
        ),
        (Some(_), Some(_)) if config.store.url.is_sqlite() => Some(
            "registry.snapshot is set and the store is SQLite: that lies on this machine itself, and is never away; leave \
             registry.snapshot out"
                .to_owned(),
        ),
        _ => None,
    }
}

/// What would have no effect.
fn traces(config: &Config) -> Option<String> {
    let traces = &config.traces;
    let wanted = traces.sampling.ratio() > 0.0 || traces.headers.is_some();
    (traces.endpoint.is_none() && wanted).then(|| {
        "traces.sampling or traces.headers are set and traces.endpoint is not: say where spans are sent, or leave them out"
            .to_owned()
    })
}

/// Where the log is Kafka.
fn kafka(config: &Config) -> Vec<Together> {
    let kafka = &config.kafka;
    let writes = kafka.queue_wait + kafka.delivery_timeout;
    let claim = std::time::Duration::from_secs(10);
    let brokers = kafka.brokers.is_empty().then(|| {
        "log.kind is kafka and log.kafka.brokers empty: say where some of the brokers are (HOST:PORT,HOST:PORT)"
            .to_owned()
    });
    let replicas = (kafka.min_insync_replicas > kafka.replication).then(|| {
        format!(
            "log.kafka.min_insync_replicas is {} and log.kafka.replication {}: no more copies can be in sync than there are",
            kafka.min_insync_replicas, kafka.replication
        )
    });
    let writing = (writes > claim).then(|| {
        format!(
            "log.kafka.queue_wait and log.kafka.delivery_timeout are {} together: an event must be written within {}",
            writes.toml(),
            claim.toml()
        )
    });
    let heartbeat = (kafka.group_protocol == GroupKind::Classic
        && kafka.heartbeat * 3 > kafka.session_timeout)
        .then(|| {
            format!(
                "log.kafka.heartbeat is {} and log.kafka.session_timeout {}: at most a third of it",
                kafka.heartbeat.toml(),
                kafka.session_timeout.toml()
            )
        });
    vec![
        (&["log.kind", "log.kafka.brokers"], brokers),
        (
            &["log.kafka.min_insync_replicas", "log.kafka.replication"],
            replicas,
        ),
        (
            &["log.kafka.queue_wait", "log.kafka.delivery_timeout"],
            writing,
        ),
        (
            &["log.kafka.heartbeat", "log.kafka.session_timeout"],
            heartbeat,
        ),
        (
            &[
                "log.kafka.protocol",
                "log.kafka.username",
                "log.kafka.password",
            ],
            sasl(config),
        ),
        (
            &["log.kafka.protocol", "log.kafka.key_password"],
            tls(config),
        ),
    ]
}

fn sasl(config: &Config) -> Option<String> {
    let kafka = &config.kafka;
    let given = (kafka.username.is_some(), kafka.password.is_some());
    let protocol = kafka.protocol.toml();
    match (kafka.protocol.has_sasl(), given) {
        (true, (true, true)) | (false, (false, false)) => None,
        (true, _) => Some(format!(
            "log.kafka.protocol is {protocol}: it needs log.kafka.username and log.kafka.password"
        )),
        (false, _) => Some(format!(
            "log.kafka.protocol is {protocol} and log.kafka.username or log.kafka.password given: they are used with \
             sasl_plaintext and sasl_ssl only"
        )),
    }
}

fn tls(config: &Config) -> Option<String> {
    let kafka = &config.kafka;
    let given = [&kafka.ca, &kafka.certificate, &kafka.key];
    let any = given.iter().any(|file| file.is_some()) || kafka.key_password.is_some();
    if any && !kafka.protocol.has_tls() {
        return Some(format!(
            "log.kafka.protocol is {} and log.kafka.ca, certificate, key or key_password given: they are used with ssl \
             and sasl_ssl only",
            kafka.protocol.toml()
        ));
    }
    (kafka.certificate.is_some() != kafka.key.is_some()).then(|| {
        "one of log.kafka.certificate and log.kafka.key is given: a certificate is nothing without its key, so give both"
            .to_owned()
    })
}

/// What the services say of the options that the configuration makes, where nothing else was found.
fn refused_by_services(config: &Config) -> impl Iterator<Item = String> {
    let delivery = crate::options::delivery(config).check();
    let recorder = crate::options::recorder(config).check();
    let recorder: Vec<_> = recorder.iter().map(ToString::to_string).collect();
    let log = match config.log.kind {
        LogKind::Embedded => None,
        LogKind::Kafka => crate::kafka::refusal(config),
    };
    delivery.into_iter().chain(recorder).chain(log)
}
