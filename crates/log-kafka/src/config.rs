//! What librdkafka is told.

use std::time::Duration;

use postrider_log::Topic;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use secrecy::ExposeSecret;

use crate::options::{GroupProtocol, Mechanism, Options, Security};

/// What a record may take beside its key, headers and value: their lengths and the batch around them.
pub(crate) const FRAMING_BYTES: usize = 64 << 10;

/// How long a broker may wait with an answer that has nothing in it. A partition that is added waits for the request that is
/// under way.
const FETCH_WAIT: Duration = Duration::from_millis(100);

/// What is asked for of a partition at once where nothing waits for it: librdkafka's own default.
const FETCH_BYTES: usize = 1 << 20;

/// How long brokers wait for a member to give up what is wanted of it before they take everything from it: librdkafka's
/// least, where a session is not longer; by default that takes five minutes. With KIP-848 librdkafka 2.12 repeats a
/// heartbeat whose answer came too late as it was, and brokers tell what they want only once, so a member that missed it
/// keeps its partitions until this is over. With the classic protocol all members own nothing meanwhile. A drain takes
/// seconds, and the member's thread polls all the time.
const GIVES_UP_WITHIN: (&str, Duration) = ("max.poll.interval.ms", Duration::from_secs(45));

/// Properties that an operator cannot set: a promise rests on each, or it has an option of its own.
const FIXED: [&str; 29] = [
    "acks",
    "request.required.acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "sasl.password",
    "session.timeout.ms",
    "transactional.id",
];

pub(crate) fn fixed(property: &str) -> bool {
    FIXED.contains(&property)
}

/// What every client of the cluster is told.
pub(crate) fn base(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set_log_level(RDKafkaLogLevel::Info)
        // A partition that had no leader for a moment may be passed over by librdkafka until it asks for all leaders again
        // (its issue 5430), which by default is after five minutes.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // Reconnects soon: a broker that restarts is back within seconds.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true");
    for (name, value) in &options.properties {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &options.brokers);
    secure(&mut config, &options.security);
    config
}

fn secure(config: &mut ClientConfig, security: &Security) {
    let protocol = match (&security.tls, &security.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        let files = [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file.to_string_lossy());
            }
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", password.expose_secret());
        }
    }
    if let Some(sasl) = &security.sasl {
        let mechanism = match sasl.mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config
            .set("sasl.mechanism", mechanism)
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.expose_secret());
    }
}

pub(crate) fn producer(options: &Options) -> ClientConfig {
    let mut config = base(options);
    let largest = options.record_bytes + FRAMING_BYTES;
    // Room is counted by ourselves; librdkafka's own bound only has to lie above it.
    let queue_kib = (2 * (options.queue_bytes + largest)) >> 10;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.max.bytes", largest.to_string())
        .set(
            "message.timeout.ms",
            options.delivery_timeout.as_millis().to_string(),
        )
        .set("linger.ms", options.linger.as_millis().to_string())
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", queue_kib.to_string());
    config
}

/// What each of so many partitions may hold of what one reader may, in bytes. librdkafka's bound holds for each partition's
/// queue; at worst all are one reader's.
fn share(options: &Options, queues: usize) -> usize {
    (options.fetch_bytes / queues.max(1)).max(64 << 10)
}

/// A consumer that commits nothing by itself and never chooses by itself where to go on. It reads one partition, if any.
pub(crate) fn consumer(options: &Options, group: &str) -> ClientConfig {
    consumer_of(options, group, 1)
}

/// One that reads so many partitions.
pub(crate) fn consumer_of(options: &Options, group: &str, queues: usize) -> ClientConfig {
    let share = share(options, queues);
    let mut config = base(options);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", FETCH_WAIT.as_millis().to_string())
        // A partition whose queue was full is asked for again so soon.
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.max.messages.kbytes", (share >> 10).to_string())
        .set("fetch.message.max.bytes", share.min(FETCH_BYTES).to_string());
    config
}

/// What reads for a member, so many partitions at most, records that may wait so long for others. In no group: `group` has
/// no members.
pub(crate) fn fetcher(
    options: &Options,
    group: &str,
    queues: usize,
    patience: Duration,
) -> ClientConfig {
    let mut config = consumer_of(options, group, queues);
    let share = share(options, queues);
    config.set("fetch.message.max.bytes", share.to_string());
    if !patience.is_zero() {
        // All may lie in one partition, and more than its share of it is not looked at.
        config.set("fetch.min.bytes", (share / 2).to_string()).set(
            "fetch.wait.max.ms",
            patience.min(FETCH_WAIT).as_millis().to_string(),
        );
    }
    config
}

/// A member of a group that reads these topics.
pub(crate) fn member(options: &Options, group: &str, topics: &[Topic]) -> ClientConfig {
    let mut config = consumer(options, group);
    config
        // It reads nothing. What it may ask for before its partitions are paused is to be little.
        .set("fetch.message.max.bytes", "1024")
        .set("queued.min.messages", "1");
    let (name, mut gives_up_within) = GIVES_UP_WITHIN;
    match options.membership.protocol {
        GroupProtocol::Consumer => {
            config
                .set("group.protocol", "consumer")
                // With equal numbers of partitions, partition n of each topic goes to the same member.
                .set("group.remote.assignor", "range");
        }
        GroupProtocol::Classic {
            session_timeout,
            heartbeat,
        } => {
            gives_up_within = gives_up_within.max(session_timeout);
            config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "range")
                .set(
                    "session.timeout.ms",
                    session_timeout.as_millis().to_string(),
                )
                .set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        }
    }
    if !options.properties.contains_key(name) {
        config.set(name, gives_up_within.as_millis().to_string());
    }
    if let (Some(id), Some(first)) = (&options.membership.instance_id, topics.first()) {
        // Fan-out and the pump have two members each in their groups, which read different topics: each needs a name of its
        // own, that is the same after a restart.
        config.set("group.instance.id", format!("{id}.{first}"));
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics;

    #[test]
    fn every_client_asks_for_leaders_again_soon_unless_it_is_configured_otherwise() {
        const KEY: &str = "topic.metadata.refresh.interval.ms";
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        let mut options = Options::new("127.0.0.1:9", topics::all(), metrics);
        let all = |options: &Options| {
            let clients = [
                producer(options),
                member(options, "group", &[topics::EVENTS]),
                fetcher(options, "nobody", 1, std::time::Duration::ZERO),
                consumer(options, "nobody"),
            ];
            clients.map(|client| client.get(KEY).unwrap().to_owned())
        };
        assert_eq!(all(&options), ["10000"; 4]);
        options
            .properties
            .insert(KEY.to_owned(), "60000".to_owned());
        assert_eq!(all(&options), ["60000"; 4]);
    }

    #[test]
    fn whoever_reads_holds_no_more_than_a_reader_may() {
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        let options = Options::new("127.0.0.1:9", topics::all(), metrics);
        for (queues, client) in [
            (1, consumer(&options, "nobody")),
            (16, consumer_of(&options, "nobody", 16)),
            (16, fetcher(&options, "nobody", 16, Duration::ZERO)),
            (1, member(&options, "group", &[topics::EVENTS])),
        ] {
            let bytes = |name| client.get(name).unwrap().parse::<usize>().unwrap();
            let held = bytes("queued.max.messages.kbytes") << 10;
            assert!(queues * held <= options.fetch_bytes);
            // What is under way comes on top of what is there.
            assert!(bytes("fetch.message.max.bytes") <= held);
            client.create::<rdkafka::consumer::BaseConsumer>().unwrap();
        }
    }

    #[test]
    fn a_member_that_missed_what_is_wanted_of_it_keeps_it_for_less_than_a_minute() {
        let (name, time) = GIVES_UP_WITHIN;
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        let mut options = Options::new("127.0.0.1:9", topics::all(), metrics);
        let given = |options: &Options| {
            let member = member(options, "group", &[topics::EVENTS]);
            member.get(name).unwrap().to_owned()
        };
        assert_eq!(given(&options), time.as_millis().to_string());
        options
            .properties
            .insert(name.to_owned(), "60000".to_owned());
        assert_eq!(given(&options), "60000");
        options.properties.clear();
        // A session may be longer, and librdkafka takes no shorter time than that.
        for (session, time) in [(6, "45000"), (300, "300000")] {
            options.membership.protocol = GroupProtocol::Classic {
                session_timeout: Duration::from_secs(session),
                heartbeat: Duration::from_secs(1),
            };
            assert_eq!(given(&options), time);
            member(&options, "group", &[topics::EVENTS])
                .create::<rdkafka::consumer::BaseConsumer>()
                .unwrap();
        }
    }
}
