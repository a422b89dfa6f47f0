//! Logs to standard error, by [`Lines`]. Never tokens, secrets or payloads: nothing that is logged anywhere carries one.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logs};
use crate::lines::Lines;

/// What is logged.
pub(crate) struct Level(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Level {
    /// From now on it is this.
    pub(crate) fn set(&self, filter: EnvFilter) {
        (self.0)(filter);
    }
}

/// Begins to log. Panics are logged, too, so that a collector of JSON lines sees them.
pub(crate) fn start(logs: &Logs) -> anyhow::Result<Level> {
    let lines = Lines::start().context("logging could not be started")?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(logs.level.to_filter())
        .with_writer(move || lines.clone());
    let (started, level): (_, Box<dyn Fn(EnvFilter) + Send + Sync>) = match logs.format {
        LogFormat::Json => {
            let subscriber = subscriber
                .json()
                .flatten_event(true)
                .with_filter_reloading();
            let handle = subscriber.reload_handle();
            let level = move |filter| drop(handle.reload(filter));
            (subscriber.try_init(), Box::new(level))
        }
        LogFormat::Text => {
            let subscriber = subscriber
                .with_ansi(std::io::stderr().is_terminal())
                .with_filter_reloading();
            let handle = subscriber.reload_handle();
            let level = move |filter| drop(handle.reload(filter));
            (subscriber.try_init(), Box::new(level))
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))?;
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let what = info.payload_as_str().unwrap_or("no reason was given");
        tracing::error!(at = place.as_deref(), "panicked: {what}");
        // The process ends with its first thread; the others' panics are caught, or end their service.
        if std::thread::current().name() == Some("main") {
            crate::lines::finish();
        }
    }));
    Ok(Level(level))
}
