//! How long a hop through the log takes, beside an fsync of the same directory: `cargo run --release --example latency`.
//!
//! At 300 records a second: a `Synced` append until it is acknowledged and until a reader has it, and a completion with
//! one `Ordered` output until a reader of that has it. `pwrite` of 8 KiB and `fdatasync` alone are the measure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark: it prints, and ends at the first error"
)]

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_log::{
    BatchLimit, Committed, Committer, Completion, Durability, Epochs, Group, Keep, Log, NewRecord,
    Polled, Position, Progress, Purpose, Reader, Subscription, Tenure, Topic, TopicSpec,
};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};
use tokio::sync::mpsc;

const INPUTS: Topic = Topic("inputs");
const OUTPUTS: Topic = Topic("outputs");
const GROUP: Group = Group("reader");
const OUTPUT_GROUP: Group = Group("output-reader");
const ROUNDS: usize = 2000;
const INTERVAL: Duration = Duration::from_micros(3333);
const LIMIT: BatchLimit = BatchLimit {
    records: 100,
    bytes: 1 << 20,
};

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<44} {:>8.3} {:>8.3}", at(0.5), at(0.99));
}

fn fsyncs(dir: &std::path::Path) -> Vec<Duration> {
    let file = std::fs::File::create(dir.join("plain")).expect("a file");
    let page = [7; 8192];
    file.write_all_at(&[0; 1 << 20], 0).expect("written");
    file.sync_all().expect("synced");
    let one = |round: usize| {
        std::thread::sleep(INTERVAL);
        let began = Instant::now();
        file.write_all_at(&page, (round % 128 * 8192) as u64)
            .expect("written");
        file.sync_data().expect("synced");
        began.elapsed()
    };
    (0..ROUNDS / 4).map(one).collect()
}

/// Finishes each batch, with an output for each record if asked for, and says when it has come.
async fn relay(
    (mut reader, committer): (Box<dyn Reader>, Arc<dyn Committer>),
    output: bool,
    came: mpsc::Sender<Instant>,
) {
    let (mut read, mut epochs) = (0, Epochs::default());
    while read < ROUNDS {
        let polled = reader.next(LIMIT).await.expect("read");
        epochs.hear(&polled);
        let Polled::Records(records) = polled else {
            continue;
        };
        read += records.len();
        let record = |_| NewRecord::new(OUTPUTS, "ep_0123456789", vec![7; 1024]);
        let outputs = records.iter().filter(|_| output).map(record).collect();
        for _ in &records {
            came.send(Instant::now()).await.expect("somebody listens");
        }
        let last = records.last().expect("never empty");
        let tenure = epochs.tenures(&[last.at])[0];
        finish(&*committer, tenure, last.position + 1, outputs).await;
    }
}

async fn finish(
    committer: &dyn Committer,
    Tenure { at, epoch }: Tenure,
    next: Position,
    outputs: Vec<NewRecord>,
) {
    let metadata = String::new();
    let completion = Completion {
        finished: vec![Progress {
            at,
            epoch,
            committed: Committed { next, metadata },
        }],
        outputs,
        durability: Durability::Ordered,
        purpose: Purpose::Pipeline,
    };
    committer.complete(completion).await.expect("completed");
}

async fn hops(log: Arc<dyn Log>) {
    let (first, mut first_came) = mpsc::channel(ROUNDS);
    let (second, mut second_came) = mpsc::channel(ROUNDS);
    let inputs = log
        .subscribe(Subscription::to(GROUP, INPUTS))
        .await
        .expect("joined");
    let outputs = log
        .subscribe(Subscription::to(OUTPUT_GROUP, OUTPUTS))
        .await
        .expect("joined");
    tokio::spawn(relay(inputs, true, first));
    tokio::spawn(relay(outputs, false, second));
    let (mut acknowledged, mut read, mut hop) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tokio::time::sleep(INTERVAL).await;
        let began = Instant::now();
        let record = vec![NewRecord::new(INPUTS, "app_0123456789", vec![7; 1024])];
        log.append(record, Durability::Synced, Purpose::Intake)
            .await
            .expect("appended");
        acknowledged.push(began.elapsed());
        let came = first_came.recv().await.expect("it comes");
        read.push(came - began);
        hop.push(second_came.recv().await.expect("it comes") - came);
    }
    print("a Synced append, until acknowledged", acknowledged);
    print("a Synced append, until a reader has it", read);
    print("an Ordered output, until a reader has it", hop);
}

fn main() {
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let spec = |topic, keep| TopicSpec { topic, keep };
    let topics = vec![
        spec(INPUTS, Keep::UntilFinished(&[GROUP])),
        spec(OUTPUTS, Keep::UntilFinished(&[OUTPUT_GROUP])),
    ];
    let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).expect("metrics");
    let log = EmbeddedLog::open(Options::new(dir.path(), topics, metrics)).expect("opened");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("{:<44} {:>8} {:>8}", "milliseconds", "p50", "p99");
    print("pwrite and fdatasync", fsyncs(dir.path()));
    runtime.block_on(hops(Arc::new(log)));
}
