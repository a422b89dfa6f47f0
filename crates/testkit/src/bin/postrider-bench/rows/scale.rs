//! What endpoints cost that do nothing, and what those cost that hang, in great number.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{megabytes, number};
use crate::Bench;
use crate::platform::{Platform, spec};
use crate::report::{Figure, Report, median, progress};

/// How long a server may work off what it has taken in.
const SETTLE: Duration = Duration::from_secs(60);
/// Endpoints of one application.
const IN_AN_APP: u64 = 1_000;
/// One attempt each, so that what hung is over when its time is; time enough to measure beside it; and sockets enough that
/// all hang at once: of them a quarter is kept for endpoints that answer, a third of the rest for those not tried yet.
const SETTINGS: [(&str, &str); 3] = [
    ("DELIVERY__SCHEDULE", "0s"),
    ("DELIVERY__TIMEOUT", "60s"),
    ("DELIVERY__IN_FLIGHT", "20000"),
];
/// The one healthy endpoint.
const PASSING: &str = "/ok/passing";

/// Idle endpoints, then hanging ones.
pub(super) async fn scale(bench: &Bench, report: &mut Report) -> Result<()> {
    let platform = Platform::start(bench, &SETTINGS).await?;
    platform
        .endpoint(&bench.receiver.url(PASSING), None)
        .await?;
    // Started anew, so that it has what every start brings, and no more.
    let platform = platform.restart().await?;
    let empty = warm_rss(bench, &platform).await?;
    let seconds = make_idle(bench, &platform).await?;
    let made = warm_rss(bench, &platform).await?;
    let platform = platform.restart().await?;
    let read = warm_rss(bench, &platform).await?;
    for (when, with) in [("as they were made", made), ("after a restart", read)] {
        // Each process knows all endpoints.
        let grown = empty.iter().zip(&with);
        let grown = grown.map(|(empty, with)| with.saturating_sub(*empty)).max();
        report.add(Figure {
            what: format!("{} idle endpoints: RSS of each, {when}", bench.scale.idle),
            value: number(grown.unwrap_or_default()) / number(bench.scale.idle),
            unit: "bytes",
            to_reach: Some(1_000.0),
            from: json!({ "without_bytes": empty, "with_bytes": with, "seconds_to_make": seconds }),
        });
    }
    hanging(bench, report, &platform).await
}

/// Registers the idle endpoints. Returns how many seconds that took.
async fn make_idle(bench: &Bench, platform: &Platform) -> Result<f64> {
    let began = Instant::now();
    for app in 0..bench.scale.idle.div_ceil(IN_AN_APP) {
        let id = platform.api.create_app(&format!("idle {app}")).await?;
        let urls = (0..IN_AN_APP).map(|n| bench.receiver.url(&format!("/ok/idle/{app}-{n}")));
        let specs = urls.map(|url| spec(&url, None)).collect();
        platform.endpoints(&id, specs).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    progress(&format!(
        "  {} endpoints made in {seconds:.0} s",
        bench.scale.idle
    ));
    Ok(seconds)
}

/// Memory of each process after the same little work.
async fn warm_rss(bench: &Bench, platform: &Platform) -> Result<Vec<u64>> {
    const WARM_UP: u64 = 2_000;
    platform
        .load_until(bench, (1, 0.0, WARM_UP), (PASSING, WARM_UP))
        .await?;
    platform.settle(SETTLE).await?;
    platform.rss_apart()
}

/// CPU of a delivery that passes many that hang, over CPU of one that passes none: what the reader spends on
/// a record is part of it, so if that grew, this would.
async fn hanging(bench: &Bench, report: &mut Report, platform: &Platform) -> Result<()> {
    let storm = platform.api.create_app("storm").await?;
    let urls = (0..bench.scale.hanging).map(|n| bench.receiver.url(&format!("/hang/storm/{n}")));
    let specs = urls.map(|url| spec(&url, None)).collect();
    platform.endpoints(&storm, specs).await?;
    let (mut ratios, mut from) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.cpu_pairs {
        platform.settle(SETTLE).await?;
        let calm = passing_us(bench, platform).await?;
        platform.load_to(&storm, 1, 0.0, 1).await?;
        let open = until_hanging(bench).await?;
        enough_hang(open, bench.scale.hanging, "before the load")?;
        platform.settle(Duration::from_secs(3)).await?;
        let rss = platform.rss()?;
        let stormy = passing_us(bench, platform).await?;
        let still = bench.receiver.stats("/hang/storm").await?.open;
        enough_hang(still, bench.scale.hanging, "at the end of the load")?;
        progress(&format!(
            "  {calm:.1} µs a delivery with none hanging, {stormy:.1} µs with {open} ({still} at the end)"
        ));
        ratios.push(stormy / calm);
        from.push(
            json!({ "calm_us": calm, "stormy_us": stormy, "open": open, "open_at_end": still, "rss_mb": megabytes(rss) }),
        );
        until_calm(bench).await?;
    }
    report.add(Figure {
        what: format!(
            "{} hanging: CPU of a passing delivery ÷ with none",
            bench.scale.hanging
        ),
        value: median(&ratios),
        unit: "",
        to_reach: Some(1.2),
        from: json!(from),
    });
    Ok(())
}

async fn passing_us(bench: &Bench, platform: &Platform) -> Result<f64> {
    let before = platform.cpu()?;
    let events = bench.scale.passing_events;
    platform
        .load_until(bench, (1, 0.0, events), (PASSING, events))
        .await?;
    Ok((platform.cpu()? - before) * 1e6 / number(events))
}

/// Waits until all of them hang, or no more come. Returns how many hang.
async fn until_hanging(bench: &Bench) -> Result<u64> {
    const STILL: u32 = 4;
    let (mut last, mut unchanged) = (0, 0);
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let open = bench.receiver.stats("/hang/storm").await?.open;
        unchanged = if open > 0 && open == last {
            unchanged + 1
        } else {
            0
        };
        last = open;
        if open >= bench.scale.hanging || unchanged == STILL {
            break;
        }
    }
    Ok(last)
}

/// An error unless nearly all hang of whom the figure is: fewer would be told under their name.
fn enough_hang(open: u64, of: u64, when: &str) -> Result<()> {
    ensure!(
        open * 10 >= of * 9,
        "{when} only {open} of {of} endpoints hang, and nine in ten are to: is the machine short of sockets, or was it busy \
         for longer than an attempt may take?"
    );
    Ok(())
}

/// Waits until none hangs any more.
async fn until_calm(bench: &Bench) -> Result<()> {
    let began = Instant::now();
    while bench.receiver.stats("/hang/storm").await?.open > 0 {
        ensure!(
            began.elapsed() < Duration::from_secs(600),
            "they still hang"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::enough_hang;

    #[test]
    fn a_figure_of_many_that_hang_is_refused_where_fewer_than_nine_in_ten_do() {
        for (open, enough) in [(10_000, true), (9_000, true), (8_999, false), (0, false)] {
            assert_eq!(enough_hang(open, 10_000, "here").is_ok(), enough, "{open}");
        }
    }
}
