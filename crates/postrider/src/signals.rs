//! The signals that ask the process to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a process that was told twice: 128 and SIGINT, as shells count.
const TOLD_TWICE: i32 = 130;

/// Waits for SIGTERM or SIGINT, once. Afterwards a further one ends the process at once, whatever it does: what is in
/// flight then is delivered again at the next start.
pub(crate) async fn stop() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the system's own stand: the first signal ends the process.
        tracing::error!("the process cannot handle signals: it will stop without draining");
        return std::future::pending().await;
    };
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        end();
    });
    name
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person or a supervisor insists: no drain"
)]
fn end() -> ! {
    tracing::warn!("told twice: stopping at once");
    std::process::exit(TOLD_TWICE)
}
