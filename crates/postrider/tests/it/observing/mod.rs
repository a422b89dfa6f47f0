//! Dashboards and alerts answer, and fire, by what a real Prometheus has of a real run.

mod alerts;
mod dashboards;
mod faults;
mod files;

use std::net::SocketAddr;

use postrider_testkit::Prometheus;

pub(crate) use files::queries;

use files::RULES;

/// A Prometheus that scrapes servers and judges by our alerts, which wait no longer than it takes to tell a fault from an
/// answer that a busy machine gave too late.
pub(crate) async fn watching(servers: &[SocketAddr]) -> Prometheus {
    let waits = RULES.lines().map(|line| {
        let wait = line.trim_start().starts_with("for: ");
        if wait { "        for: 10s" } else { line }
    });
    let impatient: Vec<_> = waits.collect();
    Prometheus::start(servers, &impatient.join("\n"))
        .await
        .unwrap()
}
