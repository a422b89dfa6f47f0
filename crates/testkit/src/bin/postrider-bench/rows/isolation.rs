//! What endpoints that hang cost those that do not.
//!
//! Each round has three runs on fresh servers, in turning order: none hanging, some hanging, none hanging
//! again. The second over the first is the figure; the third over the first is what the machine's noise
//! alone makes of it.

use anyhow::Result;
use serde_json::json;

use super::number;
use crate::Bench;
use crate::platform::Platform;
use crate::report::{Figure, Report, median, progress};

/// What is set up and sent.
#[derive(Clone, Copy)]
struct Scene {
    what: &'static str,
    endpoints: u64,
    hanging: u64,
    /// Events a second.
    rate: u64,
    /// Each event goes to one endpoint in turn, else to all.
    in_turn: bool,
}

/// Attempts at a hanging endpoint end after this, so that a run sees many of them end.
const TIMEOUT: (&str, &str) = ("DELIVERY__TIMEOUT", "1s");

/// Ten endpoints get every event; one hangs.
pub(super) async fn ten(bench: &Bench, report: &mut Report) -> Result<()> {
    let scene = Scene {
        what: "ten endpoints, one hanging: p99 of nine ÷ with none hanging",
        endpoints: 10,
        hanging: 1,
        rate: 50,
        in_turn: false,
    };
    ratio(bench, report, scene).await
}

/// A hundred endpoints get events in turn; twenty hang.
pub(super) async fn hundred(bench: &Bench, report: &mut Report) -> Result<()> {
    let scene = Scene {
        what: "100 endpoints, 20 hanging: p99 of 80 ÷ with none hanging",
        endpoints: 100,
        hanging: 20,
        rate: 1_000,
        in_turn: true,
    };
    ratio(bench, report, scene).await
}

async fn ratio(bench: &Bench, report: &mut Report, scene: Scene) -> Result<()> {
    let (mut ratios, mut controls, mut from) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.scale.latency_pairs {
        let mut p99 = [0.0; 3];
        for turn in 0..3 {
            let which = (turn + round) % 3;
            p99[which] = run(bench, scene, which == 1).await?;
        }
        let [none, some, again] = p99;
        progress(&format!(
            "  p99: none hanging {none:.1} ms, some {some:.1} ms, none {again:.1} ms"
        ));
        ratios.push(some / none);
        controls.push(again / none);
        from.push(json!({ "none_ms": none, "hanging_ms": some, "again_ms": again }));
    }
    report.add(Figure {
        what: scene.what.to_owned(),
        value: median(&ratios),
        unit: "",
        to_reach: Some(limit(&controls)),
        from: json!(from),
    });
    Ok(())
}

/// 1.2, or what noise alone makes and a tenth, if that is more.
pub(super) fn limit(controls: &[f64]) -> f64 {
    (1.1 * median(controls)).max(1.2)
}

/// p99 of the healthy endpoints, in ms, in one run.
async fn run(bench: &Bench, scene: Scene, hanging: bool) -> Result<f64> {
    bench.receiver.clear().await?;
    let platform = Platform::start(bench, &[TIMEOUT]).await?;
    let directory = platform.data().display().to_string();
    let run = directory.replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let (healthy, others) = (format!("/ok/{run}/"), format!("/other/{run}/"));
    let mut specs = Vec::new();
    for endpoint in 0..scene.endpoints {
        let path = match endpoint {
            n if n >= scene.hanging => format!("{healthy}{n}"),
            n if hanging => format!("/hang/{run}/{n}"),
            n => format!("{others}{n}"),
        };
        let types = scene.in_turn.then(|| format!("bench.{endpoint}"));
        let url = bench.receiver.url(&path);
        specs.push(crate::platform::spec(&url, types.as_deref()));
    }
    let app = platform.app.clone();
    platform.endpoints(&app, specs).await?;

    let types = if scene.in_turn { scene.endpoints } else { 1 };
    let share = |events: u64| {
        let healthy = scene.endpoints - scene.hanging;
        if scene.in_turn {
            events / scene.endpoints * healthy
        } else {
            events * healthy
        }
    };
    let rate = number(scene.rate);
    let warm_up = scene.rate;
    platform
        .load_until(bench, (types, rate, warm_up), (&healthy, share(warm_up)))
        .await?;
    bench.receiver.clear().await?;
    let events = scene.rate * bench.scale.latency_run.as_secs();
    platform
        .load_until(bench, (types, rate, events), (&healthy, share(events)))
        .await?;
    let delay = bench.receiver.stats(&healthy).await?.delay;
    Ok(number(delay.p99_us) / 1e3)
}
