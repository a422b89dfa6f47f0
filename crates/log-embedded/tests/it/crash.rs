//! A kill in mid-append, and what a crash can leave at the end of the WAL.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postrider_log::testing::conformance::{A, B, FIRST, Member, SECOND, topics};
use postrider_log::{BatchLimit, Durability, Log, NewRecord, Purpose};
use postrider_log_embedded::EmbeddedLog;

use crate::support::{Other, given_dir, numbers, options, sized};

/// Says which numbers were acknowledged, and writes an output for each input that it finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own, for the tests below"]
async fn a_process_that_appends_until_it_is_killed() {
    let Some(dir) = given_dir() else { return };
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(options(&dir, topics())).unwrap());
    let begin = log.ends(A).await.unwrap()[0].1;
    let next = Arc::new(AtomicU64::new(begin * 1000));
    for writer in 0..4 {
        let (log, next) = (Arc::clone(&log), Arc::clone(&next));
        tokio::spawn(async move {
            let durability = [Durability::Ordered, Durability::Synced][writer % 2];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let record = vec![sized(number, 300)];
                log.append(record, durability, Purpose::Intake)
                    .await
                    .unwrap();
                println!("acknowledged {number}");
            }
        });
    }
    let mut member = Member::join_weighted(&*log, FIRST, &[(A, 1), (B, 1)]).await;
    loop {
        let limit = BatchLimit {
            records: 50,
            bytes: 1 << 20,
        };
        let inputs = member.batch(limit).await;
        let output = |input: &postrider_log::Record| NewRecord::new(B, input.key.clone(), "");
        let outputs = inputs
            .iter()
            .filter(|input| input.at.topic == A)
            .map(output)
            .collect();
        member.finish(outputs).await.unwrap();
    }
}

/// Runs the process above, kills it after so many acknowledgements, and returns them.
fn kill_after(dir: &Path, acknowledgements: usize) -> Vec<u64> {
    let mut other = Other::run("crash::a_process_that_appends_until_it_is_killed", dir);
    let mut acknowledged = Vec::new();
    let mut killed = false;
    while let Some(number) = other.told("acknowledged ") {
        // The kill may cut the last line short.
        acknowledged.extend(number.parse::<u64>());
        if acknowledged.len() >= acknowledgements && !killed {
            killed = true;
            other.kill();
        }
    }
    assert!(killed, "it ended by itself");
    acknowledged.pop();
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_kill_is_there_once_and_outputs_go_with_their_positions() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..6 {
        acknowledged.extend(kill_after(dir.path(), 20 + kill * 157));
        let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
        // The second group has finished nothing, so everything is still there for it.
        let mut times = BTreeMap::new();
        for number in numbers(&log, SECOND).await {
            *times.entry(number).or_insert(0) += 1;
        }
        assert!(
            times.values().all(|times| *times == 1),
            "nothing was written twice"
        );
        let missing = acknowledged
            .iter()
            .filter(|number| !times.contains_key(number));
        assert_eq!(missing.count(), 0, "after kill {kill}");
        outputs_match_positions(&log, times.len() as u64).await;
        log.close().await.unwrap();
    }
}

/// What the first group has finished in `A` has its output in `B`, and nothing else has.
async fn outputs_match_positions(log: &dyn Log, inputs: u64) {
    let outputs = log.ends(B).await.unwrap()[0].1;
    let member = Member::join(log, FIRST, A).await;
    let finished = member.assigned[0].committed.next;
    assert!(finished <= inputs);
    assert_eq!(
        outputs, finished,
        "an output and its position are one commit"
    );
}

/// What a torn write leaves: the end missing, the end garbled, or rubbish behind it.
fn tear(wal: &Path, how: usize) {
    let mut bytes = std::fs::read(wal).unwrap();
    let end = bytes.len();
    match how {
        0 => bytes.truncate(end - 5000),
        1 => bytes[end - 3000..].fill(0xa5),
        2 => bytes.extend(std::iter::repeat_n(0x5a, 12345)),
        _ => bytes[end - 8192 - 24..].rotate_left(1),
    }
    std::fs::File::create(wal)
        .unwrap()
        .write_all(&bytes)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_of_the_wal_costs_a_suffix_and_nothing_before_it() {
    for how in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let acknowledged = kill_after(dir.path(), 400);
        tear(&dir.path().join("log.db-wal"), how);
        let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
        let found = numbers(&log, SECOND).await;
        // Some commits at most are gone, and those are the last.
        assert!(
            found.len() + 50 > acknowledged.len(),
            "{how}: {} are left",
            found.len()
        );
        outputs_match_positions(&log, found.len() as u64).await;
        let places = log
            .append(vec![sized(1, 10)], Durability::Synced, Purpose::Intake)
            .await;
        assert_eq!(
            places.unwrap()[0].1,
            found.len() as u64,
            "it goes on where it ended"
        );
    }
}
