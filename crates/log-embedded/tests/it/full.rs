//! A full disk, and its recovery.

use std::path::Path;
use std::time::Duration;

use postrider_log::testing::conformance::{A, DEADLINE, FIRST, Member, SECOND, topics};
use postrider_log::{Durability, Log, Purpose};
use postrider_log_embedded::{EmbeddedLog, Options};
use postrider_testkit::{SmallDisk, eventually};

use crate::support::{append_patiently, fill, finish_all, numbers, options, sized};

const MIB: u64 = 1 << 20;

fn small(dir: &Path) -> Options {
    let mut options = options(dir, topics());
    options.wal_bytes = MIB;
    options.reserve_bytes = 2 * MIB;
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intake_ends_at_the_reserve_and_begins_again_when_records_are_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.max_bytes = Some(8 * MIB);
    let metrics = options.metrics.clone();
    let log = EmbeddedLog::open(options).unwrap();
    let bound = 6 * MIB as i64;
    let told = "what may be filled, and that nothing was filled yet";
    let told = eventually(told, DEADLINE, async || {
        let (max, room) = (metrics.max.get(), metrics.room.get());
        (max == bound && room > bound - MIB as i64 && room <= bound).then_some(())
    });
    told.await.unwrap();
    let mut taken = Vec::new();
    fill(&log, Purpose::Intake, 10_000, &mut taken).await;
    let told = eventually("that there is no room", DEADLINE, async || {
        (metrics.room.get() < 100_000).then_some(())
    });
    told.await.unwrap();
    let at_reserve = taken.len();
    assert!(
        at_reserve > 400,
        "about six of eight megabytes were taken: {at_reserve} records"
    );
    // What is inside can still be worked off, out of the reserve, and past it if need be.
    append_patiently(&log, Purpose::Pipeline, 100, &mut taken).await;
    for _ in 0..100 {
        append_patiently(&log, Purpose::Pipeline, 100_000, &mut taken).await;
    }
    let size = std::fs::metadata(dir.path().join("log.db")).unwrap().len();
    assert!(
        size > 8 * MIB,
        "{size} bytes are more than new work may fill"
    );
    assert_eq!(finish_all(&log, FIRST).await, taken);
    assert_eq!(finish_all(&log, SECOND).await, taken);
    append_patiently(&log, Purpose::Intake, 100, &mut taken).await;
    let mut again = Vec::new();
    fill(&log, Purpose::Intake, 10_000, &mut again).await;
    assert!(
        (400..=at_reserve + 100).contains(&again.len()),
        "the room that was freed is used again, and no more: {} after {at_reserve}",
        again.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_refuses_and_recovers_without_reopening() {
    if let Some(disk) = SmallDisk::mount_or_run("24m", "full::the_body_on_a_full_disk").unwrap() {
        fills_up_and_recovers(&disk).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_smaller_than_the_reserve_takes_work_and_says_when_it_is_full_and_when_no_more() {
    if let Some(disk) = SmallDisk::mount_or_run("8m", "full::the_body_on_a_small_disk").unwrap() {
        is_used_and_recovers(&disk).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_beside_what_it_stands_for_leaves_room_to_finish_it() {
    if let Some(disk) =
        SmallDisk::mount_or_run("16m", "full::the_body_on_a_disk_of_copies").unwrap()
    {
        copies_leave_room(&disk).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by its test, where that may not mount itself"]
async fn the_body_on_a_disk_of_copies() {
    copies_leave_room(&SmallDisk::mount("16m").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by its test, where that may not mount itself"]
async fn the_body_on_a_full_disk() {
    fills_up_and_recovers(&SmallDisk::mount("24m").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by its test, where that may not mount itself"]
async fn the_body_on_a_small_disk() {
    is_used_and_recovers(&SmallDisk::mount("8m").unwrap()).await;
}

async fn fills_up_and_recovers(disk: &SmallDisk) {
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let log = EmbeddedLog::open(small(&disk.path().join("data"))).unwrap();
    let mut taken = Vec::new();
    fill(&log, Purpose::Intake, 10_000, &mut taken).await;
    let at_reserve = taken.len();
    fill(&log, Purpose::Pipeline, 10_000, &mut taken).await;
    assert!(taken.len() > at_reserve, "the reserve was used");
    // Reading goes on while nothing can be written.
    assert_eq!(numbers(&log, FIRST).await, taken);
    std::fs::remove_file(ballast).unwrap();
    append_patiently(&log, Purpose::Intake, 100, &mut taken).await;
    assert_eq!(finish_all(&log, FIRST).await, taken);
    log.close().await.unwrap();
    let log = EmbeddedLog::open(small(&disk.path().join("data"))).unwrap();
    assert_eq!(numbers(&log, SECOND).await, taken);
    let member = Member::join(&log, FIRST, A).await;
    assert_eq!(member.assigned[0].committed.next, taken.len() as u64);
}

/// Waits until the log says that there is space, or too little, without being asked to write.
async fn says(log: &dyn Log, short: bool) {
    let begun = std::time::Instant::now();
    while log.shortage().is_some() != short {
        assert!(begun.elapsed() < DEADLINE, "{:?}", log.shortage());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_used_and_recovers(disk: &SmallDisk) {
    // As configured for a large disk: a reserve of 128 MiB, a WAL of 64.
    let options = options(&disk.path().join("data"), topics());
    let log = EmbeddedLog::open(options).unwrap();
    says(&log, false).await;
    let mut taken = Vec::new();
    fill(&log, Purpose::Intake, 10_000, &mut taken).await;
    assert!(taken.len() > 200, "{} records were taken", taken.len());
    let why = log.shortage().unwrap();
    assert!(why.contains("are left on the disk of"), "{why}");
    // What spreads it is still written, and what finishes it longer.
    let at_reserve = taken.len();
    fill(&log, Purpose::Spreading, 10_000, &mut taken).await;
    assert!(taken.len() > at_reserve, "half of the reserve was used");
    append_patiently(&log, Purpose::Pipeline, 100, &mut taken).await;
    assert_eq!(finish_all(&log, FIRST).await, taken);
    assert_eq!(finish_all(&log, SECOND).await, taken);
    says(&log, false).await;

    // Somebody else takes the disk, of which only what the log has is left, and gives it back.
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap_err();
    fill(&log, Purpose::Intake, 10_000, &mut taken).await;
    says(&log, true).await;
    std::fs::remove_file(ballast).unwrap();
    says(&log, false).await;
    append_patiently(&log, Purpose::Intake, 100, &mut taken).await;
}

async fn copies_leave_room(disk: &SmallDisk) {
    let log = EmbeddedLog::open(options(&disk.path().join("data"), topics())).unwrap();
    let (mut taken, mut size) = (Vec::new(), 0);
    // Twice: what was freed is used again, and the log does not come to a standstill in the end.
    for _ in 0..2 {
        fill(&log, Purpose::Spreading, 100_000, &mut taken).await;
        for purpose in [Purpose::Waiting, Purpose::Moving] {
            let before = taken.len();
            fill(&log, purpose, 100_000, &mut taken).await;
            assert!(taken.len() > before, "{purpose:?} has its share");
        }
        // A hundred endings at the least, of as many bytes as an attempt has.
        for _ in 0..100 {
            let number = taken.len() as u64;
            let ended = log.append(
                vec![sized(number, 1_000)],
                Durability::Ordered,
                Purpose::Pipeline,
            );
            ended.await.unwrap();
            taken.push(number);
        }
        assert_eq!(finish_all(&log, FIRST).await, taken[size..]);
        assert_eq!(finish_all(&log, SECOND).await, taken[size..]);
        size = taken.len();
        says(&log, false).await;
    }
}
