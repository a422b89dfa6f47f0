//! What each role does with the log, topic by topic: what its user has to be allowed on brokers that ask.

use postrider_log::{Group, Topic};
use postrider_log_kafka::Access;
use postrider_model::topics::{
    ATTEMPTS, DEAD_LETTERS, DEADLETTER, DELIVERIES_BULK, DELIVERIES_HIGH, DELIVERIES_NORMAL,
    ENDPOINT_STATE, EVENTS, EVENTS_REJECTED, EVENTS_WAITING, FANOUT, FANOUTS, PARK, PUMP, RECORDER,
    RETRY, Tier, WORKER,
};

use crate::roles::Role;

const DELIVERIES: [Topic; 3] = [DELIVERIES_HIGH, DELIVERIES_NORMAL, DELIVERIES_BULK];

/// What these roles do, together.
pub(crate) fn of(roles: impl IntoIterator<Item = Role>) -> Access {
    let mut all = Access::default();
    for role in roles {
        let (group, reads, writes) = of_one(role);
        all.groups.extend(group);
        all.reads.extend(reads);
        all.writes.extend(writes);
    }
    all
}

fn of_one(role: Role) -> (Option<Group>, Vec<Topic>, Vec<Topic>) {
    let tiers = |tiers: &[Tier]| tiers.iter().map(|tier| tier.topic).collect::<Vec<_>>();
    let (retry, park, deliveries) = (tiers(&RETRY), tiers(&PARK), DELIVERIES.to_vec());
    match role {
        Role::Ingest => (None, vec![], vec![EVENTS]),
        Role::Fanout => {
            let own = vec![
                EVENTS,
                EVENTS_WAITING,
                EVENTS_REJECTED,
                FANOUTS,
                DEAD_LETTERS,
            ];
            let reads = vec![EVENTS, EVENTS_WAITING];
            (Some(FANOUT), reads, [own, deliveries, retry].concat())
        }
        Role::Worker => {
            let own = vec![ATTEMPTS, DEAD_LETTERS, ENDPOINT_STATE, EVENTS_REJECTED];
            let reads = [deliveries, vec![ENDPOINT_STATE]].concat();
            (Some(WORKER), reads, [own, retry, park].concat())
        }
        Role::Pump => {
            let reads = [retry.clone(), park.clone(), vec![ENDPOINT_STATE]].concat();
            let own = vec![DEAD_LETTERS, EVENTS_REJECTED];
            (Some(PUMP), reads, [own, deliveries, retry, park].concat())
        }
        Role::Deadletter => {
            let writes = [deliveries, vec![EVENTS_REJECTED]].concat();
            (Some(DEADLETTER), vec![DEAD_LETTERS], writes)
        }
        Role::Recorder => {
            let reads = vec![EVENTS, FANOUTS, ATTEMPTS];
            (Some(RECORDER), reads, vec![EVENTS_REJECTED])
        }
        Role::Api => {
            let reads = vec![EVENTS_REJECTED, ENDPOINT_STATE];
            (
                None,
                reads,
                [vec![EVENTS, EVENTS_WAITING], deliveries].concat(),
            )
        }
    }
}
