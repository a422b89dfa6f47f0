//! The signals that ask the process to stop.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lines;

/// What whoever told the process to stop may want to know.
pub(crate) const AGAIN: &str = "again, a second from now or later, to stop at once";

/// Signals that come within this time are one wish: `timeout`, for one, tells the process and then its whole group.
const ONE_WISH: Duration = Duration::from_secs(1);

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

    /// Waits for the first, and names it. A further one, of a second later or more, ends the process at once, whatever it
    /// does: what is in flight then is delivered again at the next start.
    pub(crate) async fn stop(mut self) -> &'static str {
        let first = self.next().await;
        let at = Instant::now();
        tokio::spawn(async move {
            loop {
                let further = self.next().await;
                if is_another_wish(at, Instant::now()) {
                    end(further);
                }
                tracing::info!(
                    "{} within a second of the first: counted as one",
                    further.name
                );
            }
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

/// True if a signal of `now` says more than the first, which came at `first`.
fn is_another_wish(first: Instant, now: Instant) -> bool {
    now.duration_since(first) >= ONE_WISH
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
    lines::finish();
    std::process::exit(told.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_a_second_of_the_first_are_one_wish() {
        let first = Instant::now();
        for (after_ms, another) in [(0, false), (5, false), (999, false), (1000, true)] {
            let now = first + Duration::from_millis(after_ms);
            assert_eq!(is_another_wish(first, now), another, "{after_ms} ms");
        }
    }
}
