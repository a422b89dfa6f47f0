//! Logs to standard error. Never tokens, secrets or payloads: nothing that is logged anywhere carries one.

use std::io::IsTerminal;

use crate::config::{LogFormat, Logs};

/// Begins to log. Panics are logged, too, so that a collector of JSON lines sees them.
pub(crate) fn start(logs: &Logs) -> anyhow::Result<()> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(logs.level.to_filter())
        .with_writer(std::io::stderr);
    let started = match logs.format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))?;
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let what = info.payload_as_str().unwrap_or("no reason was given");
        tracing::error!(at = place.as_deref(), "panicked: {what}");
    }));
    Ok(())
}
