//! The rows of the table, each with its method.

mod backlog;
mod isolation;
mod latency;
mod scale;
mod takeover;
mod throughput;
mod traces;
mod workers;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::Bench;
use crate::engine::Engine;
use crate::report::{Report, progress};

/// A row's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One endpoint, as fast as it goes: CPU and memory.
    Single,
    /// Ten endpoints for each event: CPU.
    Fanout,
    /// A steady rate: latency against an fsync.
    OpenLoop,
    /// Ten endpoints, one hanging: the others' latency.
    TenEndpoints,
    /// A hundred endpoints, twenty hanging: the others' latency.
    HundredEndpoints,
    /// A dead endpoint's backlog: memory, and the others' latency.
    Backlog,
    /// Idle and hanging endpoints in great number: memory and CPU.
    Scale,
    /// Four workers of a fixed share of a core against one: throughput. On Kafka only.
    Workers,
    /// Spans of a share of the events sent to a collector: CPU against no traces.
    Traces,
    /// One of two workers killed: how long the last delivery takes. On Kafka only.
    Takeover,
}

impl Name {
    /// Some rows are of one process, some of several.
    fn is_of(self, engine: Engine) -> bool {
        match self {
            Self::Workers | Self::Takeover => engine == Engine::Kafka,
            _ => true,
        }
    }
}

/// The rows asked for; all that this engine has, if none was.
pub(crate) fn chosen(only: &[Name], engine: Engine) -> Result<Vec<Name>> {
    if let Some(other) = only.iter().find(|row| !row.is_of(engine)) {
        bail!("{other:?} is no row of this engine: choose the other by --engine");
    }
    let all = Name::value_variants().iter().copied();
    Ok(all
        .filter(|row| row.is_of(engine) && (only.is_empty() || only.contains(row)))
        .collect())
}

/// Measures a row.
pub(crate) async fn run(row: Name, bench: &Bench, report: &mut Report) -> Result<()> {
    progress(&format!("{row:?}"));
    match row {
        Name::Single => throughput::single(bench, report).await,
        Name::Fanout => throughput::fanout(bench, report).await,
        Name::OpenLoop => latency::open_loop(bench, report).await,
        Name::TenEndpoints => isolation::ten(bench, report).await,
        Name::HundredEndpoints => isolation::hundred(bench, report).await,
        Name::Backlog => backlog::backlog(bench, report).await,
        Name::Scale => scale::scale(bench, report).await,
        Name::Workers => workers::workers(bench, report).await,
        Name::Traces => traces::traces(bench, report).await,
        Name::Takeover => takeover::takeover(bench, report).await,
    }
}

/// Megabytes, of 10^6 bytes: what is to be reached is said in these.
#[expect(
    clippy::cast_precision_loss,
    reason = "memory stays far below 2^52 bytes"
)]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}
