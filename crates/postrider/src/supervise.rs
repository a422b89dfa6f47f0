//! Services run until told to stop, in stages; none ends by itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::anyhow;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use postrider_log::LogError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::out::causes;

/// Services that stop together.
pub(crate) struct Stage {
    /// How long they may take to finish what they have in hand.
    drain: Duration,
    shutdown: CancellationToken,
    services: JoinSet<Ended>,
}

/// A service that has ended, and how.
struct Ended {
    name: &'static str,
    result: anyhow::Result<()>,
}

impl Ended {
    /// The reason to stop the process: whatever it returned, it was not told to end.
    fn into_error(self) -> anyhow::Error {
        let why = match self.result {
            Err(error) => error,
            Ok(()) => anyhow!("it returned although nobody had told it to"),
        };
        why.context(format!("the service {} stopped", self.name))
    }
}

impl Stage {
    pub(crate) fn new(drain: Duration) -> Self {
        Self {
            drain,
            shutdown: CancellationToken::new(),
            services: JoinSet::new(),
        }
    }

    /// Starts a service, which gets the token that tells it to stop.
    pub(crate) fn spawn<F>(
        &mut self,
        name: &'static str,
        start: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let running = AssertUnwindSafe(start(self.shutdown.clone())).catch_unwind();
        self.services.spawn(async move {
            let result = running
                .await
                .unwrap_or_else(|_| Err(anyhow!("it panicked; the log says where")));
            Ended { name, result }
        });
    }

    /// The first of its services to end; for ever if there is none.
    async fn next_end(&mut self) -> Ended {
        match self.services.join_next().await {
            Some(Ok(ended)) => ended,
            // Panics are caught inside, and nothing aborts a service that is waited for here.
            Some(Err(error)) => Ended {
                name: "unknown",
                result: Err(error.into()),
            },
            None => std::future::pending().await,
        }
    }

    /// Tells its services to stop and waits for them, as long as they may take. Returns the first failure.
    async fn stop(&mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let mut result = Ok(());
        let all_ended = async {
            while let Some(ended) = self.services.join_next().await {
                let ended = match ended {
                    Ok(Ended { name, result }) => result.map_err(|error| {
                        error.context(format!("the service {name} failed while it stopped"))
                    }),
                    Err(error) => Err(error.into()),
                };
                result = std::mem::replace(&mut result, Ok(())).and(ended);
            }
        };
        if tokio::time::timeout(self.drain, all_ended).await.is_err() {
            let after_s = self.drain.as_secs();
            tracing::warn!(
                after_s,
                "a service had not finished when its time was over; what it had in hand is done again at the next start"
            );
            self.services.shutdown().await;
        }
        result
    }
}

/// Runs the stages until `stop` or until a service ends by itself, then stops them one after the other, in this order.
///
/// # Errors
/// Which service ended by itself, and why; or the first that failed while it stopped.
pub(crate) async fn run(
    mut stages: Vec<Stage>,
    stop: impl Future<Output = &'static str>,
    draining: impl FnOnce(),
) -> anyhow::Result<()> {
    let first_end = async {
        let mut ends: FuturesUnordered<_> = stages.iter_mut().map(Stage::next_end).collect();
        ends.next().await
    };
    let mut result = tokio::select! {
        Some(ended) = first_end => {
            let error = ended.into_error();
            let goes_on = match is_the_logs(&error) {
                true => "a start goes on from the log once that is mended",
                false => "it goes on from the log when it is started again",
            };
            tracing::error!("{}; stopping the process: {goes_on}", causes(&error));
            Err(error)
        }
        why = stop => {
            tracing::info!("{why}: finishing what is in hand; {}", crate::signals::AGAIN);
            Ok(())
        }
    };
    draining();
    for stage in &mut stages {
        let stopped = stage.stop().await;
        result = result.and(stopped);
    }
    result
}

/// True if the log itself gave up: what it says has to be seen to first.
fn is_the_logs(error: &anyhow::Error) -> bool {
    let is_stopped = |cause: &LogError| matches!(cause, LogError::Stopped(_));
    error
        .chain()
        .any(|cause| cause.downcast_ref().is_some_and(is_stopped))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const DRAIN: Duration = Duration::from_secs(5);

    fn until_told(stage: &mut Stage, name: &'static str, order: &Arc<Mutex<Vec<&'static str>>>) {
        let order = Arc::clone(order);
        stage.spawn(name, |shutdown| async move {
            shutdown.cancelled().await;
            order.lock().unwrap().push(name);
            Ok(())
        });
    }

    #[tokio::test]
    async fn stages_stop_in_order_when_told() {
        let order = Arc::default();
        let mut stages = vec![Stage::new(DRAIN), Stage::new(DRAIN)];
        until_told(&mut stages[1], "recorder", &order);
        until_told(&mut stages[0], "http", &order);
        run(stages, async { "SIGTERM" }, || {}).await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["http", "recorder"]);
    }

    #[tokio::test]
    async fn a_service_that_fails_takes_the_process_with_it_and_is_named() {
        let order = Arc::default();
        let mut stages = vec![Stage::new(DRAIN), Stage::new(DRAIN)];
        until_told(&mut stages[0], "http", &order);
        stages[1].spawn("recorder", |_| async { Err(anyhow!("the disk is gone")) });
        let error = run(stages, std::future::pending(), || {})
            .await
            .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "the service recorder stopped: the disk is gone"
        );
        assert_eq!(*order.lock().unwrap(), ["http"], "the others still finish");
    }

    #[tokio::test]
    async fn a_service_that_panics_or_returns_early_is_a_failure_too() {
        for (panics, says) in [(true, "it panicked"), (false, "nobody had told it to")] {
            let mut stage = Stage::new(DRAIN);
            stage.spawn("pump", move |_| async move {
                assert!(!panics, "as this test wants");
                Ok(())
            });
            let error = run(vec![stage], std::future::pending(), || {})
                .await
                .unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
    }

    #[tokio::test]
    async fn a_service_that_does_not_finish_is_cut_off_after_its_time() {
        let mut stage = Stage::new(Duration::from_millis(10));
        stage.spawn("worker", |_| std::future::pending());
        run(vec![stage], async { "SIGTERM" }, || {}).await.unwrap();
    }
}
