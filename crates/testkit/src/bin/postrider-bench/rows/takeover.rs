//! How long deliveries wait for a worker that was killed, while another is alive.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::number;
use crate::Bench;
use crate::engine::Servers;
use crate::platform::{APART, Platform};
use crate::report::{Figure, Report, median, progress};

/// Events a second, before the kill and after it.
const RATE: u64 = 100;
/// How long events come: the kill is in the middle.
const SECONDS: u64 = 20;
/// Endpoints, so that both workers have some.
const ENDPOINTS: u64 = 20;
const PREFIX: &str = "/ok/takeover/";

/// A session as brokers have it unless they are told otherwise.
const DEFAULT: &str = "group.consumer.session.timeout.ms=45000\n";

/// With sessions of 6 s, as the benchmark's broker has them, and on a broker with those of Kafka's defaults.
pub(super) async fn takeover(bench: &Bench, report: &mut Report) -> Result<()> {
    killed(bench, report, bench.servers.as_ref(), ("6 s", Some(8.0))).await?;
    let patient = Arc::new(Servers::start(&bench.out, DEFAULT).await?);
    killed(bench, report, Some(&patient), ("45 s", None)).await
}

/// Kills one of two workers, again and again. The longest that any event took is what the takeover took: the median of
/// these counts.
async fn killed(
    bench: &Bench,
    report: &mut Report,
    servers: Option<&Arc<Servers>>,
    (session, to_reach): (&str, Option<f64>),
) -> Result<()> {
    let platform = Platform::start_on(bench, servers, &[], &APART).await?;
    for endpoint in 0..ENDPOINTS {
        let url = bench.receiver.url(&format!("{PREFIX}{endpoint}"));
        let event_type = format!("bench.{endpoint}");
        platform.endpoint(&url, Some(&event_type)).await?;
    }
    let mut longest = Vec::new();
    for _ in 0..bench.scale.kills {
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
        what: format!(
            "a worker killed, another alive, sessions of {session}: the longest delivery"
        ),
        value: median(&longest),
        unit: "s",
        to_reach,
        from: json!(longest),
    });
    Ok(())
}
