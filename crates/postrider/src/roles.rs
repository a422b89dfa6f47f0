//! The parts that a process can play, and what each needs.

use std::collections::BTreeSet;

use crate::config::{Config, LogKind};

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Role {
    /// Takes events over HTTP.
    Ingest,
    /// Joins events against who wants them.
    Fanout,
    /// Delivers.
    Worker,
    /// Moves waiting deliveries on.
    Pump,
    /// Keeps dead letters, carries replays out.
    Deadletter,
    /// Writes history.
    Recorder,
    /// Answers the API.
    Api,
}

impl Role {
    const ALL: [Self; 7] = [
        Self::Ingest,
        Self::Fanout,
        Self::Worker,
        Self::Pump,
        Self::Deadletter,
        Self::Recorder,
        Self::Api,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Fanout => "fanout",
            Self::Worker => "worker",
            Self::Pump => "pump",
            Self::Deadletter => "deadletter",
            Self::Recorder => "recorder",
            Self::Api => "api",
        }
    }

    fn uses_store(self) -> bool {
        self != Self::Pump
    }

    fn uses_registry(self) -> bool {
        self.uses_store() && self != Self::Recorder
    }

    fn has_routes(self) -> bool {
        matches!(self, Self::Ingest | Self::Api)
    }
}

/// Those of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Roles {
    pub(crate) fn all() -> Self {
        Self::of(&Role::ALL)
    }

    pub(crate) fn of(roles: &[Role]) -> Self {
        Self(roles.iter().copied().collect())
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether any of them needs the store.
    pub(crate) fn use_store(&self) -> bool {
        self.0.iter().any(|role| role.uses_store())
    }

    /// Whether any of them needs the configuration in memory.
    pub(crate) fn use_registry(&self) -> bool {
        self.0.iter().any(|role| role.uses_registry())
    }

    /// Whether any of them answers requests.
    pub(crate) fn have_routes(&self) -> bool {
        self.0.iter().any(|role| role.has_routes())
    }

    /// As they are given on the command line.
    pub(crate) fn names(&self) -> String {
        names(self.0.iter().copied())
    }

    /// The name of each.
    pub(crate) fn each(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|role| role.name())
    }

    /// All in a few words, for what is shown of a process.
    pub(crate) fn in_short(&self) -> String {
        if *self == Self::all() {
            return "all".to_owned();
        }
        self.each().collect::<Vec<_>>().join(" ")
    }

    /// Why a process with this configuration cannot play these roles and no others.
    pub(crate) fn refusal(&self, config: &Config) -> Option<String> {
        let missing: Vec<_> = Role::ALL
            .into_iter()
            .filter(|role| !self.has(*role))
            .collect();
        if config.log.kind == LogKind::Embedded {
            return (!missing.is_empty()).then(|| {
                format!(
                    "--roles: the embedded log belongs to one process, which must play every role; missing here: {}. \
                     Leave --roles out, or set log.kind to kafka",
                    names(missing)
                )
            });
        }
        let elsewhere: Vec<_> = missing
            .into_iter()
            .filter(|role| role.uses_store())
            .collect();
        let refused = config.store.url.is_sqlite() && self.use_store() && !elsewhere.is_empty();
        refused.then(|| {
            format!(
                "--roles: store.url is a SQLite file, which one process has, and other roles need the store too: {}. Set \
                 store.url to a PostgreSQL database, or play them here as well",
                names(elsewhere)
            )
        })
    }
}

fn names(roles: impl IntoIterator<Item = Role>) -> String {
    let names: Vec<_> = roles.into_iter().map(Role::name).collect();
    names.join(", ")
}
