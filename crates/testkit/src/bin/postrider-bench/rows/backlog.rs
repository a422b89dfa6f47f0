//! What a dead endpoint's backlog costs: memory, and its neighbours' latency.
//!
//! Two servers, one with the backlog and one without, are probed in turns; the one that is not probed is
//! stopped meanwhile, so that it cannot disturb the other's figure.

use std::time::Duration;

use anyhow::Result;
use postrider_testkit::Refusing;
use serde_json::json;

use super::isolation::limit;
use super::{megabytes, number};
use crate::Bench;
use crate::platform::{Platform, spec};
use crate::report::{Figure, Report, median, progress};

/// Events a second sent to the neighbour.
const RATE: u64 = 50;
/// Events before the first measurement, so that the server has the memory that work needs.
const WARM_UP: u64 = 5_000;
/// How long a server may work off what it has taken in.
const SETTLE: Duration = Duration::from_secs(60);

/// Many deliveries waiting for one dead endpoint.
pub(super) async fn backlog(bench: &Bench, report: &mut Report) -> Result<()> {
    let dead = Refusing::bind()?;
    let laden = neighbour(bench, "/ok/laden").await?;
    let free = neighbour(bench, "/ok/free").await?;
    free.pause()?;
    let growth = lay_up(bench, &laden, &dead.url()?).await?;
    report.add(growth);

    let (mut ratios, mut controls, mut from) = (Vec::new(), Vec::new(), Vec::new());
    laden.pause()?;
    for round in 0..bench.scale.latency_pairs {
        let mut p99 = [0.0; 3];
        for turn in 0..3 {
            let which = (turn + round) % 3;
            let (platform, path) = match which {
                1 => (&laden, "/ok/laden"),
                _ => (&free, "/ok/free"),
            };
            platform.proceed().await?;
            p99[which] = probe(bench, platform, path).await?;
            platform.pause()?;
        }
        let [none, some, again] = p99;
        progress(&format!(
            "  p99: no backlog {none:.1} ms, backlog {some:.1} ms, none {again:.1} ms"
        ));
        ratios.push(some / none);
        controls.push(again / none);
        from.push(json!({ "none_ms": none, "backlog_ms": some, "again_ms": again }));
    }
    report.add(Figure {
        what: format!(
            "{} waiting: p99 of a neighbour ÷ without",
            bench.scale.backlog
        ),
        value: median(&ratios),
        unit: "",
        to_reach: Some(limit(&controls)),
        from: json!(from),
    });
    Ok(())
}

/// A warm server with one healthy endpoint, which takes events of type `bench.0`.
async fn neighbour(bench: &Bench, path: &str) -> Result<Platform> {
    let platform = Platform::start(bench, &[]).await?;
    let url = bench.receiver.url(path);
    platform.endpoint(&url, Some("bench.0")).await?;
    platform
        .load_until(bench, (1, 0.0, WARM_UP), (path, WARM_UP))
        .await?;
    platform.settle(SETTLE).await?;
    Ok(platform)
}

/// Publishes the backlog. Returns what it cost in memory.
async fn lay_up(bench: &Bench, platform: &Platform, dead: &str) -> Result<Figure> {
    let before = platform.rss()?;
    let app = platform.api.create_app("dead").await?;
    platform
        .api
        .create_endpoint(&app, &spec(dead, None))
        .await?;
    let loaded = platform.load_to(&app, 1, 0.0, bench.scale.backlog).await?;
    progress(&format!(
        "  {} events taken in within {:.0} s",
        loaded.accepted, loaded.seconds
    ));
    platform.settle(SETTLE).await?;
    let (after, peak) = (platform.rss()?, platform.peak_rss()?);
    Ok(Figure {
        what: format!(
            "{} waiting for a dead endpoint: growth of RSS",
            bench.scale.backlog
        ),
        value: megabytes(after.saturating_sub(before)),
        unit: "MB",
        to_reach: Some(64.0),
        from: json!({ "before_mb": megabytes(before), "after_mb": megabytes(after), "peak_mb": megabytes(peak) }),
    })
}

/// p99 of the healthy endpoint, in ms.
async fn probe(bench: &Bench, platform: &Platform, path: &str) -> Result<f64> {
    // What the pause left behind is worked off first.
    platform
        .load_until(bench, (1, number(RATE), 3 * RATE), (path, 3 * RATE))
        .await?;
    bench.receiver.clear().await?;
    let events = RATE * bench.scale.latency_run.as_secs();
    platform
        .load_until(bench, (1, number(RATE), events), (path, events))
        .await?;
    let delay = bench.receiver.stats(path).await?.delay;
    Ok(number(delay.p99_us) / 1e3)
}
