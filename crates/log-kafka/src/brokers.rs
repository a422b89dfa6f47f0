//! The brokers' own settings, as far as the log's promises rest on them.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::KafkaError;

use crate::asking::metadata;
use crate::member::METADATA_BYTES;
use crate::options::GroupProtocol;
use crate::topics::{HIDDEN, connect, unreachable};
use crate::{OpenError, Options};

/// For one question.
const ASK: Duration = Duration::from_secs(30);

/// Compares the brokers' settings with what the log needs, and says in words what is wrong with them.
///
/// # Errors
/// If the brokers do not answer or refuse.
pub async fn check_brokers(options: &Options) -> Result<Vec<String>, OpenError> {
    options.check()?;
    let asked = options.clone();
    let ids = tokio::task::spawn_blocking(move || -> Result<Vec<i32>, OpenError> {
        Ok(metadata(&asked)?
            .brokers()
            .iter()
            .map(|broker| broker.id())
            .collect())
    });
    let ids = ids.await.map_err(|error| {
        let error = KafkaError::AdminOpCreation(error.to_string());
        unreachable(options, &error)
    })??;
    let mut faults = Vec::new();
    for id in ids {
        // Each broker tells of itself only.
        let asked = [ResourceSpecifier::Broker(id)];
        let admin = connect(options)?;
        let asking = AdminOptions::new().request_timeout(Some(ASK));
        let described = admin.describe_configs(&asked, &asking).await;
        for described in described.map_err(|error| unreachable(options, &error))? {
            match described {
                Ok(resource) if resource.entries.is_empty() => {
                    faults.push(format!("broker {id}: {HIDDEN}"));
                }
                Ok(resource) => faults.extend(setting_faults(options, id, &resource)),
                Err(code) => {
                    faults.push(format!("broker {id}: its settings cannot be read: {code}"))
                }
            }
        }
    }
    Ok(faults)
}

/// How often members of KIP-848 tell the brokers that they are there.
const HEARTBEAT: &str = "group.consumer.heartbeat.interval.ms";

/// What a broker's setting must be, and why.
struct Wanted {
    name: &'static str,
    least: u64,
    most: u64,
    why: &'static str,
}

impl Wanted {
    fn at_least(name: &'static str, least: u64, why: &'static str) -> Self {
        Self {
            name,
            least,
            most: u64::MAX,
            why,
        }
    }

    fn at_most(name: &'static str, most: u64, why: &'static str) -> Self {
        Self {
            name,
            least: 0,
            most,
            why,
        }
    }

    /// What is wrong with the value that broker `id` has. One that it does not tell is not judged.
    fn fault(&self, id: i32, value: Option<&str>) -> Option<String> {
        let value = value?;
        let number: u64 = value.parse().unwrap_or(0);
        let (least, most) = (self.least, self.most);
        let wanted = match number {
            number if number < least => format!("at least {least} is needed"),
            number if number > most => format!("at most {most} will do"),
            _ => return None,
        };
        let (name, why) = (self.name, self.why);
        Some(format!("broker {id}: {name} is {value}, {wanted}: {why}"))
    }
}

fn wanted(options: &Options, heartbeat: Duration) -> Vec<Wanted> {
    let minutes = options.layout.retention.as_secs().div_ceil(60) + 1;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut wanted = vec![
        Wanted::at_least(
            "offset.metadata.max.bytes",
            METADATA_BYTES as u64,
            "a position's map is cut to that",
        ),
        Wanted::at_least(
            "offsets.retention.minutes",
            minutes,
            "else a group forgets where it was while records still wait for it",
        ),
        Wanted::at_least(
            "offsets.topic.replication.factor",
            u64::from(options.layout.replication),
            "else a broker that is lost takes groups' positions with it, though the records are still there",
        ),
    ];
    match options.membership.protocol {
        GroupProtocol::Consumer => wanted.push(Wanted::at_least(
            "group.consumer.session.timeout.ms",
            // Only a heartbeat extends a session, and a lease may have been renewed just before the next was due.
            millis((options.lease * 3 / 2).max(options.lease + 2 * heartbeat)),
            "a lease must end well before another member may take over: half as long again, and two heartbeats longer \
             (group.consumer.heartbeat.interval.ms)",
        )),
        GroupProtocol::Classic {
            session_timeout, ..
        } => {
            let why = "else it refuses our session timeout, and nobody joins a group";
            let session = millis(session_timeout);
            wanted.push(Wanted::at_most(
                "group.min.session.timeout.ms",
                session,
                why,
            ));
            wanted.push(Wanted::at_least(
                "group.max.session.timeout.ms",
                session,
                why,
            ));
        }
    }
    wanted
}

fn setting_faults(options: &Options, id: i32, resource: &ConfigResource) -> Vec<String> {
    let there = resource.entry_map();
    let heartbeat = there
        .get(HEARTBEAT)
        .and_then(|entry| entry.value.as_deref());
    let heartbeat = heartbeat.and_then(|value| value.parse().ok());
    let heartbeat = Duration::from_millis(heartbeat.unwrap_or_default());
    let wanted = wanted(options, heartbeat).into_iter();
    let faults = wanted.filter_map(|wanted| {
        let entry = there.get(wanted.name)?;
        wanted.fault(id, entry.value.as_deref())
    });
    faults.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics;
    use rdkafka::admin::{ConfigEntry, ConfigSource, OwnedResourceSpecifier};

    /// As the brokers of Apache Kafka 4 are when nothing is set.
    const DEFAULTS: [(&str, &str); 7] = [
        ("offset.metadata.max.bytes", "4096"),
        ("offsets.retention.minutes", "10080"),
        ("offsets.topic.replication.factor", "3"),
        ("group.consumer.session.timeout.ms", "45000"),
        (HEARTBEAT, "5000"),
        ("group.min.session.timeout.ms", "6000"),
        ("group.max.session.timeout.ms", "1800000"),
    ];

    fn options(protocol: GroupProtocol) -> Options {
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        let mut options = Options::new("127.0.0.1:9", topics::all(), metrics);
        options.layout.retention = Duration::from_secs(6 * 86400);
        options.membership.protocol = protocol;
        options
    }

    /// What is said of a broker with these settings.
    fn told(options: &Options, settings: &[(&str, &str)]) -> Vec<String> {
        let entries = settings.iter().map(|(name, value)| ConfigEntry {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            source: ConfigSource::Default,
            is_read_only: false,
            is_default: true,
            is_sensitive: false,
        });
        let resource = ConfigResource {
            specifier: OwnedResourceSpecifier::Broker(4),
            entries: entries.collect(),
        };
        setting_faults(options, 4, &resource)
    }

    #[test]
    fn each_setting_of_a_broker_that_breaks_a_promise_is_named_alone_and_defaults_break_none() {
        let classic = GroupProtocol::Classic {
            session_timeout: Duration::from_secs(6),
            heartbeat: Duration::from_secs(1),
        };
        let new = GroupProtocol::Consumer;
        for (protocol, name, wrong, words) in [
            (
                new,
                "offset.metadata.max.bytes",
                "1024",
                "is 1024, at least 4096",
            ),
            (
                new,
                "offsets.retention.minutes",
                "1440",
                "is 1440, at least 8641",
            ),
            (
                new,
                "offsets.topic.replication.factor",
                "1",
                "is 1, at least 3",
            ),
            (
                new,
                "group.consumer.session.timeout.ms",
                "6000",
                "is 6000, at least 13000",
            ),
            (
                classic,
                "group.min.session.timeout.ms",
                "10000",
                "is 10000, at most 6000",
            ),
            (
                classic,
                "group.max.session.timeout.ms",
                "5000",
                "is 5000, at least 6000",
            ),
        ] {
            let options = options(protocol);
            assert_eq!(told(&options, &DEFAULTS), Vec::<String>::new());
            let settings =
                DEFAULTS.map(|(key, right)| (key, if key == name { wrong } else { right }));
            let told = told(&options, &settings);
            assert_eq!(told.len(), 1, "{told:?}");
            let expected = format!("broker 4: {name} {words}");
            assert!(told[0].starts_with(&expected), "{}", told[0]);
        }
    }

    #[test]
    fn a_session_outlasts_a_lease_that_was_renewed_just_before_a_heartbeat_was_due() {
        let options = options(GroupProtocol::Consumer);
        let told = |session, heartbeat| {
            let settings = [
                ("group.consumer.session.timeout.ms", session),
                (HEARTBEAT, heartbeat),
            ];
            told(&options, &settings).join("\n")
        };
        assert_eq!(told("6000", "1000"), "");
        assert!(told("6000", "2000").contains("is 6000, at least 7000"));
        assert!(told("45000", "30000").contains("is 45000, at least 63000"));
        // However often it is told.
        assert!(told("4000", "100").contains("is 4000, at least 4500"));
    }
}
