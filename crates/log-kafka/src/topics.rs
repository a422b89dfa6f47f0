//! The topics on the cluster: creating them, and comparing what is there with what is configured.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_log::Keep;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::asking::metadata;
use crate::catalog::{Catalog, Entry};
use crate::config::{self, FRAMING_BYTES};
use crate::{OpenError, Options};

/// For one question to the controller.
const ASK: Duration = Duration::from_secs(30);

pub(crate) type Admin = AdminClient<DefaultClientContext>;

/// What Kafka knows of one topic.
struct Found {
    partitions: usize,
    /// Of the partition that has fewest.
    replicas: usize,
}

/// Creates the topics that are missing, with their partitions, copies and settings. What exists is not changed. Returns
/// the names of those that were created.
///
/// # Errors
/// If the brokers do not answer or refuse.
pub async fn ensure_topics(options: &Options) -> Result<Vec<String>, OpenError> {
    options.check()?;
    let (admin, catalog) = (connect(options)?, Catalog::new(options));
    let found = find(options).await?;
    let missing = catalog
        .entries()
        .iter()
        .filter(|entry| !found.contains_key(&entry.name));
    let missing: Vec<&Entry> = missing.collect();
    let settings: Vec<Vec<(&str, String)>> = missing
        .iter()
        .map(|entry| settings(options, entry))
        .collect();
    let mut new = Vec::new();
    for (entry, settings) in missing.iter().zip(&settings) {
        let partitions = i32::try_from(entry.partitions).unwrap_or(i32::MAX);
        let copies = i32::try_from(options.layout.replication).unwrap_or(i32::MAX);
        let topic = NewTopic::new(&entry.name, partitions, TopicReplication::Fixed(copies));
        new.push(
            settings
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value)),
        );
    }
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let created = admin
        .create_topics(&new, &asking())
        .await
        .map_err(|error| unreachable(options, &error))?;
    let mut names = Vec::new();
    let mut refused = Vec::new();
    for result in created {
        match result {
            Ok(name) => names.push(name),
            // Another process was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => refused.push(format!(
                "{name} could not be created, or is there and may not be described: {code}"
            )),
        }
    }
    match refused.is_empty() {
        true => Ok(names),
        false => Err(OpenError::Topics(refused)),
    }
}

/// The names of the topics that the cluster does not know, or not yet: what was created a moment ago takes a moment.
///
/// # Errors
/// If the brokers do not answer or refuse.
pub async fn missing_topics(options: &Options) -> Result<Vec<String>, OpenError> {
    options.check()?;
    let (catalog, found) = (Catalog::new(options), find(options).await?);
    let names = catalog.entries().iter().map(|entry| entry.name.clone());
    Ok(names.filter(|name| !found.contains_key(name)).collect())
}

/// Compares the topics on the cluster with the configuration, and says in words what differs.
///
/// # Errors
/// If the brokers do not answer or refuse.
pub async fn check_topics(options: &Options) -> Result<Vec<String>, OpenError> {
    options.check()?;
    let (admin, catalog) = (connect(options)?, Catalog::new(options));
    let found = find(options).await?;
    let mut faults = count_faults(options, &catalog, &found);
    let there: Vec<&Entry> = catalog
        .entries()
        .iter()
        .filter(|entry| found.contains_key(&entry.name))
        .collect();
    let asked: Vec<ResourceSpecifier<'_>> = there
        .iter()
        .map(|entry| ResourceSpecifier::Topic(&entry.name))
        .collect();
    if there.is_empty() {
        return Ok(faults);
    }
    let described = admin
        .describe_configs(&asked, &asking())
        .await
        .map_err(|error| unreachable(options, &error))?;
    for (entry, described) in there.iter().zip(described) {
        match described {
            // A user who may not see them is told that there are none.
            Ok(resource) if resource.entries.is_empty() => {
                faults.push(format!("{}: {HIDDEN}", entry.name));
            }
            Ok(resource) => faults.extend(setting_faults(options, entry, &resource)),
            Err(code) => faults.push(format!(
                "{}: its settings cannot be read: {code}",
                entry.name
            )),
        }
    }
    Ok(faults)
}

/// Fails unless every topic is there with the configured number of partitions: who owns what depends on it.
pub(crate) async fn require(options: &Options, catalog: &Catalog) -> Result<(), OpenError> {
    let found = find(options).await?;
    let mut faults = count_faults(options, catalog, &found);
    faults.retain(|fault| !is_bearable(fault));
    match faults.is_empty() {
        true => Ok(()),
        false => Err(OpenError::Topics(faults)),
    }
}

/// Said of what has settings that brokers do not tell.
pub(crate) const HIDDEN: &str = "its settings are not told to our user (DescribeConfigs)";

/// Marks a difference with which the log can run.
const COPIES: &str = "copies of each partition";
/// Likewise: what is compacted later only takes whoever takes it over longer to read.
const LATER: &str = "until that is set, takeovers take longer";

/// True if the log runs with this difference, and as safely.
#[must_use]
pub fn is_bearable(fault: &str) -> bool {
    fault.contains(COPIES) || fault.contains(LATER)
}

fn count_faults(
    options: &Options,
    catalog: &Catalog,
    found: &BTreeMap<String, Found>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for Entry {
        name, partitions, ..
    } in catalog.entries()
    {
        let Some(found) = found.get(name) else {
            faults.push(format!("{name} does not exist"));
            continue;
        };
        if found.partitions != *partitions as usize {
            faults.push(format!(
                "{name} has {} partitions, the configuration says {partitions}: set the configuration to what is there, \
                 or drain the topic and create it anew",
                found.partitions
            ));
        }
        if found.replicas < options.layout.replication as usize {
            faults.push(format!(
                "{name} has {} {COPIES}, the configuration says {}",
                found.replicas, options.layout.replication
            ));
        }
    }
    faults
}

fn setting_faults(options: &Options, entry: &Entry, resource: &ConfigResource) -> Vec<String> {
    let there = resource.entry_map();
    let mut faults = Vec::new();
    for (name, wanted) in settings(options, entry) {
        let value = there
            .get(name)
            .and_then(|entry| entry.value.as_deref())
            .unwrap_or("nothing");
        // More than is needed does no harm, and what is compacted sooner none either.
        let compacts = COMPACTS.contains(&name);
        let enough = match name {
            "max.message.bytes" | "min.insync.replicas" | "retention.ms" | "retention.bytes" => {
                at_least(value, &wanted)
            }
            _ if compacts => at_most(value, &wanted),
            _ => value == wanted,
        };
        if !enough {
            let so = if compacts { "; " } else { "" };
            let later = if compacts { LATER } else { "" };
            faults.push(format!(
                "{}: {name} is {value}, the configuration wants {wanted}{so}{later}",
                entry.name
            ));
        }
    }
    faults
}

/// What makes brokers compact a topic sooner.
const COMPACTS: [&str; 4] = [
    "segment.bytes",
    "segment.ms",
    "min.cleanable.dirty.ratio",
    "max.compaction.lag.ms",
];

/// Sizes and times; -1 is without bound.
fn at_least(value: &str, wanted: &str) -> bool {
    let number = |text: &str| match text.parse::<i64>() {
        Ok(-1) => i64::MAX,
        Ok(number) => number,
        Err(_) => i64::MIN,
    };
    number(value) >= number(wanted)
}

/// Sizes, times and shares.
fn at_most(value: &str, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (number(value), number(wanted)) {
        (Some(value), Some(wanted)) => value <= wanted,
        _ => false,
    }
}

/// So long after it was written a state that another has followed is removed, at the latest.
const COMPACTED_WITHIN: Duration = Duration::from_secs(600);

/// Brokers leave the segment alone that is written to; it is at least as large as a record may be.
const SEGMENT_BYTES: usize = 16 << 20;

/// What makes brokers compact a topic soon. Whoever takes endpoints over reads all of it before the first attempt, and by
/// default up to 1 GiB of each partition, or what came in seven days, is never looked at.
fn compacted(options: &Options) -> [(&'static str, String); 5] {
    let within = COMPACTED_WITHIN.as_millis().to_string();
    let segment = SEGMENT_BYTES.max(options.record_bytes + FRAMING_BYTES);
    [
        ("cleanup.policy", "compact".to_owned()),
        ("segment.bytes", segment.to_string()),
        ("segment.ms", within.clone()),
        ("min.cleanable.dirty.ratio", "0.1".to_owned()),
        ("max.compaction.lag.ms", within),
    ]
}

/// What a topic is to be set to.
fn settings(options: &Options, entry: &Entry) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        (
            "min.insync.replicas",
            options.layout.min_insync_replicas.to_string(),
        ),
        // A copy that was not in sync and becomes the leader takes back what was acknowledged.
        ("unclean.leader.election.enable", "false".to_owned()),
        (
            "max.message.bytes",
            (options.record_bytes + FRAMING_BYTES).to_string(),
        ),
    ];
    let retention = match entry.spec.keep {
        Keep::Newest => {
            settings.extend(compacted(options));
            return settings;
        }
        Keep::UntilFinished(_) => options.layout.retention,
        Keep::For(time) => time,
    };
    settings.push(("cleanup.policy", "delete".to_owned()));
    settings.push(("retention.ms", retention.as_millis().to_string()));
    settings.push(("retention.bytes", "-1".to_owned()));
    settings
}

pub(crate) fn connect(options: &Options) -> Result<Admin, OpenError> {
    let admin = Admin::from_config(&config::base(options));
    admin.map_err(|error| OpenError::of_client(options, error))
}

fn asking() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ASK))
        .operation_timeout(Some(ASK))
}

pub(crate) fn unreachable(options: &Options, error: &KafkaError) -> OpenError {
    OpenError::Unreachable {
        brokers: options.brokers.clone(),
        reason: error.to_string(),
    }
}

/// Every topic of the cluster. Asked for all at once: asking for one that is missing may create it.
async fn find(options: &Options) -> Result<BTreeMap<String, Found>, OpenError> {
    let blocking = options.clone();
    let asked =
        tokio::task::spawn_blocking(move || -> Result<BTreeMap<String, Found>, OpenError> {
            let metadata = metadata(&blocking)?;
            let found = metadata.topics().iter().map(|topic| {
                let replicas = topic
                    .partitions()
                    .iter()
                    .map(|partition| partition.replicas().len())
                    .min();
                let found = Found {
                    partitions: topic.partitions().len(),
                    replicas: replicas.unwrap_or_default(),
                };
                (topic.name().to_owned(), found)
            });
            Ok(found.collect())
        });
    asked
        .await
        .map_err(|error| unreachable(options, &KafkaError::AdminOpCreation(error.to_string())))?
}
