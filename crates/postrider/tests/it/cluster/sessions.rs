//! How long the brokers bear with a member that says nothing.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::Cluster;

/// As brokers have it by default: nobody is missed while a test lasts, also where a machine has hardly any time for it.
/// So partitions that are lost all the same were lost by what we did.
pub(super) const DEFAULT: Duration = Duration::from_secs(45);

/// Where a killed process is to be missed, and nobody else: longer than a machine keeps one that lives from saying so.
pub(super) const LONG: Duration = Duration::from_secs(15);

/// As the brokers of tests have it, so that what a killed process had is taken over soon.
pub(super) const SHORT: Duration = Duration::from_secs(6);

const GROUPS: [&str; 5] = ["fanout", "worker", "pump", "deadletter", "recorder"];

impl Cluster {
    /// Members that the brokers hear of from now on have sessions of this length.
    pub(super) async fn sessions_last(&self, session: Duration) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.setting("LOG__KAFKA__BROKERS"));
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let millis = session.as_millis().to_string();
        for group in GROUPS {
            let group = format!("{}{group}", self.prefix);
            let change = AlterConfig::new(ResourceSpecifier::Group(&group))
                .set("consumer.session.timeout.ms", &millis);
            let changed = admin.alter_configs([&change], &AdminOptions::new()).await;
            changed.unwrap().pop().unwrap().unwrap();
        }
    }
}
