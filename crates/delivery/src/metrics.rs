//! What the worker counts.

use postrider_metrics::{BATCH_BUCKETS, LATENCY_BUCKETS, Label, label, metrics};
use postrider_model::{DeathReason, Outcome};

label! {
    /// Why a delivery was parked.
    pub enum ParkReason("reason") {
        NotDue = "not_due",
        BreakerOpen = "breaker_open",
        Limited = "limited",
        Full = "lane_full",
        Slow = "slow",
        Memory = "memory",
        Budget = "unfinished_budget",
        Watermark = "watermark",
        StoreDown = "store_down",
        NotReady = "endpoint_not_ready",
    }
}

label! {
    /// What became of a delivery that its endpoint could have taken at once.
    pub enum Prompt("result") {
        /// It succeeded within the time that is aimed at.
        InTime = "in_time",
        /// It succeeded, but later.
        Late = "late",
        /// We put it off for reasons of our own.
        PutOff = "put_off",
        /// Its endpoint failed the first attempt.
        Failed = "failed",
    }
}

label! {
    /// Where a breaker stands.
    pub enum BreakerAt("state") { Closed = "closed", Open = "open", HalfOpen = "half_open" }
}

impl ParkReason {
    /// True if it is for want of something of ours that a delivery is parked.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::Memory | Self::Budget | Self::Watermark | Self::StoreDown | Self::NotReady => {
                true
            }
            Self::NotDue | Self::BreakerOpen | Self::Limited | Self::Full | Self::Slow => false,
        }
    }
}

/// An [`Outcome`] as a label.
#[derive(Debug, Clone, Copy)]
pub struct ByOutcome(pub Outcome);

impl Label for ByOutcome {
    const NAME: &'static str = "outcome";
    const VALUES: &'static [&'static str] = &{
        let mut labels = [""; Outcome::ALL.len()];
        let mut n = 0;
        while n < labels.len() {
            labels[n] = Outcome::ALL[n].label();
            n += 1;
        }
        labels
    };

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A [`DeathReason`] as a label.
#[derive(Debug, Clone, Copy)]
pub struct ByDeath(pub DeathReason);

impl Label for ByDeath {
    const NAME: &'static str = "reason";
    const VALUES: &'static [&'static str] = &{
        let mut labels = [""; DeathReason::ALL.len()];
        let mut n = 0;
        while n < labels.len() {
            labels[n] = DeathReason::ALL[n].label();
            n += 1;
        }
        labels
    };

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Like those of other latencies, but to the days that a schedule may take.
const SUCCESS_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0, 7200.0, 28_800.0, 86_400.0, 345_600.0,
];

metrics! {
    /// What the worker counts.
    pub struct DeliveryMetrics {
        attempts: CounterVec<ByOutcome>("postrider_delivery_attempts_total", "attempts", "Attempts ended, by outcome."),
        attempt: HistogramVec<ByOutcome>("postrider_delivery_attempt_seconds", "seconds", "Duration of an attempt.", LATENCY_BUCKETS),
        latency: Histogram("postrider_delivery_latency_seconds", "seconds", "From the event's acceptance to the endpoint's answer, of what succeeded at the first attempt.", LATENCY_BUCKETS),
        first_attempt: Histogram("postrider_delivery_first_attempt_latency_seconds", "seconds", "From the event's acceptance to the end of the first attempt, whatever it brought; replays not counted.", LATENCY_BUCKETS),
        success: Histogram("postrider_delivery_success_latency_seconds", "seconds", "From the event's acceptance to success, at whichever attempt; replays not counted.", SUCCESS_BUCKETS),
        prompt: CounterVec<Prompt>("postrider_delivery_prompt_total", "deliveries", "Deliveries whose endpoint could take them at once when they were read (breaker closed, no limit reached), by what became of them; in time is within 30 s of acceptance."),
        dead: CounterVec<ByDeath>("postrider_delivery_dead_letters_total", "deliveries", "Deliveries given up, by reason."),
        parked: CounterVec<ParkReason>("postrider_delivery_parked_total", "deliveries", "Deliveries parked, by reason; each time counts."),
        read: Counter("postrider_delivery_read_total", "deliveries", "Deliveries read from the log."),
        skipped: Counter("postrider_delivery_skipped_total", "deliveries", "Deliveries read again that were finished already."),
        repeats: Counter("postrider_delivery_repeats_total", "deliveries", "Deliveries written twice by a crash or an unanswered write, whose second was passed over."),
        malformed: Counter("postrider_delivery_malformed_total", "records", "Records that are no deliveries as we know them; they are put into events.rejected."),
        lost: Counter("postrider_delivery_trimmed_unread_total", "partitions", "Times that the log had trimmed what was still to be read: deliveries are lost."),
        too_large: Counter("postrider_delivery_too_large_total", "records", "Outputs that the log refused for their size: deliveries became dead letters, dead letters lost their payload."),
        in_flight: Gauge("postrider_delivery_in_flight", "attempts", "Attempts in flight."),
        lanes: Gauge("postrider_delivery_lanes", "endpoints", "Endpoints that have a lane in memory."),
        lookups: Gauge("postrider_delivery_lookups_waiting", "lookups", "Lookups of names that wait for their turn, counted every few seconds; those whose names failed or are new wait for themselves."),
        open_breakers: Gauge("postrider_delivery_open_breakers", "endpoints", "Endpoints whose breaker is not closed."),
        breakers: GaugeVec<BreakerAt>("postrider_delivery_breakers", "endpoints", "Endpoints with a lane in memory by where their breaker stands, counted every few seconds."),
        worst_backlog: Worst("postrider_delivery_worst_backlog", "deliveries", "Deliveries that wait or are parked, of the ten endpoints of this process that have most.", "endpoint"),
        worst_failing: Worst("postrider_delivery_worst_failing_seconds", "seconds", "How long an endpoint has failed without a success, of the ten of this process that have failed longest.", "endpoint"),
        waiting: Gauge("postrider_delivery_waiting", "deliveries", "Deliveries read and not started."),
        oldest_waiting: FloatGauge("postrider_delivery_oldest_waiting_seconds", "seconds", "How long the oldest delivery has been in memory that its endpoint could take and that is not started, for want of sockets or processor time here; looked at every few seconds, 0 if there is none."),
        oldest_unfinished: FloatGauge("postrider_delivery_oldest_unfinished_seconds", "seconds", "How long the oldest delivery that is not finished has been in memory, in flight or not."),
        held: Gauge("postrider_delivery_held_bytes", "bytes", "Memory of the deliveries that are read and not finished."),
        unfinished: Gauge("postrider_delivery_unfinished", "deliveries", "Deliveries read and not finished, in the partition that has most."),
        paused: Gauge("postrider_delivery_reading_paused", "partitions", "Partitions whose reading is paused because memory, budget or the log are short."),
        commit: Histogram("postrider_delivery_commit_batch", "deliveries", "Deliveries finished with one commit.", BATCH_BUCKETS),
        commit_failures: Counter("postrider_delivery_commit_failures_total", "commits", "Commits that the log did not take; they are tried again."),
        stale_parks: Counter("postrider_delivery_refresh_failures_total", "refreshes", "Times that the configuration could not be refreshed before a verdict."),
    }
}
