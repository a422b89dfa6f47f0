//! The brokers: whether they are there, let us in, and are as the log's promises need them.

use std::time::Duration;

use postrider_log_kafka::{
    LogMetrics, OpenError, Options, check_brokers, check_topics, missing_topics, newest_records,
    reach,
};
use postrider_metrics::Registry as Metrics;
use postrider_model::{Clock as _, Event, Record, SystemClock, topics};

use super::{Finding, access, clock};
use crate::access as needs;
use crate::config::Config;
use crate::kafka;
use crate::roles::Role;

/// How long brokers may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// `roles` are those of which it is asked whether they may do what they have to.
pub(super) async fn examine(
    config: &Config,
    roles: Option<&[Role]>,
) -> anyhow::Result<Vec<Finding>> {
    let options = kafka::options(config, LogMetrics::register(&Metrics::new())?);
    let ids = match reach(&options, ANSWER).await {
        Ok(ids) => ids,
        Err(error) => return Ok(vec![away(&error)]),
    };
    let mut findings = vec![brokers(&ids, config)];
    let missing = missing_topics(&options).await.unwrap_or_default();
    match check_topics(&options).await {
        Err(error) => findings.push(away(&error)),
        Ok(faults) if faults.is_empty() => findings.push(Finding::ok(
            "topics",
            format!(
                "all {} are there, as they are configured",
                options.topics.len()
            ),
        )),
        Ok(faults) if missing.len() == options.topics.len() => {
            findings.push(none_there(&faults, config));
        }
        Ok(faults) => findings.extend(access::sorted(faults, "topics", topic)),
    }
    match check_brokers(&options).await {
        Err(error) => findings.push(away(&error)),
        Ok(faults) if faults.is_empty() => findings.push(Finding::ok(
            "brokers' settings",
            "they keep positions and sessions for as long as is needed",
        )),
        Ok(faults) => findings.extend(access::sorted(faults, "brokers' settings", setting)),
    }
    if !missing.is_empty() {
        return Ok(findings);
    }
    let Some(roles) = roles else {
        findings.push(clocks(&options).await);
        return Ok(findings);
    };
    let access = needs::of(roles.iter().copied());
    findings.extend(access::examine(&options, &access).await);
    // By the newest events, which not every role may read.
    if access.reads.contains(&topics::EVENTS) {
        findings.push(clocks(&options).await);
    }
    Ok(findings)
}

fn setting(fault: String) -> Finding {
    Finding::wrong(
        "brokers' settings",
        fault,
        "change it on the brokers (server.properties, or kafka-configs.sh --entity-type brokers)",
    )
}

/// By the newest events, of those that processes of ours accepted and of others.
async fn clocks(options: &Options) -> Finding {
    let newest = match newest_records(options, topics::EVENTS).await {
        Ok(newest) => newest,
        Err(error) => return away(&error),
    };
    let of = |record: &Record| clock::Newest {
        stamped: record.appended_at,
        accepted: Event::is_own(record)
            .then(|| Event::from_record(record).ok())
            .flatten()
            .map(|event| event.accepted_at),
    };
    let newest: Vec<_> = newest.iter().map(of).collect();
    clock::judge_brokers(SystemClock.now(), &newest)
}

/// One that is alone cannot hold the copies that are asked of topics.
fn brokers(ids: &[i32], config: &Config) -> Finding {
    let seen = match ids.len() {
        1 => format!("1 answers ({})", config.kafka.brokers),
        count => format!("{count} answer ({})", config.kafka.brokers),
    };
    let copies = config.kafka.replication as usize;
    if ids.len() < copies {
        return Finding::wrong(
            "brokers",
            format!("{seen}, and log.kafka.replication asks for {copies} copies of each partition"),
            "start the others, or lower log.kafka.replication and log.kafka.min_insync_replicas",
        );
    }
    if config.kafka.min_insync_replicas < 2 {
        return Finding::warning(
            "brokers",
            format!(
                "{seen}; log.kafka.min_insync_replicas is 1: what is acknowledged may be on one disk only"
            ),
            "for what must not be lost: three brokers, log.kafka.replication 3 and log.kafka.min_insync_replicas 2",
        );
    }
    Finding::ok("brokers", seen)
}

/// Before a first start this is as it should be.
fn none_there(faults: &[String], config: &Config) -> Finding {
    let seen = format!(
        "none of the {} is there, behind the prefix \"{}\"",
        faults.len(),
        config.kafka.topic_prefix.0
    );
    if config.kafka.create_topics {
        return Finding::warning(
            "topics",
            seen,
            "the first start makes them, or `postrider topics apply`; if there was one before, the prefix is another",
        );
    }
    Finding::wrong("topics", seen, "run `postrider topics apply`")
}

fn topic(fault: String) -> Finding {
    let advice = if fault.ends_with("does not exist") {
        "run `postrider topics apply`; or, where brokers ask what a user may do, let ours describe it"
    } else if fault.contains("partitions") {
        "docs/cluster.md says how the number of partitions is changed"
    } else if fault.contains("copies") {
        "give the topic more copies (kafka-reassign-partitions.sh), or lower log.kafka.replication to what is meant"
    } else {
        "change the topic (kafka-configs.sh --entity-type topics), or the configuration"
    };
    Finding::wrong("topics", fault, advice)
}

pub(super) fn away(error: &OpenError) -> Finding {
    let advice = match error {
        OpenError::Refused { .. } => {
            "check log.kafka.protocol, username, password and sasl_mechanism, that log.kafka.ca is the authority that signed \
             the brokers' certificates and the brokers' names are the ones in them, and that log.kafka.certificate, where \
             brokers ask for one, is signed by an authority that they trust"
        }
        OpenError::Unreachable { .. } => {
            "check log.kafka.brokers, that they run and may be reached from here, and that log.kafka.protocol is the one of \
             that listener"
        }
        OpenError::Options(_) | OpenError::Client(_) => "change the configuration",
        OpenError::Topics(_) => "run `postrider topics check`",
    };
    Finding::wrong("brokers", error.to_string(), advice)
}
