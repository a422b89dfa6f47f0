//! The signals that ask the process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that was told twice: 128 and SIGINT, as shells count.
const TOLD_TWICE: i32 = 130;

/// The handlers of SIGTERM and SIGINT. From [`Signals::new`] on neither ends the process by itself.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Must be called in a runtime, before anybody is told that the process can be stopped.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first, and names it. Afterwards a further one ends the process at once, whatever it does: what is in
    /// flight then is delivered again at the next start.
    pub(crate) async fn stop(mut self) -> &'static str {
        let name = self.next().await;
        tokio::spawn(async move {
            self.next().await;
            end();
        });
        name
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person or a supervisor insists: no drain"
)]
fn end() -> ! {
    tracing::warn!("told twice: stopping at once");
    std::process::exit(TOLD_TWICE)
}
