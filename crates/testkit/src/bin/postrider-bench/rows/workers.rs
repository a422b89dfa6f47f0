//! What more workers bring: each is held to the same share of a core, so that it is they that are too few.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postrider_testkit::Server;
use serde_json::json;

use super::number;
use crate::Bench;
use crate::platform::{Platform, spec};
use crate::report::{Figure, Report, progress};

/// The share of a core that a worker has, in hundredths.
const SHARE: u64 = 10;
/// The scheduler's period, in µs.
const PERIOD_US: u64 = 100_000;
/// Workers of the second run.
const MANY: usize = 4;
/// Endpoints that get each event, and those of them that hang.
const ENDPOINTS: u64 = 50;
const HANGING: u64 = 2;
/// How long workers start before they are counted.
const START: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(300);
/// Of linear growth, what is to be reached: 90 %.
const TO_REACH: f64 = 1.0 / 0.9;

/// One worker and then four, each run with a backlog of its own that was laid in before.
pub(super) async fn workers(bench: &Bench, report: &mut Report) -> Result<()> {
    let one = throughput(bench, 1).await?;
    let four = throughput(bench, MANY).await?;
    report.add(Figure {
        what: format!("{MANY} times one worker's throughput ÷ that of {MANY} workers"),
        value: number(MANY as u64) * one / four,
        unit: "",
        to_reach: Some(TO_REACH),
        from: json!({ "one_a_second": one, "many_a_second": four, "share_of_a_core": SHARE }),
    });
    Ok(())
}

/// Deliveries a second to healthy endpoints.
async fn throughput(bench: &Bench, workers: usize) -> Result<f64> {
    let healthy = format!("/ok/workers-{workers}/");
    let settings = [("DELIVERY__TIMEOUT", "1s")];
    let apart = ["fanout", "pump,deadletter,recorder"];
    let platform = Platform::start_with(bench, &settings, &apart).await?;
    let app = platform.app.clone();
    let path = |n: u64| match n < HANGING {
        true => format!("/hang/workers-{workers}/{n}"),
        false => format!("{healthy}{n}"),
    };
    let specs = (0..ENDPOINTS).map(|n| spec(&bench.receiver.url(&path(n)), None));
    platform.endpoints(&app, specs.collect()).await?;
    let events = bench.scale.worker_events * workers as u64;
    platform.load(1, 0.0, events).await?;
    platform.settle(SETTLE).await?;

    let mut held = Vec::new();
    for number in 0..workers {
        held.push(Held::start(&platform, number).await?);
    }
    tokio::time::sleep(START).await;
    let before = bench.receiver.stats(&healthy).await?.arrived;
    let began = Instant::now();
    tokio::time::sleep(bench.scale.worker_run).await;
    let after = bench.receiver.stats(&healthy).await?.arrived;
    let rate = number(after - before) / began.elapsed().as_secs_f64();
    ensure!(
        after < events * (ENDPOINTS - HANGING),
        "the backlog of {events} events was over before the measurement was"
    );
    progress(&format!("  {workers} workers: {rate:.0} deliveries/s"));
    Ok(rate)
}

/// A worker in a control group of its own, which goes with it.
struct Held {
    group: PathBuf,
    worker: Option<Server>,
}

impl Held {
    async fn start(platform: &Platform, number: usize) -> Result<Self> {
        let root = PathBuf::from("/sys/fs/cgroup/cpu");
        if !root.join("cpu.cfs_quota_us").exists() {
            bail!(
                "no CPU controller at {}: this row needs control groups, version 1, and root",
                root.display()
            );
        }
        let group = root.join(format!("postrider-bench-{}-{number}", std::process::id()));
        std::fs::create_dir(&group).with_context(|| format!("making {}", group.display()))?;
        let mut held = Self {
            group,
            worker: None,
        };
        held.write("cpu.cfs_period_us", PERIOD_US)?;
        held.write("cpu.cfs_quota_us", PERIOD_US * SHARE / 100)?;
        let worker = platform.spawn("worker").await?;
        held.write("cgroup.procs", u64::from(worker.pid()))?;
        held.worker = Some(worker);
        Ok(held)
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        let file = self.group.join(file);
        std::fs::write(&file, value.to_string())
            .with_context(|| format!("writing {value} to {}", file.display()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A group can be removed once nobody is in it; one that stays does no harm.
        self.worker = None;
        std::fs::remove_dir(&self.group).ok();
    }
}
