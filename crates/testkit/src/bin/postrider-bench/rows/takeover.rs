//! How long deliveries wait for a worker that was killed, while another is alive.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::number;
use crate::Bench;
use crate::platform::Platform;
use crate::report::{Figure, Report, median, progress};

/// Kills, of which the median counts.
const KILLS: usize = 3;
/// Events a second, before the kill and after it.
const RATE: u64 = 100;
/// How long events come: the kill is in the middle.
const SECONDS: u64 = 20;
/// Endpoints, so that both workers have some.
const ENDPOINTS: u64 = 20;
const PREFIX: &str = "/ok/takeover/";

/// Kills one of two workers, again and again. The longest that any event took is what the takeover took.
pub(super) async fn takeover(bench: &Bench, report: &mut Report) -> Result<()> {
    let platform = Platform::start(bench, &[]).await?;
    for endpoint in 0..ENDPOINTS {
        let url = bench.receiver.url(&format!("{PREFIX}{endpoint}"));
        let event_type = format!("bench.{endpoint}");
        platform.endpoint(&url, Some(&event_type)).await?;
    }
    let mut longest = Vec::new();
    for _ in 0..KILLS {
        let second = platform.spawn("worker").await?;
        let warm_up = (ENDPOINTS, number(RATE), RATE);
        platform.load_until(bench, warm_up, (PREFIX, RATE)).await?;
        bench.receiver.clear().await?;
        let count = RATE * SECONDS;
        let load = platform.load_until(bench, (ENDPOINTS, number(RATE), count), (PREFIX, count));
        let kill = async {
            tokio::time::sleep(Duration::from_secs(SECONDS / 2)).await;
            second.kill()
        };
        let (loaded, killed) = tokio::join!(load, kill);
        loaded?;
        killed?;
        // Of what was repeated, the first may have come when the last had not.
        platform.settle(Duration::from_secs(10)).await?;
        let delay = bench.receiver.stats(PREFIX).await?.delay;
        let seconds = number(delay.max_us) / 1e6;
        progress(&format!("  the longest took {seconds:.2} s"));
        longest.push(seconds);
    }
    report.add(Figure {
        what: "a worker killed, another alive, sessions of 6 s: the longest delivery".to_owned(),
        value: median(&longest),
        unit: "s",
        to_reach: Some(8.0),
        from: json!(longest),
    });
    Ok(())
}
