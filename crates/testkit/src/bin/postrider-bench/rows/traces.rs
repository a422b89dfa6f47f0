//! What traces cost: CPU of a delivery with spans sent to a collector, against none.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use serde_json::json;

use super::number;
use super::throughput::{CONNECTIONS, Run, run};
use crate::Bench;
use crate::report::{Figure, Report, median, progress};

/// What is compared with traces off: what is sampled, and whether the collector is there.
struct Case {
    sampled: &'static str,
    answers: bool,
}

const CASES: [Case; 5] = [
    Case::of("0", true),
    Case::of("0.01", true),
    Case::of("1", true),
    Case::of("0.01", false),
    Case::of("1", false),
];

impl Case {
    const fn of(sampled: &'static str, answers: bool) -> Self {
        Self { sampled, answers }
    }

    fn says(&self) -> String {
        let away = if self.answers {
            ""
        } else {
            ", the collector away"
        };
        format!("sampling {}{away}", self.sampled)
    }
}

/// One round: the same events in each case, close to one another, because machines change.
struct Round {
    off: Run,
    on: Vec<Run>,
}

/// One endpoint. The collector is the receiver, which takes everything and costs the platform nothing; or a port at which
/// nobody listens.
pub(super) async fn traces(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 0..bench.scale.cpu_pairs {
        rounds.push(round(bench, number).await?);
    }
    for (at, case) in CASES.iter().enumerate() {
        let runs = || rounds.iter().map(|round| (&round.off, &round.on[at]));
        let ratios: Vec<f64> = runs()
            .map(|(off, on)| on.platform_us / off.platform_us)
            .collect();
        let from = runs().map(|(off, on)| {
            json!({
                "off_us": off.platform_us, "on_us": on.platform_us,
                "exported": on.exported, "dropped": on.dropped,
            })
        });
        report.add(Figure {
            what: format!(
                "traces, {}: CPU of a delivery ÷ without traces",
                case.says()
            ),
            value: median(&ratios),
            unit: "",
            to_reach: (case.sampled == "0").then_some(1.05),
            from: from.collect(),
        });
    }
    Ok(())
}

async fn round(bench: &Bench, number_of: usize) -> Result<Round> {
    let collector = bench.receiver.url("/otlp");
    let nobody = format!("http://{}", unused_address()?);
    let all = CASES.len() + 1;
    let mut runs: Vec<Option<Run>> = std::iter::repeat_with(|| None).take(all).collect();
    // Each begins a round once, so that none always has the machine of the same moment.
    for step in 0..all {
        let at = (step + number_of) % all;
        let case = at.checked_sub(1).map(|at| &CASES[at]);
        let mut settings = vec![CONNECTIONS];
        if let Some(case) = case {
            let endpoint = if case.answers { &collector } else { &nobody };
            settings.push(("TRACES__ENDPOINT", endpoint.as_str()));
            settings.push(("TRACES__SAMPLING", case.sampled));
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
            "  {}: {:.1} µs a delivery; {:.0} deliveries/s, {} spans taken, {} dropped",
            case.map_or("traces off".to_owned(), Case::says),
            done.platform_us,
            number(events) / done.seconds,
            done.exported,
            done.dropped,
        ));
        runs[at] = Some(done);
    }
    let mut runs = runs.into_iter().flatten();
    let off = runs.next().context("the run without traces was left out")?;
    Ok(Round {
        off,
        on: runs.collect(),
    })
}

/// Of a listener that is gone.
fn unused_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
