//! `postrider config`

use std::process::ExitCode;

use super::Sources;
use crate::{config, out};

/// Prints the configuration that `serve` would run with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Print the reference of all keys as a Markdown table instead
    #[arg(long)]
    reference: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.reference {
        out::write(config::markdown())?;
    } else {
        out::write(config::toml(&config::load(&args.sources.flags())?))?;
    }
    Ok(ExitCode::SUCCESS)
}
