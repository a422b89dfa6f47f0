use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::LookupError;
use crate::memory::Addresses;
use crate::names::Names;

/// One lookup of a name, which all wait for who ask for the name meanwhile.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) began: Instant,
    pub(crate) stage: watch::Sender<Stage>,
}

/// How far a lookup is.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// It waits for its turn.
    Waiting,
    /// It is asked for, since then.
    Asked(Instant),
    /// It has ended.
    Ended(Result<Addresses, LookupError>),
}

impl Flight {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            stage: watch::Sender::new(Stage::Waiting),
        }
    }
}

/// Counts a lookup that waits for its turn.
pub(crate) struct Queued(Arc<AtomicUsize>);

impl Queued {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the lookup out of the names when it ends, however that is: the next who asks begins another.
pub(crate) struct Flying {
    pub(crate) names: Arc<Names>,
    pub(crate) host: Arc<str>,
    pub(crate) flight: Arc<Flight>,
}

impl Flying {
    /// Waits for the turn, asks, and tells. A lookup that nobody waits for any more before its turn is not asked; one that was
    /// asked goes on, and keeps its turn, until it ends.
    pub(crate) async fn run(self, queued: Queued, turns: Arc<Semaphore>) {
        let mut turn = std::pin::pin!(turns.acquire_owned());
        let _turn = loop {
            tokio::select! {
                biased;
                () = self.flight.stage.closed() => if self.names.abandon(&self.host, &self.flight) {
                    return;
                },
                turn = &mut turn => break turn,
            }
        };
        drop(queued);
        self.flight.stage.send_replace(Stage::Asked(Instant::now()));
        let result = self.names.ask(&self.host).await;
        self.names.learn(&self.host, &self.flight, &result);
        self.flight.stage.send_replace(Stage::Ended(result));
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.names.end(&self.host, &self.flight);
    }
}
