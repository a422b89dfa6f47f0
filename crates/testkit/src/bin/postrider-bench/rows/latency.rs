//! From the moment that an event was meant to be sent until it has come, at a steady rate.

use std::time::Duration;

use anyhow::Result;
use postrider_testkit::Quantiles;
use serde_json::json;

use super::number;
use crate::Bench;
use crate::fsync;
use crate::platform::Platform;
use crate::report::{Figure, Report, median, progress};

/// Repetitions, of which the median counts.
const RUNS: usize = 3;
/// fsyncs measured before and after each run.
const PROBES: u64 = 300;

/// At 100 and at 300 events a second, beside an fsync.
pub(super) async fn open_loop(bench: &Bench, report: &mut Report) -> Result<()> {
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
