//! The signals that ask the process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What whoever told the process to stop may want to know.
pub(crate) const AGAIN: &str = "again to stop at once";

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
        let first = self.next().await;
        tokio::spawn(async move {
            let second = self.next().await;
            end(second);
        });
        first.name
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => INTERRUPT,
        }
    }
}

/// A signal that came, and the exit code of a process that it ends: 128 and its number, as shells count.
struct Told {
    name: &'static str,
    code: i32,
}

const TERMINATE: Told = Told {
    name: "SIGTERM",
    code: 128 + 15,
};
const INTERRUPT: Told = Told {
    name: "SIGINT",
    code: 128 + 2,
};

#[expect(
    clippy::disallowed_methods,
    reason = "a person or a supervisor insists: no drain"
)]
fn end(told: Told) -> ! {
    tracing::warn!("{} as well: stopping at once", told.name);
    std::process::exit(told.code)
}
