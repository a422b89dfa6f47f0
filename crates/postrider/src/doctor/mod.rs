//! What is wrong here, and what to do about it: each part of the configuration held against what is there. Nothing is
//! changed, so it may run beside a server.

mod access;
mod clock;
mod connections;
mod egress;
mod kafka;
mod log;
mod place;
mod snapshot;
mod store;

use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, LogKind};
use crate::roles::Role;

/// How long the pages of a file are read: those of gigabytes take longer than anybody waits.
const READ_FOR: Duration = Duration::from_secs(30);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It runs, and somebody should have a look.
    Warning,
    /// It does not run, or not as it is promised.
    Wrong,
}

/// What was found of one part.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The part, in a word or two.
    pub(crate) part: &'static str,
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

impl Finding {
    pub(crate) fn ok(part: &'static str, seen: impl Into<String>) -> Self {
        Self {
            part,
            verdict: Verdict::Ok,
            seen: seen.into(),
            advice: None,
        }
    }

    fn warning(part: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            part,
            verdict: Verdict::Warning,
            seen: seen.into(),
            advice: Some(advice.into()),
        }
    }

    pub(crate) fn wrong(
        part: &'static str,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            part,
            verdict: Verdict::Wrong,
            seen: seen.into(),
            advice: Some(advice.into()),
        }
    }
}

/// Looks at everything that this configuration names. `connections` are those to PostgreSQL of all processes together, if
/// somebody says how many that are; `roles` are those that are to be played with it, if somebody says which.
pub(crate) async fn examine(
    config: &Config,
    connections: Option<u32>,
    roles: Option<&[Role]>,
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = vec![Finding::ok(
        "configuration",
        "every value is one that its key takes, and they go together",
    )];
    let on_kafka = config.log.kind == LogKind::Kafka;
    if on_kafka {
        findings.extend(kafka::examine(config, roles).await?);
    } else {
        findings.push(log::examine(config).await?);
    }
    findings.extend(store::examine(config, connections).await);
    findings.extend(snapshot::examine(config)?);
    if !on_kafka || config.store.url.is_sqlite() {
        findings.extend(place::examine(config));
    }
    findings.extend(egress::examine(config));
    Ok(findings)
}
