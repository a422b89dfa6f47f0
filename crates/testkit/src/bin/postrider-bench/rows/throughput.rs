//! CPU of a delivery, in units of a bare request; and the memory that takes.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{megabytes, number};
use crate::Bench;
use crate::bare::Bare;
use crate::platform::Platform;
use crate::report::{Figure, Report, median, progress};

/// As many connections to the receiver as the bare loop has, over all endpoints.
pub(super) const CONNECTIONS: (&str, &str) = ("DELIVERY__IN_FLIGHT", "64");

/// What one run of the platform came to.
pub(super) struct Run {
    pub(super) platform_us: f64,
    /// Of each of the platform's processes, in the order in which they were started.
    processes_us: Vec<f64>,
    /// Of the broker and of the database, on Kafka.
    servers_us: Option<(f64, f64)>,
    pub(super) seconds: f64,
    peak_rss: u64,
    load_cpu: f64,
    receiver_cpu: f64,
    /// Spans that the collector took, and that were dropped, of the process that is spoken to.
    pub(super) exported: u64,
    pub(super) dropped: u64,
}

/// A run, and the bare loop beside it.
struct Pair {
    run: Run,
    bare_us: f64,
}

/// One endpoint.
pub(super) async fn single(bench: &Bench, report: &mut Report) -> Result<()> {
    let pairs = pairs(bench, 1, bench.scale.single_events).await?;
    add_ratios(report, "one endpoint", [6.0, 7.0, 10.0], &pairs);
    if bench.servers.is_some() {
        return Ok(());
    }
    let peak = pairs.iter().map(|pair| pair.run.peak_rss).max();
    report.add(Figure {
        what: "one endpoint: peak RSS".to_owned(),
        value: megabytes(peak.unwrap_or_default()),
        unit: "MB",
        to_reach: Some(100.0),
        from: json!(
            pairs
                .iter()
                .map(|pair| megabytes(pair.run.peak_rss))
                .collect::<Vec<_>>()
        ),
    });
    Ok(())
}

/// Ten endpoints for each event.
pub(super) async fn fanout(bench: &Bench, report: &mut Report) -> Result<()> {
    let pairs = pairs(bench, 10, bench.scale.fanout_events).await?;
    add_ratios(report, "fan-out of ten", [2.5, 3.0, 4.0], &pairs);
    Ok(())
}

async fn pairs(bench: &Bench, endpoints: u64, events: u64) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for run in 0..bench.scale.cpu_pairs {
        let pair = pair(bench, endpoints, events, run).await?;
        progress(&format!(
            "  {:.1} µs a delivery, {:.1} µs a bare request; {:.0} deliveries/s, peak {:.0} MB",
            pair.run.platform_us,
            pair.bare_us,
            number(events * endpoints) / pair.run.seconds,
            megabytes(pair.run.peak_rss)
        ));
        pairs.push(pair);
    }
    Ok(pairs)
}

async fn pair(bench: &Bench, endpoints: u64, events: u64, number: usize) -> Result<Pair> {
    let prefix = format!("/ok/{endpoints}-{number}/");
    let run = run(
        bench,
        &[CONNECTIONS],
        &prefix,
        (endpoints, events),
        number == 0,
    )
    .await?;
    let count = (events * endpoints).min(100_000);
    let bare = Bare::measure(&bench.receiver.url("/bare"), count).await?;
    Ok(Pair {
        run,
        bare_us: bare.us_each(),
    })
}

/// Delivers `events` to so many endpoints, at paths below `prefix`, by a platform of its own. The first of all warms a
/// broker up.
pub(super) async fn run(
    bench: &Bench,
    settings: &[(&str, &str)],
    prefix: &str,
    (endpoints, events): (u64, u64),
    first: bool,
) -> Result<Run> {
    const SETTLE: Duration = Duration::from_secs(60);
    const WARM_UP: u64 = 500;
    let platform = Platform::start(bench, settings).await?;
    for endpoint in 0..endpoints {
        let url = bench.receiver.url(&format!("{prefix}{endpoint}"));
        platform.endpoint(&url, None).await?;
    }
    let load = async |events| {
        let deliveries = events * endpoints;
        let (load, arrivals) = ((1, 0.0, events), (prefix, deliveries));
        platform.load_until(bench, load, arrivals).await
    };
    load(WARM_UP).await?;
    platform.settle(SETTLE).await?;
    if first && bench.servers.is_some() {
        // To the end: what the recorder has not written yet would be charged to the first pair.
        let whole = async || {
            load(events).await?;
            platform.settle(SETTLE).await
        };
        warm(&platform, whole).await?;
    }

    let (apart, receiver) = (platform.cpu_apart()?, bench.receiver.cpu()?);
    let servers = platform.servers_cpu()?;
    let began = std::time::Instant::now();
    let deliveries = events * endpoints;
    let loaded = load(events).await?;
    let seconds = began.elapsed().as_secs_f64();
    let receiver_cpu = bench.receiver.cpu()? - receiver;
    // The recorder and the trimmer work on after the last arrival: their CPU counts.
    platform.settle(SETTLE).await?;
    let each = |seconds: f64| seconds * 1e6 / number(deliveries);
    let spent = platform.cpu_apart()?.into_iter().zip(apart);
    let processes_us: Vec<f64> = spent.map(|(to, from)| each(to - from)).collect();
    let platform_us = processes_us.iter().sum();
    let servers_us = servers.zip(platform.servers_cpu()?).map(|(from, to)| {
        let broker = each(to.broker - from.broker);
        (broker, each(to.database - from.database))
    });
    let peak_rss = platform.peak_rss()?;
    let metrics = platform.api.metrics().await?;
    Ok(Run {
        platform_us,
        processes_us,
        servers_us,
        seconds,
        peak_rss,
        load_cpu: loaded.cpu_seconds,
        receiver_cpu,
        exported: spans(&metrics, "postrider_trace_spans_exported_total"),
        dropped: spans(&metrics, "postrider_trace_spans_dropped_total"),
    })
}

/// The sum of a counter over its labels; nothing of a server that has none.
fn spans(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(name));
    let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

/// Loads a broker until it has compiled itself: until two loads in a row cost it hardly less than the cheapest before.
async fn warm(platform: &Platform, load: impl AsyncFn() -> Result<()>) -> Result<()> {
    const LOADS: u32 = 12;
    const HARDLY: f64 = 0.95;
    let spent = || Ok::<_, anyhow::Error>(platform.servers_cpu()?.map_or(0.0, |cpu| cpu.broker));
    let (mut cheapest, mut no_cheaper) = (f64::INFINITY, 0);
    for _ in 0..LOADS {
        let from = spent()?;
        load().await?;
        let cost = spent()? - from;
        progress(&format!("  warming the broker up: {cost:.1} s of CPU"));
        no_cheaper = if cost < HARDLY * cheapest {
            0
        } else {
            no_cheaper + 1
        };
        if no_cheaper == 2 {
            break;
        }
        cheapest = cheapest.min(cost);
    }
    Ok(())
}

/// What is to be reached in one process; on Kafka by our processes alone, and with the broker and the database.
fn add_ratios(report: &mut Report, what: &str, to_reach: [f64; 3], pairs: &[Pair]) {
    let [embedded, alone, all] = to_reach;
    let what = format!("{what}: CPU of a delivery ÷ of a bare request");
    if pairs.iter().all(|pair| pair.run.servers_us.is_none()) {
        return add_ratio(report, what, embedded, pairs, |pair| pair.run.platform_us);
    }
    add_ratio(
        report,
        format!("{what}, ours alone"),
        alone,
        pairs,
        |pair| pair.run.platform_us,
    );
    add_ratio(
        report,
        format!("{what}, with servers"),
        all,
        pairs,
        |pair| {
            let (broker, database) = pair.run.servers_us.unwrap_or_default();
            pair.run.platform_us + broker + database
        },
    );
}

fn add_ratio(
    report: &mut Report,
    what: String,
    to_reach: f64,
    pairs: &[Pair],
    of: impl Fn(&Pair) -> f64,
) {
    let ratios: Vec<_> = pairs.iter().map(|one| of(one) / one.bare_us).collect();
    let from = pairs.iter().map(|one| {
        let (broker_us, database_us) = one.run.servers_us.unzip();
        json!({
            "platform_us": one.run.platform_us, "processes_us": one.run.processes_us, "broker_us": broker_us, "database_us": database_us,
            "bare_us": one.bare_us, "seconds": one.run.seconds,
            "load_cpu_seconds": one.run.load_cpu, "receiver_cpu_seconds": one.run.receiver_cpu,
        })
    });
    report.add(Figure {
        what,
        value: median(&ratios),
        unit: "",
        to_reach: Some(to_reach),
        from: from.collect(),
    });
}
