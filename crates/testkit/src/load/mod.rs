//! Events put on a server: at a fixed rate whatever it answers, or as fast as it takes them.

mod connection;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::now_us;
use crate::quantiles::Quantiles;
use connection::Connection;

/// Where events go. Changes when the server is started anew on another port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server's address.
    pub address: SocketAddr,
    /// The token to show.
    pub token: String,
}

/// How fast events are created.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pace {
    /// So many a second, by the clock: a slow server does not slow them (open loop).
    Rate(f64),
    /// Each connection sends the next as soon as the last is answered (closed loop).
    AsFastAsAnswered,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// The application's id.
    pub app: String,
    /// The event types, taken in turn.
    pub event_types: Vec<String>,
    /// How fast.
    pub pace: Pace,
    /// How many connections.
    pub connections: usize,
    /// How many events; `None` until stopped.
    pub count: Option<u64>,
    /// The payload's size in bytes, at least 64.
    pub payload_bytes: usize,
}

/// An event that the server accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub event: String,
    /// Its running number.
    pub number: u64,
    /// When the answer came.
    pub at: Instant,
}

/// What became of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the server accepted.
    pub accepted: Vec<Accepted>,
    /// Answers other than 202, and requests without an answer.
    pub failed: u64,
    /// The last such answer.
    pub last_failure: String,
    /// From the moment that each event was meant to be sent until its answer.
    pub answers: Quantiles,
}

/// What the connections share.
struct Run {
    load: Load,
    target: watch::Receiver<Target>,
    stop: watch::Receiver<bool>,
    /// One permit for each event that is due (open loop).
    due: Semaphore,
    next: AtomicU64,
    started_us: u64,
    over: AtomicBool,
    report: Mutex<(Report, Vec<u64>)>,
}

impl Load {
    /// As many events of one type, as fast as `connections` get them answered, of 1 KiB.
    #[must_use]
    pub fn of(app: &str, event_type: &str) -> Self {
        Self {
            app: app.to_owned(),
            event_types: vec![event_type.to_owned()],
            pace: Pace::AsFastAsAnswered,
            connections: 16,
            count: None,
            payload_bytes: 1024,
        }
    }

    /// Sends until the count is reached, or `stop` says so.
    ///
    /// What fails is counted and not sent again: a repeat would be another event.
    ///
    /// # Errors
    /// If a connection's task panicked.
    pub async fn run(
        self,
        target: watch::Receiver<Target>,
        stop: watch::Receiver<bool>,
    ) -> Result<Report> {
        let connections = self.connections;
        let run = Arc::new(Run {
            load: self,
            target,
            stop,
            due: Semaphore::new(0),
            next: AtomicU64::new(0),
            started_us: now_us(),
            over: AtomicBool::new(false),
            report: Mutex::default(),
        });
        let pacer = pacer(&run)?;
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..connections {
            senders.spawn(Arc::clone(&run).send_all());
        }
        while let Some(ended) = senders.join_next().await {
            ended?;
        }
        run.over.store(true, Ordering::Relaxed);
        if let Some(pacer) = pacer {
            tokio::task::spawn_blocking(|| pacer.join()).await?.ok();
        }
        let mut report = run
            .report
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let (mut report, answers_us) = std::mem::take(&mut *report);
        report.answers = Quantiles::of(answers_us);
        Ok(report)
    }

    /// Sends the whole count to one server that stays.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub async fn run_against(self, target: Target) -> Result<Report> {
        // The senders end with the count; that nobody can stop them or move them is what is meant.
        let (_target, target) = watch::channel(target);
        let (_stop, stop) = watch::channel(false);
        self.run(target, stop).await
    }

    fn wait_before(&self, number: u64) -> Duration {
        match self.pace {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            Pace::Rate(rate) => Duration::from_secs_f64(number as f64 / rate),
            Pace::AsFastAsAnswered => Duration::ZERO,
        }
    }

    /// No two events' payloads are alike, as no two are in life: what stores alike things once has nothing from it.
    fn body(&self, number: u64, meant_us: u64) -> Vec<u8> {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize")]
        let turn = (number % self.event_types.len() as u64) as usize;
        let event_type = &self.event_types[turn];
        let mut payload = format!("{{\"n\":{number},\"meant\":{meant_us},\"pad\":\"");
        let pad = self.payload_bytes.saturating_sub(payload.len() + 2);
        Alphanumeric.append_string(&mut StdRng::seed_from_u64(number), &mut payload, pad);
        format!("{{\"eventType\":\"{event_type}\",\"payload\":{payload}\"}}}}").into_bytes()
    }
}

/// Releases events by the clock, from a thread of its own: the runtime's timers only know whole milliseconds.
fn pacer(run: &Arc<Run>) -> Result<Option<std::thread::JoinHandle<()>>> {
    if run.load.pace == Pace::AsFastAsAnswered {
        return Ok(None);
    }
    let run = Arc::clone(run);
    let began = Instant::now();
    let pacing = std::thread::Builder::new().name("pacer".to_owned());
    let thread = pacing.spawn(move || {
        for number in 0..run.load.count.unwrap_or(u64::MAX) {
            let wait =
                (began + run.load.wait_before(number)).saturating_duration_since(Instant::now());
            std::thread::sleep(wait);
            if run.over.load(Ordering::Relaxed) {
                return;
            }
            run.due.add_permits(1);
        }
    })?;
    Ok(Some(thread))
}

impl Run {
    async fn send_all(self: Arc<Self>) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.send_each() => {}
            // Also when whoever could stop it is gone while it still runs without a count.
            _ = stop.wait_for(|stop| *stop), if self.load.count.is_none() => {}
        }
    }

    async fn send_each(&self) {
        let mut connection: Option<Connection> = None;
        let path = format!("/api/v1/app/{}/msg", self.load.app);
        while let Some((number, meant_us)) = self.next_event().await {
            let body = self.load.body(number, meant_us);
            match self.send(&mut connection, &path, &body).await {
                Ok(event) => self.accepted(event, number, meant_us),
                Err(error) => {
                    connection = None;
                    self.failed(&error);
                    // The server may be on its way up again.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    /// The next event's number and the moment it is meant to be sent, once that has come; `None` after the last.
    async fn next_event(&self) -> Option<(u64, u64)> {
        let over = || {
            let count = self.load.count.unwrap_or(u64::MAX);
            self.next.load(Ordering::Relaxed) >= count
        };
        if over() {
            return None;
        }
        if self.load.pace == Pace::AsFastAsAnswered {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let within = number < self.load.count.unwrap_or(u64::MAX);
            return within.then(|| (number, now_us()));
        }
        let permit = loop {
            let waited = tokio::time::timeout(Duration::from_millis(50), self.due.acquire()).await;
            match waited {
                Ok(permit) => break permit.ok()?,
                Err(_) if over() => return None,
                Err(_) => {}
            }
        };
        permit.forget();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let wait = self.load.wait_before(number).as_micros();
        Some((number, self.started_us + u64::try_from(wait).unwrap_or(0)))
    }

    async fn send(
        &self,
        connection: &mut Option<Connection>,
        path: &str,
        body: &[u8],
    ) -> Result<String> {
        let open = match connection {
            Some(open) => open,
            None => {
                let target = self.target.borrow().clone();
                connection.insert(Connection::open(&target, path).await?)
            }
        };
        open.create_event(body).await
    }

    fn accepted(&self, event: String, number: u64, meant_us: u64) {
        let mut report = self
            .report
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        report.1.push(now_us().saturating_sub(meant_us));
        report.0.accepted.push(Accepted {
            event,
            number,
            at: Instant::now(),
        });
    }

    fn failed(&self, error: &anyhow::Error) {
        let mut report = self
            .report
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        report.0.failed += 1;
        report.0.last_failure = format!("{error:#}");
    }
}
