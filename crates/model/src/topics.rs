//! Every topic: who writes it, who reads it, how long it is kept. The one table behind all adapters.

use std::time::Duration;

use crate::{Group, Topic};

/// How long a topic's records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Until every one of these groups has finished them. A group that never committed has finished none.
    UntilFinished(&'static [Group]),
    /// The newest of each key.
    Newest,
    /// For this long.
    For(Duration),
}

/// A topic and how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub topic: Topic,
    /// How long its records are kept.
    pub keep: Keep,
}

/// Reads `events`, writes `deliveries`.
pub const FANOUT: Group = Group("fanout");
/// Reads `events`, `fanouts`, `attempts`; writes the store.
pub const RECORDER: Group = Group("recorder");
/// Reads `deliveries`.
pub const WORKER: Group = Group("worker");
/// Reads `retry.*` and `park.*`.
pub const PUMP: Group = Group("pump");
/// Reads `dead-letters`, writes the store.
pub const DEADLETTER: Group = Group("deadletter");

/// Accepted events, keyed by application.
pub const EVENTS: Topic = Topic("events");
/// Records of `events` that only an up-to-date registry can deal with, keyed by application.
pub const EVENTS_WAITING: Topic = Topic("events.waiting");
/// Records of `events` that could not be read, with the reason in a header.
pub const EVENTS_REJECTED: Topic = Topic("events.rejected");
/// Whom each event went to, keyed by event.
pub const FANOUTS: Topic = Topic("fanouts");
/// Deliveries that go before others, keyed by endpoint.
pub const DELIVERIES_HIGH: Topic = Topic("deliveries.high");
/// Deliveries, keyed by endpoint.
pub const DELIVERIES_NORMAL: Topic = Topic("deliveries.normal");
/// Deliveries of large fan-outs and replays, keyed by endpoint.
pub const DELIVERIES_BULK: Topic = Topic("deliveries.bulk");
/// Attempts, keyed by endpoint.
pub const ATTEMPTS: Topic = Topic("attempts");
/// Deliveries that were given up, keyed by endpoint.
pub const DEAD_LETTERS: Topic = Topic("dead-letters");
/// What the owner of each endpoint knows of it, keyed by endpoint.
pub const ENDPOINT_STATE: Topic = Topic("endpoint-state");

/// A topic in which every record waits equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The topic.
    pub topic: Topic,
    /// How long each record waits in it.
    pub delay: Duration,
}

const fn tier(name: &'static str, seconds: u64) -> Tier {
    Tier {
        topic: Topic(name),
        delay: Duration::from_secs(seconds),
    }
}

/// The tiers of failed deliveries, shortest first. Each is about four times the one before, so that a wait takes few
/// hops ([`crate::MAX_HOPS`]).
pub const RETRY: [Tier; 9] = [
    tier("retry.1s", 1),
    tier("retry.5s", 5),
    tier("retry.20s", 20),
    tier("retry.1m", 60),
    tier("retry.5m", 300),
    tier("retry.20m", 1200),
    tier("retry.1h", 3600),
    tier("retry.6h", 21600),
    tier("retry.1d", 86400),
];

/// The tiers of parked deliveries, shortest first.
pub const PARK: [Tier; 9] = [
    tier("park.1s", 1),
    tier("park.5s", 5),
    tier("park.20s", 20),
    tier("park.1m", 60),
    tier("park.5m", 300),
    tier("park.20m", 1200),
    tier("park.1h", 3600),
    tier("park.6h", 21600),
    tier("park.1d", 86400),
];

const fn until_finished(topic: Topic, groups: &'static [Group]) -> TopicSpec {
    TopicSpec {
        topic,
        keep: Keep::UntilFinished(groups),
    }
}

/// Every topic of the pipeline.
pub fn all() -> Vec<TopicSpec> {
    let mut specs = vec![
        until_finished(EVENTS, &[FANOUT, RECORDER]),
        until_finished(EVENTS_WAITING, &[FANOUT]),
        TopicSpec {
            topic: EVENTS_REJECTED,
            keep: Keep::For(Duration::from_secs(7 * 24 * 3600)),
        },
        until_finished(FANOUTS, &[RECORDER]),
        until_finished(DELIVERIES_HIGH, &[WORKER]),
        until_finished(DELIVERIES_NORMAL, &[WORKER]),
        until_finished(DELIVERIES_BULK, &[WORKER]),
        until_finished(ATTEMPTS, &[RECORDER]),
        until_finished(DEAD_LETTERS, &[DEADLETTER]),
        TopicSpec {
            topic: ENDPOINT_STATE,
            keep: Keep::Newest,
        },
    ];
    specs.extend(
        RETRY
            .iter()
            .chain(&PARK)
            .map(|tier| until_finished(tier.topic, &[PUMP])),
    );
    specs
}
