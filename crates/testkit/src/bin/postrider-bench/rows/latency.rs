//! From the moment that an event was meant to be sent until it has come, at a steady rate.

use std::time::Duration;

use anyhow::Result;
use postrider_testkit::{Quantiles, bare_round_trip};
use serde_json::json;

use super::number;
use crate::Bench;
use crate::engine::Servers;
use crate::fsync;
use crate::platform::Platform;
use crate::report::{Figure, Report, median, progress};

/// Repetitions, of which the median counts.
const RUNS: usize = 3;
/// fsyncs measured before and after each run.
const PROBES: u64 = 300;

/// At 100 and at 300 events a second, beside an fsync; on Kafka at 100, beside a bare round trip.
pub(super) async fn open_loop(bench: &Bench, report: &mut Report) -> Result<()> {
    if let Some(servers) = &bench.servers {
        return beside_round_trips(bench, servers, report).await;
    }
    for rate in [100_u64, 300] {
        let platform = Platform::start(bench, &[]).await?;
        let prefix = format!("/ok/open-{rate}/");
        platform
            .endpoint(&bench.receiver.url(&prefix), None)
            .await?;
        platform
            .load_until(bench, (1, number(rate), rate), (&prefix, rate))
            .await?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(run(bench, &platform, &prefix, rate).await?);
        }
        add(report, rate, &runs);
    }
    Ok(())
}

/// On Kafka: deliveries, and records that nothing of ours handles, in turns.
async fn beside_round_trips(bench: &Bench, servers: &Servers, report: &mut Report) -> Result<()> {
    const RATE: u64 = 100;
    // A broker is warm after some tens of thousands of requests.
    const WARM_UP: u64 = 3_000;
    const BARE_WARM_UP: u64 = 5;
    let platform = Platform::start(bench, &[]).await?;
    let prefix = "/ok/open-kafka/";
    platform.endpoint(&bench.receiver.url(prefix), None).await?;
    platform
        .load_until(bench, (1, number(RATE) * 3.0, WARM_UP), (prefix, WARM_UP))
        .await?;
    let seconds = bench.scale.open_run.as_secs();
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let topic = format!("bare-{run}");
        let bare = (BARE_WARM_UP, seconds);
        let (p50, p99) = bare_round_trip(&servers.broker(), &topic, RATE, bare).await?;
        bench.receiver.clear().await?;
        let count = RATE * seconds;
        platform
            .load_until(bench, (1, number(RATE), count), (prefix, count))
            .await?;
        let arrivals = bench.receiver.stats(prefix).await?.delay;
        progress(&format!(
            "  {RATE}/s: arrival p50 {} p99 {} µs, bare round trip p50 {p50} p99 {p99} µs",
            arrivals.p50_us, arrivals.p99_us
        ));
        runs.push((arrivals, p50, p99));
    }
    let middle = |of: &dyn Fn(&(Quantiles, u64, u64)) -> u64| {
        median(
            &runs
                .iter()
                .map(|run| number(of(run)) / 1e3)
                .collect::<Vec<_>>(),
        )
    };
    let (bare_p50, bare_p99) = (middle(&|run| run.1), middle(&|run| run.2));
    for (what, value, to_reach) in [
        (
            "accept to arrival, p50",
            middle(&|run| run.0.p50_us),
            Some(2.0 * bare_p50 + 3.0),
        ),
        (
            "accept to arrival, p99",
            middle(&|run| run.0.p99_us),
            Some(2.0 * bare_p99 + 3.0),
        ),
        ("a bare round trip beside it, p50", bare_p50, None),
        ("a bare round trip beside it, p99", bare_p99, None),
    ] {
        report.add(Figure {
            what: format!("{RATE} events/s: {what}"),
            value,
            unit: "ms",
            to_reach,
            from: json!(runs),
        });
    }
    Ok(())
}

/// One run: fsyncs before, deliveries, fsyncs after.
async fn run(
    bench: &Bench,
    platform: &Platform,
    prefix: &str,
    rate: u64,
) -> Result<(Quantiles, Quantiles)> {
    platform.settle(Duration::from_secs(10)).await?;
    let directory = platform.data();
    let mut fsyncs = tokio::task::block_in_place(|| fsync::probe(directory, PROBES))?;
    bench.receiver.clear().await?;
    let count = rate * bench.scale.open_run.as_secs();
    platform
        .load_until(bench, (1, number(rate), count), (prefix, count))
        .await?;
    let arrivals = bench.receiver.stats(prefix).await?.delay;
    fsyncs.extend(tokio::task::block_in_place(|| {
        fsync::probe(directory, PROBES)
    })?);
    let fsyncs = Quantiles::of(fsyncs);
    progress(&format!(
        "  {rate}/s: arrival p50 {} p99 {} µs, fsync p50 {} p99 {} µs",
        arrivals.p50_us, arrivals.p99_us, fsyncs.p50_us, fsyncs.p99_us
    ));
    Ok((arrivals, fsyncs))
}

fn add(report: &mut Report, rate: u64, runs: &[(Quantiles, Quantiles)]) {
    let middle = |of: &dyn Fn(&(Quantiles, Quantiles)) -> u64| {
        let values: Vec<_> = runs.iter().map(|run| number(of(run)) / 1e3).collect();
        median(&values)
    };
    let from: Vec<_> = runs
        .iter()
        .map(|(arrivals, fsyncs)| json!({ "arrivals": arrivals, "fsyncs": fsyncs }))
        .collect();
    let fsync_p50 = middle(&|run| run.1.p50_us);
    let fsync_p99 = middle(&|run| run.1.p99_us);
    for (what, value, to_reach) in [
        (
            "accept to arrival, p50",
            middle(&|run| run.0.p50_us),
            Some(fsync_p50 + 2.0),
        ),
        (
            "accept to arrival, p99",
            middle(&|run| run.0.p99_us),
            Some(fsync_p99 + 6.0),
        ),
        ("an fsync beside it, p50", fsync_p50, None),
        ("an fsync beside it, p99", fsync_p99, None),
    ] {
        report.add(Figure {
            what: format!("{rate} events/s: {what}"),
            value,
            unit: "ms",
            to_reach,
            from: json!(from),
        });
    }
}
