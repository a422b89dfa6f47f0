//! A directory with a log in it, and a process of its own that writes to one.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::testing::conformance::{A, DEADLINE, Harness, Member};
use postrider_log::{BatchLimit, Durability, Group, Log, LogError, Polled, Purpose, TopicSpec};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, OpenError, Options};

/// Options with metrics of their own.
pub(crate) fn options(dir: &Path, topics: Vec<TopicSpec>) -> Options {
    let registry = postrider_metrics::Registry::new();
    Options::new(dir, topics, LogMetrics::register(&registry).unwrap())
}

/// Opens as the suite does, with whatever `adjust` changes.
pub(crate) struct InDirectory<F> {
    dir: tempfile::TempDir,
    adjust: F,
}

impl<F: Fn(&mut Options)> InDirectory<F> {
    pub(crate) fn new(adjust: F) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, adjust }
    }

    fn open_now(&self, topics: Vec<TopicSpec>) -> Result<EmbeddedLog, OpenError> {
        let mut options = options(self.dir.path(), topics);
        (self.adjust)(&mut options);
        EmbeddedLog::open(options)
    }
}

#[async_trait]
impl<F: Fn(&mut Options) + Send + Sync> Harness for InDirectory<F> {
    async fn open(&self, topics: Vec<TopicSpec>) -> Arc<dyn Log> {
        Arc::new(self.open_now(topics).unwrap())
    }

    async fn reopen(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        log.close().await.unwrap();
        let topics = log.topics().to_vec();
        drop(log);
        Arc::new(self.open_now(topics).unwrap())
    }
}

/// The test binary itself, running one of the tests that are ignored otherwise, on a directory.
pub(crate) struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

const DIR: &str = "POSTRIDER_TEST_DIR";

impl Other {
    pub(crate) fn run(test: &str, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                test,
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that says `word`, without it; none at the end of what it printed.
    pub(crate) fn told(&mut self, word: &str) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some((_, rest)) = line.split_once(word) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory that this process was given by its parent; none if somebody runs the ignored tests by hand.
pub(crate) fn given_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(DIR).map(Into::into)
}

/// Everything in topic `A` from the watermark of `group` on, to the end as it is now, as numbers.
pub(crate) async fn numbers(log: &dyn Log, group: Group) -> Vec<u64> {
    let end = log.ends(A).await.unwrap()[0].1;
    let mut member = Member::join(log, group, A).await;
    let mut numbers = Vec::new();
    let mut next = member.assigned[0].committed.next;
    let limit = BatchLimit {
        records: 1000,
        bytes: 1 << 20,
    };
    while next < end {
        for record in member.batch(limit).await {
            next = record.position + 1;
            numbers.push(String::from_utf8_lossy(&record.key).parse().unwrap());
        }
    }
    numbers
}

/// A record whose key is a number, of about so many bytes.
pub(crate) fn sized(number: u64, bytes: usize) -> postrider_log::NewRecord {
    postrider_log::NewRecord::new(A, number.to_string(), vec![0x5a; bytes])
}

/// Appends until the log says that it is full; adds the numbers that it took.
pub(crate) async fn fill(log: &dyn Log, purpose: Purpose, bytes: usize, taken: &mut Vec<u64>) {
    loop {
        let number = taken.len() as u64;
        match log
            .append(vec![sized(number, bytes)], Durability::Ordered, purpose)
            .await
        {
            Ok(_) => taken.push(number),
            Err(LogError::Full(_)) => return,
            Err(other) => panic!("full was due, not {other}"),
        }
    }
}

/// Appends until the log takes it again.
pub(crate) async fn append_patiently(
    log: &dyn Log,
    purpose: Purpose,
    bytes: usize,
    taken: &mut Vec<u64>,
) {
    let begun = std::time::Instant::now();
    let number = taken.len() as u64;
    loop {
        match log
            .append(vec![sized(number, bytes)], Durability::Synced, purpose)
            .await
        {
            Ok(_) => return taken.push(number),
            Err(LogError::Full(_)) => assert!(begun.elapsed() < DEADLINE, "room comes back"),
            Err(other) => panic!("it recovers, and does not say {other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads topic `A` to its end for a group, and finishes it.
pub(crate) async fn finish_all(log: &dyn Log, group: Group) -> Vec<u64> {
    let end = log.ends(A).await.unwrap()[0].1;
    let mut member = Member::join(log, group, A).await;
    let mut numbers = Vec::new();
    let mut next = member.assigned[0].committed.next;
    let limit = BatchLimit {
        records: 100,
        bytes: 1 << 20,
    };
    while next < end {
        if let Polled::Records(records) = member.next(limit).await.unwrap() {
            for record in records {
                next = record.position + 1;
                numbers.push(String::from_utf8_lossy(&record.key).parse().unwrap());
            }
            member.finish(Vec::new()).await.unwrap();
        }
    }
    numbers
}
