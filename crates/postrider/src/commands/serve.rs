//! `postrider serve`

use std::process::ExitCode;

use super::Sources;
use crate::config::ConfigError;
use crate::{config, limits, telemetry, wiring};

/// Every role; the embedded engine runs all of them in one process.
const ROLES: [&str; 7] = [
    "ingest",
    "fanout",
    "worker",
    "pump",
    "deadletter",
    "recorder",
    "api",
];

/// Runs the server until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// The roles that this process plays, separated by commas. The embedded log belongs to one process, which must play
    /// all of them: with it a subset is refused, so leave this out
    #[arg(long, value_name = "ROLES", value_delimiter = ',', value_parser = ROLES)]
    roles: Option<Vec<String>>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.sources.flags())?;
    telemetry::start(&config.logs)?;
    if let Some(roles) = &args.roles {
        check_roles(roles)?;
    }
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("postrider")
        .build()?;
    runtime.block_on(wiring::serve(config))?;
    Ok(ExitCode::SUCCESS)
}

fn check_roles(roles: &[String]) -> Result<(), ConfigError> {
    let missing: Vec<_> = ROLES
        .into_iter()
        .filter(|role| !roles.iter().any(|given| given == role))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ConfigError::together(format!(
        "--roles: the embedded log belongs to one process, which must play every role; missing here: {}. Leave --roles \
         out",
        missing.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_engine_refuses_a_subset_of_the_roles_and_names_what_is_missing() {
        let all = ROLES.map(str::to_owned);
        assert!(check_roles(&all).is_ok());
        let error = check_roles(&all[..5]).unwrap_err().to_string();
        assert!(error.contains("missing here: recorder, api"), "{error}");
    }
}
