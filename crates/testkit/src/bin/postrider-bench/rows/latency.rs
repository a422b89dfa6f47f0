//! From the moment that an event was meant to be sent until it has come, at a steady rate.

use std::time::Duration;

use anyhow::Result;
use postrider_testkit::{Quantiles, bare_round_trip};
use serde::Serialize;
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
        let most = |fsync: Beside| (fsync.p50_ms + 2.0, fsync.p99_ms + 6.0);
        add(report, rate, "an fsync", most, &runs);
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
        runs.push((arrivals, Beside::of(p50, p99)));
    }
    let most = |bare: Beside| (2.0 * bare.p50_ms + 3.0, 2.0 * bare.p99_ms + 3.0);
    add(report, RATE, "a bare round trip", most, &runs);
    Ok(())
}

/// One run: fsyncs before, deliveries, fsyncs after.
async fn run(
    bench: &Bench,
    platform: &Platform,
    prefix: &str,
    rate: u64,
) -> Result<(Quantiles, Beside)> {
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
    Ok((arrivals, Beside::of(fsyncs.p50_us, fsyncs.p99_us)))
}

/// What is measured beside deliveries, to judge them by.
#[derive(Clone, Copy, Debug, Serialize)]
struct Beside {
    p50_ms: f64,
    p99_ms: f64,
}

impl Beside {
    fn of(p50_us: u64, p99_us: u64) -> Self {
        Self {
            p50_ms: number(p50_us) / 1e3,
            p99_ms: number(p99_us) / 1e3,
        }
    }
}

/// Adds the medians of `runs`; `most` says what p50 and p99 are to be at most, in ms, from those of `beside`.
fn add(
    report: &mut Report,
    rate: u64,
    beside: &str,
    most: impl Fn(Beside) -> (f64, f64),
    runs: &[(Quantiles, Beside)],
) {
    let middle =
        |of: &dyn Fn(&(Quantiles, Beside)) -> f64| median(&runs.iter().map(of).collect::<Vec<_>>());
    let bare = Beside {
        p50_ms: middle(&|run| run.1.p50_ms),
        p99_ms: middle(&|run| run.1.p99_ms),
    };
    let (most_p50, most_p99) = most(bare);
    let arrival = "accept to arrival";
    for (what, quantile, value, to_reach) in [
        (
            arrival,
            "p50",
            middle(&|run| number(run.0.p50_us) / 1e3),
            Some(most_p50),
        ),
        (
            arrival,
            "p99",
            middle(&|run| number(run.0.p99_us) / 1e3),
            Some(most_p99),
        ),
        (&*format!("{beside} beside it"), "p50", bare.p50_ms, None),
        (&*format!("{beside} beside it"), "p99", bare.p99_ms, None),
    ] {
        report.add(Figure {
            what: format!("{rate} events/s: {what}, {quantile}"),
            value,
            unit: "ms",
            to_reach,
            from: json!(runs),
        });
    }
}
