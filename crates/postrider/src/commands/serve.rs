//! `postrider serve`, and a command for each role.

use std::process::ExitCode;

use super::Sources;
use crate::config::Flags;
use crate::reload::Origin;
use crate::roles::{Role, Roles};
use crate::{config, limits, telemetry, wiring};

/// Runs the server until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// The roles that this process plays, separated by commas; every one where it is left out. The embedded log belongs to
    /// one process, which must play all of them: with it a subset is refused
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    roles: Option<Vec<Role>>,
}

/// Plays one role until SIGTERM or SIGINT: as `serve --roles ROLE`. Needs Kafka and, but for the pump, PostgreSQL.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    #[command(flatten)]
    sources: Sources,
}

impl One {
    pub(super) fn run(&self, role: Role) -> anyhow::Result<ExitCode> {
        serve(&self.sources.flags(), &Roles::of(&[role]))
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let roles = args.roles.as_deref().map_or_else(Roles::all, Roles::of);
    serve(&args.sources.flags(), &roles)
}

fn serve(flags: &Flags, roles: &Roles) -> anyhow::Result<ExitCode> {
    let config = config::load_for(flags, roles)?;
    let origin = Origin {
        flags: flags.clone(),
        level: telemetry::start(&config.logs)?,
    };
    limits::raise_open_files();
    runtime()?.block_on(wiring::serve(config, roles.clone(), origin))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("postrider")
        .build()
}
