//! The single owner of all lanes.
//!
//! It takes records from the reader, ends from the attempts, and writes through the finisher. Nothing here waits for
//! one endpoint, and nothing is locked. One file for each thing that it does: `admit` (a record meets its lane, an `entry`),
//! `aside` (or goes around it), `start` (an attempt leaves), `settle` (it ends), `handover` (partitions go), `upkeep` (what is
//! due every second), `lagging` (what keeps a watermark back), `survey` (which endpoints are worst).

mod admit;
mod aside;
mod entry;
mod handover;
mod lagging;
mod settle;
mod start;
mod survey;
mod upkeep;

pub(crate) use lagging::Bounds;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use postrider_log::{Committer, Limits, LogError};
use postrider_model::{Clock, EndpointId, TopicPartition};
use postrider_trace::Tracer;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::End;
use crate::finisher::Finisher;
use crate::judging::Judging;
use crate::partitions::Partitions;
use crate::proven::Proven;
use crate::reader::Inbound;
use crate::sockets::Sockets;
use crate::{DeliveryMetrics, Endpoints, Now, Options, Sender, Standing};
use entry::{Entry, Inherited};

/// Taken from a channel at once, at most.
const TURN: usize = 256;
/// How often upkeep is due.
const TICK: Duration = Duration::from_secs(1);
/// So long after the turn before, or longer, none begins unless this process was stopped, or nearly.
const STOPPED: Duration = Duration::from_secs(3);

/// What the dispatcher works with.
pub(crate) struct Ports<S> {
    pub(crate) committer: Arc<dyn Committer>,
    pub(crate) limits: Limits,
    /// False where a crash can lie between outputs and the positions that they finish.
    pub(crate) completes_at_once: bool,
    pub(crate) endpoints: Arc<dyn Endpoints>,
    pub(crate) sender: Arc<S>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tracer: Tracer,
    pub(crate) inbox: mpsc::Receiver<Inbound>,
    /// What is not to be read at present.
    pub(crate) pause: watch::Sender<Vec<TopicPartition>>,
}

pub(crate) struct Dispatcher<S> {
    ports: Ports<S>,
    options: Options,
    metrics: DeliveryMetrics,
    partitions: Partitions,
    lanes: HashMap<EndpointId, Entry>,
    /// What earlier owners published.
    restored: HashMap<EndpointId, Inherited>,
    runnable: VecDeque<EndpointId>,
    timers: BinaryHeap<Reverse<(Instant, EndpointId)>>,
    sockets: Sockets,
    finisher: Finisher,
    judging: Judging,
    proven: Proven,
    /// Endpoints whose state may have changed since it was published.
    changed: HashSet<EndpointId>,
    /// Lanes with nothing to do, by since when.
    idle: VecDeque<(Instant, EndpointId)>,
    /// Bytes of deliveries read and not finished.
    held: usize,
    /// Deliveries in lanes.
    waiting: usize,
    /// Since when reading has waited for lanes that only our own sockets hold up, until memory was half free again.
    burst_since: Option<Instant>,
    /// When memory, or the budget of unfinished records, was last looked after because it was short.
    shed_at: Option<Instant>,
    /// Where attempts say how they ended.
    ends_to: mpsc::Sender<(End, Standing)>,
    ends: mpsc::Receiver<(End, Standing)>,
    /// When the next upkeep is due.
    tick_at: Instant,
    /// When lanes are looked through next for what keeps a watermark back.
    lagging_at: Instant,
    /// When maps that are near the longest are looked after next, at the earliest.
    crowded_at: Instant,
    /// When the present turn began, and since when none began much later than it should have: an attempt that was out when
    /// this process was stopped does not say how long its endpoint takes.
    turned_at: Instant,
    awake_since: Instant,
    /// When all lanes are looked at next.
    survey_at: Instant,
    /// The registry's version at the last look for endpoints that were changed while their breakers are open.
    looked_at: u64,
    stopping: bool,
}

/// What woke the dispatcher.
enum Woken {
    Inbound(Option<Inbound>),
    Ended,
    Committed(crate::finisher::Commit),
    Judged(crate::Freshness, Vec<crate::Waiting>),
    Time,
    Stop,
}

impl<S: Sender> Dispatcher<S> {
    pub(crate) fn new(ports: Ports<S>, options: Options, metrics: DeliveryMetrics) -> Self {
        // Never full: there are no more attempts than sockets.
        let (ends_to, ends) = mpsc::channel(options.in_flight as usize + 1);
        let completes_at_once = ports.completes_at_once;
        Self {
            finisher: Finisher::new(
                Arc::clone(&ports.committer),
                ports.limits,
                options.commit_linger,
                metrics.clone(),
            ),
            judging: Judging::new(Arc::clone(&ports.endpoints)),
            sockets: Sockets::new(options.in_flight, options.answering_share),
            ends_to,
            ends,
            ports,
            options,
            metrics,
            partitions: Partitions::of_a_log(completes_at_once),
            lanes: HashMap::new(),
            restored: HashMap::new(),
            runnable: VecDeque::new(),
            timers: BinaryHeap::new(),
            proven: Proven::default(),
            changed: HashSet::new(),
            idle: VecDeque::new(),
            held: 0,
            waiting: 0,
            burst_since: None,
            shed_at: None,
            tick_at: Instant::now() + TICK,
            lagging_at: Instant::now(),
            crowded_at: Instant::now(),
            turned_at: Instant::now(),
            awake_since: Instant::now(),
            survey_at: Instant::now(),
            looked_at: 0,
            stopping: false,
        }
    }

    /// Works until `shutdown` and the drain after it, or until the log ends.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), LogError> {
        let mut ended = Vec::with_capacity(TURN);
        let mut drained_by: Option<Instant> = None;
        loop {
            let due = self.next_due(drained_by);
            let woken = tokio::select! {
                () = shutdown.cancelled(), if !self.stopping => Woken::Stop,
                commit = self.finisher.ended() => Woken::Committed(commit),
                _ = self.ends.recv_many(&mut ended, TURN) => Woken::Ended,
                inbound = self.ports.inbox.recv() => Woken::Inbound(inbound),
                (freshness, waiting) = self.judging.judged() => Woken::Judged(freshness, waiting),
                () = sleep_until(due) => Woken::Time,
            };
            let now = Now::of(&*self.ports.clock);
            if std::mem::replace(&mut self.turned_at, now.instant) + STOPPED <= now.instant {
                self.awake_since = now.instant;
            }
            match woken {
                Woken::Inbound(Some(inbound)) => self.take_in(inbound, now),
                Woken::Inbound(None) => return Ok(()),
                Woken::Ended => self.settle(&mut ended, now),
                Woken::Committed(commit) => {
                    match self.finisher.settle(commit, &mut self.partitions, now) {
                        Ok(freed) => self.held -= freed,
                        // Given up, after the drain: it is all still there for the next start.
                        Err(error) if error.is_passing() => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
                Woken::Judged(freshness, waiting) => self.judge(freshness, waiting, now),
                Woken::Time => {}
                Woken::Stop => {
                    self.stopping = true;
                    drained_by = Some(now.instant + self.options.drain);
                    self.tell_of_waiting();
                    self.publish(now);
                }
            }
            if self.turn(now, drained_by).await? {
                self.tell_of_cut_off();
                return Ok(());
            }
        }
    }

    fn tell_of_waiting(&self) {
        let (attempts, most_s) = (self.sockets.in_flight(), self.options.drain.as_secs());
        if attempts > 0 {
            tracing::info!(
                attempts,
                most_s,
                "attempts are in flight: waiting until they have ended"
            );
        }
    }

    fn tell_of_cut_off(&self) {
        let attempts = self.sockets.in_flight();
        if attempts > 0 {
            tracing::warn!(
                attempts,
                "attempts were cut off: they had not ended when their time was over, and are made again after the next start"
            );
        }
    }

    /// What follows each event. True when the worker has stopped.
    async fn turn(&mut self, now: Now, drained_by: Option<Instant>) -> Result<bool, LogError> {
        if self.tick_at <= now.instant {
            self.tick_at = now.instant + TICK;
            self.tick(now);
            self.move_watermarks(now);
        }
        self.take_again(now);
        self.wake_due(now.instant);
        self.start_ready(now);
        self.judging.ask();
        self.relieve(now);
        self.make_room_in_maps(now);
        self.release(now).await?;
        self.finisher.commit(&mut self.partitions, now.instant);
        let Some(by) = drained_by else {
            return Ok(false);
        };
        if by <= now.instant {
            self.finisher.give_up();
        }
        let quiet = self.sockets.in_flight() == 0 || by <= now.instant;
        if quiet && self.finisher.is_idle() {
            match self.options.cautious_start {
                true => self.hand_over_all(now),
                false => self.publish(now),
            }
        }
        Ok(quiet && self.finisher.is_idle())
    }

    /// The next time at which something is due by itself.
    fn next_due(&self, drained_by: Option<Instant>) -> Option<Instant> {
        let timer = self
            .timers
            .peek()
            .map(|Reverse((at, _))| *at)
            .filter(|_| !self.stopping);
        let drained = drained_by.filter(|by| *by > Instant::now());
        [timer, self.finisher.due(), drained, Some(self.tick_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Puts a lane into the queue of those to be asked.
    fn wake(&mut self, id: EndpointId) {
        if let Some(entry) = self.lanes.get_mut(&id)
            && !entry.runnable
        {
            entry.runnable = true;
            self.runnable.push_back(id);
        }
    }

    /// Wakes the lanes whose time has come.
    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            if let Some(entry) = self.lanes.get_mut(&id)
                && entry.timer == Some(at)
            {
                entry.timer = None;
                self.wake(id);
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
