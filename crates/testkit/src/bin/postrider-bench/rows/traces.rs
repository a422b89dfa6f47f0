//! What traces cost: CPU of a delivery with spans sent to a collector, against none.

use anyhow::Result;
use serde_json::json;

use super::number;
use super::throughput::{CONNECTIONS, Run, run};
use crate::Bench;
use crate::report::{Figure, Report, median, progress};

/// The shares that are compared; none is traces off.
const SAMPLED: [Option<&str>; 4] = [None, Some("0"), Some("0.01"), Some("1")];

/// One round: the same events with each share, close to one another, because machines change.
struct Round {
    runs: [Run; SAMPLED.len()],
}

/// One endpoint. The collector is the receiver, which takes everything and costs the platform nothing.
pub(super) async fn traces(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 0..bench.scale.cpu_pairs {
        rounds.push(round(bench, number).await?);
    }
    for (at, sampled) in SAMPLED.iter().enumerate() {
        let Some(sampled) = sampled else { continue };
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|round| round.runs[at].platform_us / round.runs[0].platform_us)
            .collect();
        let from = rounds.iter().map(|round| {
            let (off, on) = (&round.runs[0], &round.runs[at]);
            json!({
                "off_us": off.platform_us, "on_us": on.platform_us,
                "exported": on.exported, "dropped": on.dropped,
            })
        });
        report.add(Figure {
            what: format!("traces, sampling {sampled}: CPU of a delivery ÷ without traces"),
            value: median(&ratios),
            unit: "",
            to_reach: (*sampled == "0").then_some(1.05),
            from: from.collect(),
        });
    }
    Ok(())
}

async fn round(bench: &Bench, number_of: usize) -> Result<Round> {
    let collector = bench.receiver.url("/otlp");
    let mut runs: [Option<Run>; SAMPLED.len()] = Default::default();
    // Each begins a round once, so that none always has the machine of the same moment.
    for step in 0..SAMPLED.len() {
        let at = (step + number_of) % SAMPLED.len();
        let mut settings = vec![CONNECTIONS];
        if let Some(sampled) = SAMPLED[at] {
            settings.push(("TRACES__ENDPOINT", collector.as_str()));
            settings.push(("TRACES__SAMPLING", sampled));
        }
        let prefix = format!("/ok/traces-{number_of}-{at}/");
        let events = bench.scale.single_events;
        let done = run(
            bench,
            &settings,
            &prefix,
            (1, events),
            number_of + step == 0,
        )
        .await?;
        progress(&format!(
            "  sampling {}: {:.1} µs a delivery; {:.0} deliveries/s, {} spans taken, {} dropped",
            SAMPLED[at].unwrap_or("off"),
            done.platform_us,
            number(events) / done.seconds,
            done.exported,
            done.dropped,
        ));
        runs[at] = Some(done);
    }
    let [Some(off), Some(none), Some(some), Some(all)] = runs else {
        anyhow::bail!("a share was left out");
    };
    Ok(Round {
        runs: [off, none, some, all],
    })
}
