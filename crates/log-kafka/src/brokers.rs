//! The brokers' own settings, as far as the log's promises rest on them.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::KafkaError;

use crate::asking::metadata;
use crate::member::METADATA_BYTES;
use crate::options::GroupProtocol;
use crate::topics::{connect, unreachable};
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
                Ok(resource) => faults.extend(setting_faults(options, id, &resource)),
                Err(code) => {
                    faults.push(format!("broker {id}: its settings cannot be read: {code}"))
                }
            }
        }
    }
    Ok(faults)
}

fn setting_faults(options: &Options, id: i32, resource: &ConfigResource) -> Vec<String> {
    let minutes = options.layout.retention.as_secs().div_ceil(60) + 1;
    let mut wanted = vec![
        (
            "offset.metadata.max.bytes",
            METADATA_BYTES as u64,
            "a position's map is cut to that",
        ),
        (
            "offsets.retention.minutes",
            minutes,
            "else a group forgets where it was while records still wait for it",
        ),
    ];
    if options.membership.protocol == GroupProtocol::Consumer {
        let lease = u64::try_from((options.lease * 3 / 2).as_millis()).unwrap_or(u64::MAX);
        wanted.push((
            "group.consumer.session.timeout.ms",
            lease,
            "a lease must end well before another member may take over",
        ));
    }
    let there = resource.entry_map();
    let mut faults = Vec::new();
    for (name, least, why) in wanted {
        let value = there.get(name).and_then(|entry| entry.value.as_deref());
        let enough = value
            .and_then(|value| value.parse::<u64>().ok())
            .is_none_or(|value| value >= least);
        if !enough {
            faults.push(format!(
                "broker {id}: {name} is {}, at least {least} is needed: {why}",
                value.unwrap_or("nothing")
            ));
        }
    }
    faults
}
