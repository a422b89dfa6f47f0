//! `postrider demo`

use std::process::ExitCode;

use crate::demo;
use crate::signals::Signals;

/// Shows Postrider on this machine in half a minute: starts a server and receivers in a temporary directory, publishes,
/// kills, retries, replays, and counts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Events of the first scene
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = count)]
    events: usize,
    /// Connections of the publisher
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count)]
    connections: usize,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = demo::Options {
        events: args.events,
        connections: args.connections,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        tokio::select! {
            kept = demo::run(options) => Ok(ExitCode::from(u8::from(!kept?))),
            // Dropping the demonstration kills its server and removes its directory.
            signal = signals.stop() => anyhow::bail!("{signal}: the demonstration was cut off"),
        }
    })
}
