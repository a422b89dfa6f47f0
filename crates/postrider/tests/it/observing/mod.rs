//! Dashboards and alerts answer, and fire, by what a real Prometheus has of a real run.

mod alerts;
mod dashboards;
mod faults;
mod files;

use std::net::SocketAddr;

use postrider_testkit::{Prometheus, eventually};

pub(crate) use files::queries;

use crate::world::DEADLINE;
use files::RULES;

/// The disk of the machine that tests is not ours to judge.
const NOT_OURS: &str = "PostriderDiskFilling";

/// Alerts that judge an age of minutes, each with that and with one for which a test can wait.
const AGES: [(&str, &str, &str); 4] = [
    (
        "PostriderRegistryStale",
        "(postrider_registry_age_seconds) > 60",
        "(postrider_registry_age_seconds) > 6",
    ),
    (
        "PostriderOldestRecordTooOld",
        "{group=\"worker\"}))\n            > 300",
        "{group=\"worker\"}))\n            > 6",
    ),
    (
        "PostriderRecorderBehind",
        "{group=\"recorder\"}) > 120",
        "{group=\"recorder\"}) > 6",
    ),
    (
        "PostriderWaitingOverdue",
        "{topic=~\"retry[.].*\"}) > 120",
        "{topic=~\"retry[.].*\"}) > 6",
    ),
];

/// A Prometheus that scrapes servers and judges by our alerts, which wait no longer than it takes to tell a fault from an
/// answer that a busy machine gave too late.
pub(crate) async fn watching(servers: &[SocketAddr]) -> Prometheus {
    evaluating(servers, RULES).await
}

async fn evaluating(servers: &[SocketAddr], rules: &str) -> Prometheus {
    let waits = rules.lines().map(|line| {
        let wait = line.trim_start().starts_with("for: ");
        if wait { "        for: 10s" } else { line }
    });
    let impatient: Vec<_> = waits.collect();
    Prometheus::start(servers, &impatient.join("\n"))
        .await
        .unwrap()
}

/// Likewise, with [`AGES`] for which a test can wait.
pub(crate) async fn watching_closely(servers: &[SocketAddr]) -> Prometheus {
    let mut rules = RULES.to_owned();
    for (alert, minutes, seconds) in AGES {
        assert!(rules.contains(minutes), "{alert} does not say {minutes}");
        rules = rules.replacen(minutes, seconds, 1);
    }
    evaluating(servers, &rules).await
}

/// Waits until this alert fires.
pub(crate) async fn fires(prometheus: &Prometheus, alert: &str) {
    let what = format!("{alert} fires");
    let waited = eventually(&what, DEADLINE, async || {
        let firing = prometheus.firing().await.ok()?;
        firing.iter().any(|name| name == alert).then_some(())
    });
    waited.await.unwrap();
}

/// Waits until so much was seen that an alert would have fired, and holds that none does.
pub(crate) async fn none_fires(prometheus: &Prometheus) {
    let what = "the run has been watched for a while";
    let seen = eventually(what, DEADLINE, async || {
        let watched = "count_over_time(postrider_process_start_time_seconds[1m]) >= 13";
        let values = prometheus.query(watched).await.ok()?;
        (!values.is_empty()).then_some(())
    });
    seen.await.unwrap();
    let mut firing = prometheus.firing().await.unwrap();
    firing.retain(|alert| alert != NOT_OURS);
    assert!(firing.is_empty(), "a healthy run fires {firing:?}");
}
