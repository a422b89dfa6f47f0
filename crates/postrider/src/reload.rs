//! SIGHUP: the configuration is read again. What may change under a running process counts at once, everything else is
//! named as waiting for a restart, and a configuration with a mistake changes nothing.
//!
//! The file is opened anew by its name each time, so it may be replaced, also by way of a symbolic link, as Kubernetes
//! replaces what it mounts.

use postrider_guard::Guard;
use postrider_metrics::Registry;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, ConfigError, Flags};
use crate::roles::Roles;
use crate::supervise::Stage;
use crate::telemetry::Level;

/// What counts at once. Everything else is what a part was begun with: engines, listeners and bounds were given out, what
/// is promised of a delivery (schedule, timeout, retention) is to be the same in all processes of a role, and a restart,
/// which loses nothing, makes sure that what runs is what the file says.
pub(crate) const AT_ONCE: [&str; 3] = ["egress.allow", "egress.require_https", "logs.level"];

postrider_metrics::metrics! {
    /// How the last reading went.
    pub(crate) struct ReloadMetrics {
        good: Gauge("postrider_config_last_reload_successful", "readings", "1 if the configuration could be taken when it was read last, at the start or after a SIGHUP; 0 if it had mistakes and the one before stays in force."),
    }
}

/// Where the configuration came from, and what of it can be changed.
pub(crate) struct Reload {
    flags: Flags,
    roles: Roles,
    /// What the process runs with: of what was read since its start, only what counts at once.
    running: Config,
    guard: Guard,
    level: Level,
    metrics: ReloadMetrics,
}

/// What is in the command line and outlives the start.
pub(crate) struct Origin {
    pub(crate) flags: Flags,
    pub(crate) level: Level,
}

impl Reload {
    /// Of a process that was started with this configuration.
    pub(crate) fn new(
        origin: Origin,
        roles: &Roles,
        running: &Config,
        guard: &Guard,
        metrics: &Registry,
    ) -> Result<Self, postrider_metrics::Error> {
        let metrics = ReloadMetrics::register(metrics)?;
        metrics.good.set(1);
        Ok(Self {
            flags: origin.flags,
            roles: roles.clone(),
            running: running.clone(),
            guard: guard.clone(),
            level: origin.level,
            metrics,
        })
    }

    /// Reads it again at each signal, also at one that came while the process started.
    pub(crate) fn start(self, stage: &mut Stage, hangups: Signal) {
        stage.spawn("configuration", |shutdown| self.run(hangups, shutdown));
    }

    async fn run(mut self, mut hangups: Signal, shutdown: CancellationToken) -> anyhow::Result<()> {
        while let Some(Some(())) = shutdown.run_until_cancelled(hangups.recv()).await {
            // Files of configuration are small and local.
            self.take(config::load_for(&self.flags, &self.roles));
        }
        shutdown.cancelled().await;
        Ok(())
    }

    fn take(&mut self, read: Result<Config, ConfigError>) {
        match read {
            Ok(read) => self.apply(&read),
            Err(error) => {
                self.metrics.good.set(0);
                tracing::error!("SIGHUP: the configuration stays as it was: {error}");
            }
        }
    }

    fn apply(&mut self, read: &Config) {
        let (taken, waiting): (Vec<_>, Vec<_>) = config::differences(&self.running, read)
            .into_iter()
            .partition(|key| AT_ONCE.contains(key));
        self.running.egress = read.egress.clone();
        self.running.logs.level = read.logs.level.clone();
        let egress = &self.running.egress;
        self.guard
            .replace(egress.allow.clone(), egress.require_https);
        self.level.set(self.running.logs.level.to_filter());
        self.metrics.good.set(1);
        tracing::info!(
            "SIGHUP: the configuration was read again; {}",
            what_changed(&taken, &waiting)
        );
    }
}

fn what_changed(taken: &[&str], waiting: &[&str]) -> String {
    let told = [
        ("counts from now", taken),
        ("counts from the next start", waiting),
    ];
    let told = told.iter().filter(|(_, keys)| !keys.is_empty());
    let told: Vec<_> = told
        .map(|(when, keys)| format!("{when}: {}", keys.join(", ")))
        .collect();
    match told.is_empty() {
        true => "nothing differs from what runs".to_owned(),
        false => told.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_names_what_counts_at_once_and_those_are_keys() {
        let page = include_str!("../../../docs/configuration.md");
        let (_, chapter) = page.split_once("## Changing it").unwrap();
        let (chapter, _) = chapter.split_once("\n## ").unwrap();
        for key in AT_ONCE {
            assert!(config::KEYS.iter().any(|known| known.path == key), "{key}");
            assert!(chapter.contains(&format!("`{key}`")), "{key}");
        }
    }
}
