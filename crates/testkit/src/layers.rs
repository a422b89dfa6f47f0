//! Which crate may depend on which: a check of `cargo metadata` against the layers of the design.
//!
//! A crate depends only on lower layers. Normal dependencies are judged strictly; those of tests
//! apart: they may use testkit as well, and the binary's may use anything. Nothing outside the
//! binary parses configuration or arguments, and nothing outside the adapters speaks to an engine.

use serde::Deserialize;

#[cfg(test)]
mod tests;

/// A crate of the workspace and what it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Crate {
    /// The package's name.
    pub name: String,
    /// Everything its manifest names, also from outside the workspace.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dependency {
    /// The package depended on.
    pub name: String,
    /// The table it stands in.
    #[serde(rename = "kind")]
    pub table: Option<Table>,
    /// The features asked for.
    #[serde(default)]
    pub features: Vec<String>,
}

/// A table of dependencies other than the normal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

/// What a crate is, and so where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Base,
    Policy,
    Port,
    Adapter,
    Registry,
    /// What the services with routes share.
    Edge,
    Service,
    Binary,
    Testkit,
}

/// The layer table: every crate of the workspace has its line here.
const TABLE: [(&str, Role); 23] = [
    ("postrider-model", Role::Base),
    ("postrider-metrics", Role::Base),
    ("postrider-failpoint", Role::Base),
    ("postrider-signing", Role::Policy),
    ("postrider-guard", Role::Policy),
    ("postrider-access", Role::Policy),
    ("postrider-trace", Role::Policy),
    ("postrider-log", Role::Port),
    ("postrider-store", Role::Port),
    ("postrider-log-embedded", Role::Adapter),
    ("postrider-log-kafka", Role::Adapter),
    ("postrider-store-sql", Role::Adapter),
    ("postrider-registry", Role::Registry),
    ("postrider-http", Role::Edge),
    ("postrider-ingest", Role::Service),
    ("postrider-fanout", Role::Service),
    ("postrider-delivery", Role::Service),
    ("postrider-pump", Role::Service),
    ("postrider-recorder", Role::Service),
    ("postrider-deadletter", Role::Service),
    ("postrider-api", Role::Service),
    ("postrider", Role::Binary),
    ("postrider-testkit", Role::Testkit),
];

/// Outside crates that read configuration, arguments or the environment.
const CONFIGURATION: [&str; 2] = ["config", "clap"];

/// Outside crates that speak to an engine.
const ENGINES: [&str; 3] = ["rdkafka", "rusqlite", "sqlx"];

/// Features for tests, each with what is said where another table asks for it: that of a port holds its in-memory adapter
/// and its conformance suite, that of the fail points makes them stop a process.
const FOR_TESTS: [(&str, &str); 2] = [
    (
        "testing",
        "the feature `testing` belongs in [dev-dependencies]",
    ),
    ("armed", "the feature `armed` belongs in [dev-dependencies]"),
];

/// Reads the output of `cargo metadata --format-version 1 --no-deps`.
///
/// # Errors
/// If it is not that.
pub fn parse(metadata: &[u8]) -> serde_json::Result<Vec<Crate>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Crate>,
    }
    serde_json::from_slice(metadata).map(|Metadata { packages }| packages)
}

/// One sentence for each dependency that goes against the direction, and for each crate that the
/// layer table does not know. Empty when all is well.
#[must_use]
pub fn faults(workspace: &[Crate]) -> Vec<String> {
    let mut faults = Vec::new();
    for from in workspace {
        let Some(role) = role_of(&from.name) else {
            let name = &from.name;
            faults.push(format!(
                "{name} is in no layer: add it to the layer table in testkit"
            ));
            continue;
        };
        // Tests may turn on a feature of their own crate by depending on it once more.
        let itself = |to: &&Dependency| to.table == Some(Table::Dev) && to.name == from.name;
        for to in from.dependencies.iter().filter(|to| !itself(to)) {
            if let Some(why) = fault(role, to) {
                let (name, table) = (&from.name, table_name(to.table));
                faults.push(format!(
                    "{name} must not name {} in {table}: {why}",
                    to.name
                ));
            }
        }
    }
    faults
}

fn role_of(name: &str) -> Option<Role> {
    TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, role)| *role)
}

fn table_name(table: Option<Table>) -> &'static str {
    match table {
        None => "[dependencies]",
        Some(Table::Dev) => "[dev-dependencies]",
        Some(Table::Build) => "[build-dependencies]",
    }
}

fn fault(from: Role, to: &Dependency) -> Option<&'static str> {
    let for_tests = to.table == Some(Table::Dev);
    match role_of(&to.name) {
        Some(role) if for_tests => test_fault(from, role),
        Some(role) => normal_fault(from, role, to),
        None if for_tests => None,
        None => outside_fault(from, &to.name),
    }
}

/// Why a crate in `from` may not depend on one in `to`, if it may not.
fn normal_fault(from: Role, to: Role, dependency: &Dependency) -> Option<&'static str> {
    use Role::{Adapter, Base, Binary, Edge, Policy, Port, Registry, Service, Testkit};
    match (from, to) {
        (_, Testkit) => Some("testkit is for tests only, so it belongs in [dev-dependencies]"),
        (Testkit, _) if dependency.name == "postrider-metrics" => Some(OUTSIDE),
        (Testkit, Base) => None,
        (Testkit, Policy) if dependency.name == "postrider-signing" => None,
        (Testkit, _) => Some(OUTSIDE),
        _ if feature_fault(dependency).is_some() => feature_fault(dependency),
        (Policy | Port | Adapter | Registry | Edge | Service | Binary, Base)
        | (Adapter | Registry | Edge | Service | Binary, Port)
        | (Registry | Edge | Service | Binary, Policy)
        | (Edge | Service | Binary, Registry)
        | (Service | Binary, Edge)
        | (Binary, Adapter | Service) => None,
        (Service, Service) => Some("services never depend on each other: the binary joins them"),
        (_, Adapter) => Some("only the binary chooses an adapter: depend on its port"),
        (Adapter, _) => Some("an adapter depends on ports, model and metrics only"),
        (Base | Policy | Port | Registry | Edge | Service | Binary, _) => {
            Some("a crate depends on lower layers only")
        }
    }
}

/// Why a feature that is asked for belongs to tests, if one does.
fn feature_fault(dependency: &Dependency) -> Option<&'static str> {
    let asked = |(name, _): &&(&str, &str)| dependency.features.iter().any(|asked| asked == name);
    FOR_TESTS.iter().find(asked).map(|(_, why)| *why)
}

const OUTSIDE: &str = "testkit looks at Postrider from outside: it may use model and signing only";

/// Why tests of a crate in `from` may not use one in `to`, if they may not.
fn test_fault(from: Role, to: Role) -> Option<&'static str> {
    use Role::{Adapter, Base, Binary, Edge, Policy, Port, Registry, Service, Testkit};
    match (from, to) {
        (Binary, _) | (_, Testkit | Base) => None,
        (_, Adapter) => Some("only the binary's tests use adapters: take the port's `testing`"),
        (Testkit, Policy) | (Adapter | Registry | Edge | Service, Port) => None,
        (Registry | Edge | Service, Policy) | (Edge | Service, Registry) | (Service, Edge) => None,
        (Service, Service) => Some("tests that need two services stand with the binary"),
        (Base | Policy | Port | Adapter | Registry | Edge | Service | Testkit, _) => {
            Some("tests use testkit and lower layers only")
        }
    }
}

/// Why a crate in `from` may not depend on the outside crate `name`, if it may not.
fn outside_fault(from: Role, name: &str) -> Option<&'static str> {
    if CONFIGURATION.contains(&name) && !matches!(from, Role::Binary | Role::Testkit) {
        return Some("only the binary reads arguments and configuration: take Options");
    }
    if ENGINES.contains(&name) && from != Role::Adapter {
        return Some("only an adapter speaks to an engine: depend on its port");
    }
    if name == "anyhow" && !matches!(from, Role::Binary | Role::Testkit) {
        return Some("errors are an enumeration by what the caller does next: use thiserror");
    }
    None
}
