//! The log on Kafka: what the configuration makes of it.

use std::sync::Arc;
use std::time::Duration;

use postrider_log::Log;
use postrider_log_kafka::{
    GroupProtocol, KafkaLog, Layout, LogMetrics, Mechanism, Membership, OpenError, Options, Sasl,
    Security, Tls, ensure_topics, missing_topics,
};
use postrider_metrics::Registry as Metrics;
use postrider_model::topics;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::config::{Config, GroupKind, Kafka, SaslMechanism, Secret};

/// How long topics that were just created may take to be known to every broker.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Everything that the configuration says of it.
pub(crate) fn options(config: &Config, metrics: LogMetrics) -> Options {
    let kafka = &config.kafka;
    let defaults = Options::new(kafka.brokers.to_string(), topics::all(), metrics);
    Options {
        topic_prefix: kafka.topic_prefix.0.clone(),
        layout: Layout {
            partitions: kafka.partitions,
            replication: kafka.replication,
            min_insync_replicas: kafka.min_insync_replicas,
            retention: kafka.retention,
            ..defaults.layout
        },
        security: security(kafka),
        properties: kafka.properties.0.clone(),
        membership: Membership {
            protocol: protocol(kafka),
            instance_id: kafka.instance_id.as_ref().map(|name| name.0.clone()),
        },
        lease: kafka.lease,
        record_bytes: config.log.record.as_usize(),
        queue_bytes: kafka.queue.as_usize(),
        queue_wait: kafka.queue_wait,
        delivery_timeout: kafka.delivery_timeout,
        linger: kafka.linger,
        fetch_bytes: kafka.fetch.as_usize(),
        ..defaults
    }
}

fn protocol(kafka: &Kafka) -> GroupProtocol {
    match kafka.group_protocol {
        GroupKind::Consumer => GroupProtocol::Consumer,
        GroupKind::Classic => GroupProtocol::Classic {
            session_timeout: kafka.session_timeout,
            heartbeat: kafka.heartbeat,
        },
    }
}

fn security(kafka: &Kafka) -> Security {
    let secret = |secret: &Secret| SecretString::from(secret.expose());
    let tls = kafka.protocol.has_tls().then(|| Tls {
        ca: kafka.ca.clone(),
        certificate: kafka.certificate.clone(),
        key: kafka.key.clone(),
        key_password: kafka.key_password.as_ref().map(secret),
    });
    let credentials = kafka.username.as_ref().zip(kafka.password.as_ref());
    let sasl = credentials
        .filter(|_| kafka.protocol.has_sasl())
        .map(|(username, password)| Sasl {
            mechanism: match kafka.sasl_mechanism {
                SaslMechanism::Plain => Mechanism::Plain,
                SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
                SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
            },
            username: username.0.clone(),
            password: secret(password),
        });
    Security { tls, sasl }
}

/// What the log says of the options, before it is opened.
pub(crate) fn refusal(config: &Config) -> Option<String> {
    let metrics = LogMetrics::register(&Metrics::new()).ok()?;
    let refused = options(config, metrics).check().err()?;
    Some(refused.to_string())
}

/// Opens it; creates topics that are missing, if that is configured.
pub(crate) async fn open(config: &Config, metrics: LogMetrics) -> Result<Arc<dyn Log>, OpenError> {
    let options = options(config, metrics);
    if !config.kafka.create_topics {
        return Ok(Arc::new(KafkaLog::open(options).await?));
    }
    for name in create_topics(&options).await? {
        tracing::info!(topic = %name, "created");
    }
    Ok(Arc::new(KafkaLog::open(options).await?))
}

/// Creates the topics that are missing, and returns their names once they are known: whoever created them a moment ago,
/// not every broker knows of them yet. If they stay unknown, whoever needs them says so.
pub(crate) async fn create_topics(options: &Options) -> Result<Vec<String>, OpenError> {
    let created = ensure_topics(options).await?;
    let deadline = Instant::now() + KNOWN_WITHIN;
    while Instant::now() < deadline && !missing_topics(options).await?.is_empty() {
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Ok(created)
}
