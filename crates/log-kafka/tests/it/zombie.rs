//! A process that is stopped past its session, and wakes up.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use postrider_log::testing::conformance::{A, FIRST, topics};
use postrider_log_kafka::Options;
use postrider_testkit::{kafka, pause, proceed, setting};

use crate::support::{Deadline, Party, classic, open, options};

const PREFIX: &str = "POSTRIDER_TEST_PREFIX";
/// Names the older group protocol.
const PROTOCOL: &str = "POSTRIDER_TEST_GROUP_PROTOCOL";

/// Says again and again how many leases it holds, and when it lost its partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own, for the test below"]
async fn a_process_that_holds_partitions() {
    let prefix: String = setting(PREFIX, String::new());
    if prefix.is_empty() {
        return;
    }
    let mut options = options(&kafka().unwrap(), topics());
    options.topic_prefix = prefix;
    let log = open(&options).await;
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    let mut partitions = Vec::new();
    while party.losses == 0 {
        let held = partitions
            .iter()
            .filter(|at| party.committer.holds(**at))
            .count();
        println!("holds {held}");
        party.step().await;
        if partitions.is_empty() {
            partitions = party.owned.keys().copied().collect();
        }
    }
    println!("lost");
}

struct Other {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Other {
    fn run(test: &str, prefix: &str, protocol: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                &format!("zombie::{test}"),
            ])
            .env(PREFIX, prefix)
            .env(PROTOCOL, protocol)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                into.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Has it said this since it had said so many lines?
    fn has_said(&self, what: &str, since: usize) -> bool {
        let lines = self.lines.lock().unwrap();
        lines[since..].iter().any(|line| line.ends_with(what))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_wakes_up_after_its_session_holds_no_lease_and_is_told_of_its_loss() {
    let options = options(&kafka().unwrap(), topics());
    let log = open(&options).await;
    let deadline = Deadline::new();
    let other = Other::run(
        "a_process_that_holds_partitions",
        &options.topic_prefix,
        "consumer",
    );
    let moment = std::time::Duration::from_millis(20);
    while !other.said().iter().any(|line| line.ends_with("holds 3")) {
        tokio::time::sleep(moment).await;
        deadline.check("the other process holds everything");
    }
    pause(other.child.id()).unwrap();
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    while party.owned.len() < 3 {
        party.step().await;
        deadline.check("its session has ended and all of it is ours");
    }
    let before = other.said().len();
    proceed(other.child.id()).unwrap();
    loop {
        let said = other.said();
        let since = &said[before..];
        assert!(
            !since.iter().any(|line| line.ends_with("holds 3")),
            "it held on: {since:?}"
        );
        if since.iter().any(|line| line.ends_with("lost")) {
            return;
        }
        // It joins again, and may get a part of them back.
        party.step().await;
        deadline.check("it was told of its loss");
    }
}

/// Keeps what is wanted back of it until it is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a process of its own, for the test below"]
async fn a_process_that_drains_for_long() {
    let prefix: String = setting(PREFIX, String::new());
    if prefix.is_empty() {
        return;
    }
    let mut options = options(&kafka().unwrap(), topics());
    options.topic_prefix = prefix;
    if setting(PROTOCOL, String::new()) == "classic" {
        classic(&mut options);
    }
    let log = open(&options).await;
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    party.clings = true;
    loop {
        party.step().await;
        party.clings = party.losses == 0;
        let asked = if party.kept > 0 { "asked" } else { "not asked" };
        println!("{} lost, {asked}, owns {}", party.losses, party.owned.len());
    }
}

async fn stopped_in_the_middle_of_a_drain(options: Options, protocol: &str) {
    let log = open(&options).await;
    let deadline = Deadline::new();
    let prefix = &options.topic_prefix;
    let other = Other::run("a_process_that_drains_for_long", prefix, protocol);
    let moment = std::time::Duration::from_millis(20);
    while !other.has_said("0 lost, not asked, owns 3", 0) {
        tokio::time::sleep(moment).await;
        deadline.check("the other process owns everything");
    }
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    while !other.has_said("0 lost, asked, owns 3", 0) {
        party.step().await;
        deadline.check("a part of it is wanted back");
    }
    pause(other.child.id()).unwrap();
    while party.owned.len() < 3 {
        party.step().await;
        deadline.check("its session has ended and all of it is ours");
    }
    let before = other.said().len();
    proceed(other.child.id()).unwrap();
    let has_part = || {
        ["owns 1", "owns 2"]
            .iter()
            .any(|part| other.has_said(part, before))
    };
    while !has_part() {
        party.step().await;
        deadline.check("it owns a part again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_in_the_middle_of_a_drain_joins_again_and_is_given_its_share() {
    let options = options(&kafka().unwrap(), topics());
    stopped_in_the_middle_of_a_drain(options, "consumer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_classic_protocol_it_joins_again_likewise() {
    let mut options = options(&kafka().unwrap(), topics());
    classic(&mut options);
    stopped_in_the_middle_of_a_drain(options, "classic").await;
}
