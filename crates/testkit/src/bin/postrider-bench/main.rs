//! The benchmark: `make bench`.
//!
//! It starts a release server as one process, itself again as the receiver and as the load generator, and
//! measures what each of them uses. Ratios are medians of interleaved runs, because machines are noisy; the
//! unit of CPU is a bare loop of `reqwest` that signs and sends the same payloads to the same receiver.

mod bare;
mod children;
mod engine;
mod fsync;
mod platform;
mod report;
mod rows;
mod scale;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use postrider_testkit::allow_many_files;

use crate::children::{LoadArguments, ReceiverProcess};
use crate::engine::{Engine, Servers};
use crate::report::Report;
use crate::scale::Scale;

/// Measures Postrider and prints a table; writes `bench.json`, or on Kafka `bench-kafka.json`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// The release build of `postrider` to measure.
    #[arg(long, default_value = "target/release/postrider")]
    server: PathBuf,
    /// Where data directories are made and `bench.json` is written: on the disk that counts.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// What the platform stands on. With kafka, a broker and a database server are started, and its roles are processes.
    #[arg(long, default_value = "embedded")]
    engine: Engine,
    /// Small numbers and few repetitions: to see that it runs, not to judge by.
    #[arg(long)]
    quick: bool,
    /// Only these rows, by name.
    #[arg(long, value_name = "ROW")]
    only: Vec<rows::Name>,
}

/// What this program is when it runs as one of its own children.
#[derive(Subcommand)]
#[command(hide = true)]
enum Part {
    /// The receiver, until its standard input ends.
    Receiver,
    /// The load generator.
    Load(LoadArguments),
    /// The bare loop.
    Bare {
        /// Where to send.
        url: String,
        /// How many requests.
        count: u64,
    },
}

/// What every row needs.
struct Bench {
    server: PathBuf,
    out: PathBuf,
    scale: Scale,
    receiver: ReceiverProcess,
    /// On Kafka.
    servers: Option<Arc<Servers>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    allow_many_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.part {
            Some(Part::Receiver) => children::receive(),
            Some(Part::Load(load)) => children::load(load).await,
            Some(Part::Bare { url, count }) => bare::run(&url, count).await,
            None => measure(arguments).await,
        }
    })
}

async fn measure(arguments: Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("making {}", arguments.out.display()))?;
    let rows = rows::chosen(&arguments.only, arguments.engine)?;
    let servers = match arguments.engine {
        Engine::Embedded => None,
        Engine::Kafka => Some(Arc::new(Servers::start(&arguments.out, "").await?)),
    };
    let bench = Bench {
        server: arguments.server.canonicalize().with_context(|| {
            format!(
                "no server at {}: build it first",
                arguments.server.display()
            )
        })?,
        out: arguments.out.canonicalize()?,
        scale: Scale::new(arguments.quick),
        receiver: ReceiverProcess::start()?,
        servers,
    };
    let mut report = Report::default();
    for row in rows {
        rows::run(row, &bench, &mut report)
            .await
            .with_context(|| format!("measuring {row:?}"))?;
        // After each row, so that a run that is cut off has told what it knew.
        let file = match arguments.engine {
            Engine::Embedded => "bench.json",
            Engine::Kafka => "bench-kafka.json",
        };
        report.write(&bench.out.join(file), arguments.quick)?;
    }
    report.print(arguments.quick);
    Ok(())
}
