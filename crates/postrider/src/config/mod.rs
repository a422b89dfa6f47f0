//! The configuration: defaults, under a TOML file, under variables `POSTRIDER__SECTION__KEY`, under flags.
//!
//! Only this module reads the environment. Services receive plain `Options`, made of it in `wiring`.

mod contradictions;
mod declare;
mod error;
mod given;
mod kafka_kinds;
mod keys;
mod kinds;
mod print;
mod secret;
mod stray;
mod trace_kinds;
mod value;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub(crate) use error::ConfigError;
pub(crate) use kafka_kinds::{GroupKind, SaslMechanism};
pub(crate) use keys::*;
pub(crate) use kinds::{LogFormat, LogKind, StoreUrl};
pub(crate) use print::{markdown, toml};
pub(crate) use secret::Secret;
pub(crate) use stray::names_like_ours;
pub(crate) use value::duration;

use crate::roles::Roles;
use given::Given;
use value::Bytes;

/// What the command line says over file and environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `--config`
    pub(crate) config: Option<PathBuf>,
    /// `--data`
    pub(crate) data: Option<String>,
    /// `--listen`
    pub(crate) listen: Option<String>,
}

/// Reads the configuration from all its sources.
pub(crate) fn load(flags: &Flags) -> Result<Config, ConfigError> {
    load_with(flags, None, None)
}

/// Likewise, for a process that plays these roles: what they cannot run with is told with the rest.
pub(crate) fn load_for(flags: &Flags, roles: &Roles) -> Result<Config, ConfigError> {
    load_with(flags, None, Some(roles))
}

/// The keys in which two configurations differ, by their names alone: a value may be secret.
pub(crate) fn differences(one: &Config, other: &Config) -> Vec<&'static str> {
    let compared = KEYS.iter().zip(one.compared(other));
    let different = compared.filter(|(_, same)| !same);
    different.map(|(key, _)| key.path).collect()
}

fn load_with(
    flags: &Flags,
    variables: Option<::config::Map<String, String>>,
    roles: Option<&Roles>,
) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let mut given = gather(flags, variables, &mut problems);
    for (path, leaf) in given.leaves() {
        if !KEYS.iter().any(|key| key.path == path) {
            problems.push(error::Problem::of_unknown(path, leaf, KEYS));
        }
    }
    let config = read(&given, &mut problems);
    // What cannot be read is taken as its default, so that what else does not go together is told at once, too.
    let wrong = error::wrong_keys(&problems);
    wrong.iter().for_each(|path| given.forget(path));
    if let Some(config) = config.clone().or_else(|| read(&given, &mut Vec::new())) {
        problems.extend(contradictions::all(&config, &wrong));
        let decided = !wrong.contains(&"log.kind") && !wrong.contains(&"store.url");
        let refused = roles
            .filter(|_| decided)
            .and_then(|roles| roles.refusal(&config));
        problems.extend(refused.map(error::Problem::Together));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError(problems)),
    }
}

/// Every key, and what a default depends on.
fn read(given: &Given, problems: &mut Vec<error::Problem>) -> Option<Config> {
    let mut config = Config::read(given, problems)?;
    if given.leaf("http.bodies").is_none() {
        let few = Bytes(config.ingest.max_payload.0.saturating_mul(3));
        config.http.bodies = config.http.bodies.max(few);
    }
    Some(config)
}

fn gather(
    flags: &Flags,
    variables: Option<::config::Map<String, String>>,
    problems: &mut Vec<error::Problem>,
) -> Given {
    let mut given = Given::default();
    if let Some(file) = &flags.config {
        given.add_file(file, problems);
    }
    given.add_environment(variables, KEYS, problems);
    if let Some(data) = &flags.data {
        given.add_flag("--data", "data", data.clone());
    }
    if let Some(listen) = &flags.listen {
        given.add_flag("--listen", "listen", listen.clone());
    }
    given
}
