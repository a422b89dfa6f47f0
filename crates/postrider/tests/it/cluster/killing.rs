//! kill -9 of each role in turn.

use std::time::Duration;

use postrider_testkit::{Seed, setting};

use super::crowd::Crowd;
use super::{Basis, Cluster, sessions};

/// Each a process of its own, and two workers.
const PROCESSES: [(&str, &str); 8] = [
    ("ingest", "ingest"),
    ("fanout", "fanout"),
    ("worker-1", "worker"),
    ("worker-2", "worker"),
    ("pump", "pump"),
    ("deadletter", "deadletter"),
    ("recorder", "recorder"),
    ("api", "api"),
];

const EVENTS_PER_SECOND: f64 = 20.0;

#[tokio::test(flavor = "multi_thread")]
async fn whichever_role_is_killed_under_load_nothing_is_lost_and_only_what_was_in_hand_repeats() {
    let mut seed = Seed::printed();
    let rounds = setting("POSTRIDER_TEST_CLUSTER_ROUNDS", 1);
    let mut cluster = Cluster::on(&Basis::shared()).await;
    Crowd::prepare(&mut cluster);
    cluster.lay_out().await;
    cluster.sessions_last(sessions::LONG).await;
    for (name, role) in PROCESSES {
        cluster.play(name, role).await;
    }
    cluster.ready().await;
    let crowd = Crowd::settle_for(&cluster, "api", EVENTS_PER_SECOND).await;
    let load = crowd.load(&cluster, "ingest", EVENTS_PER_SECOND);
    let mut faults = Vec::new();
    for _ in 0..rounds {
        let mut left: Vec<_> = PROCESSES.iter().map(|(name, _)| *name).collect();
        while !left.is_empty() {
            let index = seed.between(0, left.len() as u64);
            let name = left.swap_remove(usize::try_from(index).unwrap());
            wait(&mut seed, 1500).await;
            let kill = cluster.process(name).kill();
            if ["worker-1", "worker-2", "fanout", "pump"].contains(&name) {
                faults.push((name, kill));
            }
            wait(&mut seed, 1500).await;
            cluster.process(name).restart().await;
        }
    }
    let report = load.stop().await;
    crowd.hold(&cluster, "api", &report, &faults).await;
    // Who is killed has nobody left to lose anything, and nobody else is to.
    cluster.only_lost_by(&[]);
}

/// A moment of at most so many milliseconds.
async fn wait(seed: &mut Seed, at_most: u64) {
    tokio::time::sleep(Duration::from_millis(seed.between(20, at_most))).await;
}
