//! How much is measured.

use std::time::Duration;

/// The numbers of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Events of the first row.
    pub(crate) single_events: u64,
    /// Events of the fan-out row, each to ten endpoints.
    pub(crate) fanout_events: u64,
    /// Interleaved pairs for ratios of CPU.
    pub(crate) cpu_pairs: usize,
    /// Interleaved pairs for ratios of latency.
    pub(crate) latency_pairs: usize,
    /// How long each run of a ratio of latency lasts.
    pub(crate) latency_run: Duration,
    /// How long each run of the open loop lasts.
    pub(crate) open_run: Duration,
    /// Deliveries that wait for the dead endpoint.
    pub(crate) backlog: u64,
    /// Endpoints that get nothing.
    pub(crate) idle: u64,
    /// Endpoints that hang at once.
    pub(crate) hanging: u64,
    /// Events sent past them.
    pub(crate) passing_events: u64,
    /// Events that wait for each worker, each for fifty endpoints.
    pub(crate) worker_events: u64,
    /// How long workers are measured.
    pub(crate) worker_run: Duration,
    /// How often one of two workers is killed.
    pub(crate) kills: usize,
}

impl Scale {
    pub(crate) const fn new(quick: bool) -> Self {
        if quick {
            return Self {
                single_events: 5_000,
                fanout_events: 1_000,
                cpu_pairs: 1,
                latency_pairs: 1,
                latency_run: Duration::from_secs(3),
                open_run: Duration::from_secs(3),
                backlog: 20_000,
                idle: 5_000,
                hanging: 500,
                passing_events: 3_000,
                worker_events: 3_000,
                worker_run: Duration::from_secs(10),
                kills: 1,
            };
        }
        Self {
            single_events: 50_000,
            fanout_events: 10_000,
            cpu_pairs: 3,
            latency_pairs: 7,
            latency_run: Duration::from_secs(6),
            open_run: Duration::from_secs(15),
            backlog: 300_000,
            idle: 100_000,
            hanging: 10_000,
            passing_events: 20_000,
            worker_events: 10_000,
            worker_run: Duration::from_secs(120),
            kills: 3,
        }
    }
}
