//! What recording costs: microseconds of CPU (user and system, all threads) and of time, a row.
//!
//! `cargo run --release -p postrider-store-sql --example throughput [rows]`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for developers"
)]

use std::time::{Duration, Instant};

use postrider_metrics::Registry;
use postrider_model::{
    AppId, Attempt, Class, Delivery, EndpointId, Event, EventId, EventOrigin, Fanout, Outcome,
    Timestamp,
};
use postrider_store::{Applications, Closing, ConfigFeed, History, HistoryBatch};
use postrider_store_sql::{SqliteStore, StoreMetrics};

const BATCH: usize = 500;
/// The recorder's batch where events and fan-outs are two thirds of it, alone, and when it is behind.
const BATCHES: [usize; 3] = [250, 1000, 5000];
const BASE_MS: i64 = 1_700_000_000_000;

#[tokio::main]
async fn main() {
    let rows = std::env::args().nth(1).map(|rows| rows.parse().unwrap());
    let rows = rows.unwrap_or(100_000);
    println!("{:<44}{:>10}{:>10}{:>10}", "", "rows", "µs CPU", "µs");
    for batch in BATCHES {
        for endpoints in [1, 100, 10_000] {
            let what = format!("attempts, of {endpoints} endpoints, by {batch}");
            let size = (rows, batch);
            measure(&what, size, endpoints, |event, endpoint| HistoryBatch {
                attempts: vec![attempt(event, endpoint).into()],
                ..HistoryBatch::default()
            })
            .await;
        }
    }
    let rows = (rows, BATCH);
    measure("events of 1 KiB", rows, 1, |event, _| HistoryBatch {
        events: vec![event.clone()],
        ..HistoryBatch::default()
    })
    .await;
    measure("fan-outs to one endpoint", rows, 1, |event, endpoint| {
        HistoryBatch {
            fanouts: vec![fanout(event, endpoint)],
            ..HistoryBatch::default()
        }
    })
    .await;
    measure(
        "event, fan-out and attempt",
        rows,
        100,
        |event, endpoint| HistoryBatch {
            events: vec![event.clone()],
            fanouts: vec![fanout(event, endpoint)],
            attempts: vec![attempt(event, endpoint).into()],
        },
    )
    .await;
    idle_feed().await;
    println!("peak memory: {} MB", peak_memory_kb() / 1024);
}

/// Records `rows` of what `make` makes, in batches of `batch_rows` that were made before the clock runs.
async fn measure(
    what: &str,
    (rows, batch_rows): (usize, usize),
    endpoints: usize,
    make: impl Fn(&Event, EndpointId) -> HistoryBatch,
) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let app = AppId::new();
    let endpoints: Vec<_> = (0..endpoints).map(|_| EndpointId::new()).collect();
    let (mut cpu, mut time) = (Duration::ZERO, Duration::ZERO);
    for first in (0..rows).step_by(batch_rows) {
        let mut batch = HistoryBatch::default();
        for n in first..first + batch_rows {
            let event = event(app, i64::try_from(n).unwrap());
            // Scattered, as workers report them.
            let one = make(&event, endpoints[n.wrapping_mul(7919) % endpoints.len()]);
            batch.events.extend(one.events);
            batch.fanouts.extend(one.fanouts);
            batch.attempts.extend(one.attempts);
        }
        let (cpu_before, began) = (cpu_time(), Instant::now());
        store.record(&batch).await.unwrap();
        cpu += cpu_time() - cpu_before;
        time += began.elapsed();
    }
    print(what, rows, cpu, time);
    measure_deleting(&store, what, rows).await;
    store.close().await;
}

async fn measure_deleting(store: &SqliteStore, what: &str, rows: usize) {
    let before = Timestamp::from_millis(i64::MAX);
    let (cpu_before, began) = (cpu_time(), Instant::now());
    while store.delete_events(before, BATCH).await.unwrap() > 0 {}
    while store.delete_attempts(before, BATCH).await.unwrap() > 0 {}
    let cpu = cpu_time() - cpu_before;
    print(&format!("  deleted: {what}"), rows, cpu, began.elapsed());
}

/// What it costs to ask whether anything changed, when nothing did.
async fn idle_feed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let now = Timestamp::from_millis(BASE_MS);
    let application = postrider_store::Application {
        id: AppId::new(),
        uid: None,
        name: "A".into(),
        metadata: Default::default(),
        rate_limit: None,
        version: 0,
        created_at: now,
        updated_at: now,
    };
    let made = store.insert_application(&application).await.unwrap();
    let rows = 1_000_000;
    let (cpu_before, began) = (cpu_time(), Instant::now());
    for _ in 0..rows {
        store.changes(made.version).await.unwrap();
    }
    let cpu = cpu_time() - cpu_before;
    print("feed asked, nothing new", rows, cpu, began.elapsed());
    store.close().await;
}

async fn open(dir: &tempfile::TempDir) -> SqliteStore {
    let metrics = StoreMetrics::register(&Registry::new()).unwrap();
    let path = dir.path().join("store.db");
    SqliteStore::open(&path, metrics).await.unwrap()
}

fn event(app_id: AppId, n: i64) -> Event {
    let accepted_at = Timestamp::from_millis(BASE_MS + n / 10);
    Event {
        id: EventId::new_at(accepted_at),
        app_id,
        event_type: "order.created".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: Event::JSON.into(),
        payload: vec![b'x'; 1024].into(),
        accepted_at,
        trace: None,
        origin: EventOrigin::Accepted,
    }
}

fn fanout(event: &Event, endpoint: EndpointId) -> Fanout {
    Fanout {
        event_id: event.id,
        app_id: event.app_id,
        endpoints: vec![endpoint],
        registry_version: 1,
        stale: false,
        accepted_at: event.accepted_at,
        complete: true,
    }
}

fn attempt(event: &Event, endpoint_id: EndpointId) -> Attempt {
    let deadline = event.accepted_at;
    let delivery = Delivery::of_event(event, (0, 1), endpoint_id, 1, Class::Normal, deadline);
    Attempt {
        id: delivery.attempt_id(1),
        delivery_id: delivery.id,
        generation: 0,
        number: 1,
        event_id: event.id,
        app_id: event.app_id,
        endpoint_id,
        event_type: event.event_type.clone(),
        endpoint_version: 1,
        url: "https://hooks.example.com/customers/1234/orders".into(),
        started_at: event.accepted_at,
        duration: Duration::from_millis(12),
        outcome: Outcome::Succeeded,
        status_code: Some(200),
        response_body: "{\"ok\":true}".into(),
        error: String::new(),
        next_attempt_at: None,
        trigger: delivery.trigger,
        accepted_at: event.accepted_at,
        exhausted: false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn print(what: &str, rows: usize, cpu: Duration, time: Duration) {
    let each = |total: Duration| total.as_secs_f64() * 1e6 / rows as f64;
    println!(
        "{what:<44}{rows:>10}{:>10.2}{:>10.2}",
        each(cpu),
        each(time)
    );
}

/// CPU time of the threads of this process, in nanoseconds of the scheduler. The store's live as long as it does.
fn cpu_time() -> Duration {
    let mut total = Duration::ZERO;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = thread.unwrap().path().join("schedstat");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let first = text.split(' ').next().and_then(|ns| ns.parse().ok());
        total += Duration::from_nanos(first.unwrap_or(0));
    }
    total
}

fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
