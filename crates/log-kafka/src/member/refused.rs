//! Telling that brokers do not let a member do what it has to.

use std::time::{Duration, Instant};

use postrider_log::Group;

/// So often, while it lasts.
const EVERY: Duration = Duration::from_secs(30);

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Refused {
    told: Option<Instant>,
}

impl Refused {
    /// Tells it, unless it was told a moment ago: librdkafka asks again and again.
    pub(super) fn tell(&mut self, group: Group, error: &dyn std::fmt::Display) {
        if self.told.is_some_and(|told| told.elapsed() < EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        tracing::error!(
            %group,
            %error,
            "the brokers do not let our user read this group or one of its topics, so nothing of it is done here: \
             `postrider doctor --roles` says what is missing"
        );
    }
}
