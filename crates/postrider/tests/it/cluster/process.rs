//! One process of a cluster: started, killed, stopped and started again under its name.

use std::time::{Duration, Instant};

use postrider_failpoint::VARIABLE;
use postrider_testkit::{Kill, Launch, Server, eventually};
use serde_json::Value;

use super::{PATIENCE, losses};

/// What a killed process had sent has been read by then; what another sends in its place comes seconds later, when its
/// session has ended.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(2);

/// Outputs are acknowledged first, positions committed after: at once, and every second at least. 11 ms were seen.
pub(super) const COMMITTED_WITHIN: Duration = Duration::from_secs(1);

/// A process and how it is started.
pub(crate) struct Process {
    launch: Launch,
    server: Option<Server>,
}

impl Process {
    pub(super) async fn start(launch: Launch) -> Self {
        let server = launch.start().await.unwrap();
        // The same port after each restart, so that clients find it again.
        let launch = launch.listen(server.address().unwrap());
        let server = Some(server);
        Self { launch, server }
    }

    /// While it runs.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Ends it as `kill -9` does. What it finished since the last commit that it logged comes again.
    pub(crate) fn kill(&mut self) -> Kill {
        let log = self.server().log();
        let before = Instant::now();
        self.server.take().unwrap().kill().unwrap();
        let committed_before = losses::last_commit(&log).unwrap_or_default();
        Kill {
            reach: COMMITTED_WITHIN + committed_before,
            ..fault(before)
        }
    }

    /// Ends it by SIGTERM.
    pub(crate) async fn terminate(&mut self) {
        let Some(server) = self.server.take() else {
            return;
        };
        let status = server.terminate(PATIENCE).await.unwrap();
        assert!(status.success(), "ended with {status}");
    }

    /// Starts it again.
    pub(crate) async fn restart(&mut self) {
        assert!(self.server.is_none(), "it runs");
        self.server = Some(self.launch.start().await.unwrap());
    }

    /// Starts it again, so that it stops at this passage of a fail point.
    pub(crate) async fn restart_stopping_at(&mut self, point: &str, passage: u64) {
        let launch = self.launch.clone();
        self.launch = launch.variable(VARIABLE, format!("{point}:{passage}"));
        self.restart().await;
        self.launch = self.launch.clone().without_variable(VARIABLE);
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) {
        let ready = eventually("it is ready", PATIENCE, async || {
            (self.readiness().await["status"] == "ready").then_some(())
        });
        ready.await.unwrap();
    }

    /// What it says of its parts; nothing if it does not answer.
    pub(crate) async fn readiness(&self) -> Value {
        let api = self.server().api().unwrap();
        let answer = api.try_get("/health/ready").await;
        answer.map_or(Value::Null, |answer| answer.body)
    }

    /// The sum of a counter or a gauge, over the labels that begin so.
    pub(crate) async fn counted(&self, beginning: &str) -> f64 {
        let metrics = self.server().api().unwrap().metrics().await.unwrap();
        crate::counted::sum(&metrics, beginning)
    }
}

/// What a fault at this moment excuses.
pub(crate) fn fault(before: Instant) -> Kill {
    from_to(before, before + READ_WITHIN)
}

/// What a fault that has lasted since then, and is over, excuses.
pub(crate) fn lasted(since: Instant) -> Kill {
    from_to(since, Instant::now())
}

/// What a fault between these excuses.
pub(crate) fn from_to(before: Instant, after: Instant) -> Kill {
    Kill {
        before,
        after,
        reach: COMMITTED_WITHIN,
    }
}
