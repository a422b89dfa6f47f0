//! An attempt leaves.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use postrider_model::{DeathReason, Endpoint, EndpointId};
use tokio::time::Instant;

use super::Dispatcher;
use super::admit::terms;
use crate::attempt::{Begin, End, Ended, Withheld};
use crate::traced::Traced;
use crate::{Next, Now, ParkReason, Sender, Standing, Target, Waiting};

/// Attempts that one lane starts before the next has its turn.
const QUANTUM: u32 = 16;
/// How often the lease is asked for again while it does not last.
const WHILE_NO_LEASE: Duration = Duration::from_millis(100);
/// How long a delivery is put aside whose endpoint cannot be made ready for sending.
const WHILE_NOT_READY: Duration = Duration::from_secs(60);

impl<S: Sender> Dispatcher<S> {
    /// Asks every lane that is to be asked, in turns.
    pub(super) fn start_ready(&mut self, now: Now) {
        self.partitions.new_turn();
        while !self.stopping && self.finisher.is_writable() {
            // Those that wait for a socket come first, or lanes that have some would keep them for as long as they have
            // deliveries.
            if let Some(id) = self.sockets.unblock() {
                let entry = self.lanes.get_mut(&id);
                let was = entry.and_then(|entry| entry.blocked.take());
                self.run_lane(id, was, now);
            } else if let Some(id) = self.runnable.pop_front() {
                if let Some(entry) = self.lanes.get_mut(&id) {
                    entry.runnable = false;
                }
                self.run_lane(id, None, now);
            } else {
                return;
            }
        }
    }

    /// Starts what the lane has ready, by what the configuration says now, however long ago it was queued. `waited_as` is how
    /// it stood when it began to wait for a socket: that we let it wait says nothing of its endpoint.
    fn run_lane(&mut self, id: EndpointId, mut waited_as: Option<Standing>, now: Now) {
        let endpoint = self.enabled(id);
        if let (Some(endpoint), Some(entry)) = (&endpoint, self.lanes.get_mut(&id)) {
            let terms = terms(&*self.ports.endpoints, endpoint, &self.options.lane);
            if entry.lane.configure(terms, now.instant, now.instant) {
                self.note(id);
            }
        }
        let turn = self.sockets.share_of(self.runnable.len()).min(QUANTUM);
        for _ in 0..turn {
            let Some(entry) = self.lanes.get_mut(&id) else {
                return;
            };
            let standing = match (waited_as.take(), entry.lane.standing(now.instant)) {
                (Some(Standing::Answering), Standing::Known) => Standing::Answering,
                (_, standing) => standing,
            };
            let most = self.sockets.most(standing);
            match entry.lane.poll(now.instant, most) {
                Next::Idle => {
                    if entry.lane.in_flight() >= most && entry.lane.queued() > 0 {
                        entry.is_short_by_us(standing, now.instant);
                    }
                    return self.note_idle(id, now.instant);
                }
                Next::At(at) => return self.set_timer(id, at),
                Next::Start(waiting, probe) => {
                    if !self.may_start(id, &waiting, now) {
                        return;
                    }
                    if !self.sockets.take(standing) {
                        return self.block(id, waiting, standing, now.instant);
                    }
                    self.waiting -= 1;
                    if !self.start(endpoint.clone(), waiting, probe, standing, now) {
                        self.sockets.give_back(standing);
                    }
                }
            }
        }
        self.wake(id);
    }

    /// True if the lease of its partition lasts. Otherwise it is put back until the lease is renewed, or, if the partition
    /// goes to another owner, dropped with the partition.
    fn may_start(&mut self, id: EndpointId, waiting: &Waiting, now: Now) -> bool {
        if self
            .partitions
            .may_start(waiting.at, &*self.ports.committer)
        {
            return true;
        }
        if let Some(entry) = self.lanes.get_mut(&id) {
            entry.lane.put_back(waiting.clone());
        }
        self.set_timer(id, now.instant + WHILE_NO_LEASE);
        false
    }

    /// An attempt that was let through and did not go, because its lease had ended by then: it waits again. Of a partition
    /// that is not ours any more, or is about to go, it is left to the next owner.
    pub(super) fn take_back(&mut self, withheld: Withheld, now: Now) {
        let Withheld {
            waiting,
            epoch,
            probe,
            began,
        } = withheld;
        let (id, at) = (waiting.delivery.endpoint_id, waiting.at);
        let is_ours = self.partitions.attempt_ended(at, epoch) && self.partitions.keeps(at);
        let entry = self.lanes.get_mut(&id);
        let Some(entry) = entry.filter(|entry| entry.had_out(began)) else {
            self.held -= waiting.delivery.weight();
            return;
        };
        entry.lane.withheld(probe, began, now.instant);
        if is_ours {
            entry.lane.put_back(waiting);
            self.waiting += 1;
            self.set_timer(id, now.instant + WHILE_NO_LEASE);
        } else {
            self.held -= waiting.delivery.weight();
            self.wake(id);
        }
        // Of a probe, that it is not out.
        self.note(id);
    }

    /// The lane waits for a socket.
    fn block(&mut self, id: EndpointId, waiting: Waiting, standing: Standing, now: Instant) {
        if let Some(entry) = self.lanes.get_mut(&id) {
            entry.lane.put_back(waiting);
            entry.is_short_by_us(standing, now);
            if entry.blocked.is_none() {
                entry.blocked = Some(standing);
                self.sockets.block(id, standing);
            }
        }
    }

    /// Starts an attempt to `endpoint`, if it is known and enabled; false if there is none to start.
    fn start(
        &mut self,
        endpoint: Option<Arc<Endpoint>>,
        waiting: Waiting,
        probe: bool,
        standing: Standing,
        now: Now,
    ) -> bool {
        if self.partitions.was_attempted(waiting.at, &waiting.delivery) {
            self.metrics.repeats.inc();
            self.finish(&waiting, None, now.instant);
            return false;
        }
        if waiting.delivery.deadline <= now.wall {
            self.bury(waiting, DeathReason::Expired, now);
            return false;
        }
        let Some(endpoint) = endpoint else {
            self.judging.push(waiting);
            return false;
        };
        let Some(target) = self.target(endpoint) else {
            self.park_for(waiting, WHILE_NOT_READY, ParkReason::NotReady, now);
            return false;
        };
        self.launch(waiting, target, probe, standing, now);
        true
    }

    /// The endpoint made ready, once for each of its versions.
    fn target(&mut self, endpoint: Arc<Endpoint>) -> Option<Arc<Target>> {
        let id = endpoint.id;
        let entry = self.lanes.get_mut(&id)?;
        if let Some(target) = &entry.target
            && Arc::ptr_eq(&target.endpoint, &endpoint)
        {
            return Some(Arc::clone(target));
        }
        match Target::prepare(endpoint) {
            Ok(target) => {
                let target = Arc::new(target);
                entry.target = Some(Arc::clone(&target));
                Some(target)
            }
            Err(error) => {
                tracing::error!(endpoint = %id, %error, "an endpoint cannot be delivered to");
                None
            }
        }
    }

    fn launch(
        &mut self,
        waiting: Waiting,
        target: Arc<Target>,
        probe: bool,
        standing: Standing,
        now: Now,
    ) {
        let id = waiting.delivery.endpoint_id;
        let epoch = self.partitions.attempt_started(waiting.at);
        if let Some(entry) = self.lanes.get_mut(&id) {
            entry.lane.started(probe, now.instant);
        }
        if probe {
            self.note(id);
        }
        let spare = waiting.clone();
        let begin = Begin {
            traced: Traced::begin(&self.ports.tracer, &waiting, &target, now.instant),
            waiting,
            epoch,
            timeout: target
                .endpoint
                .policy
                .timeout
                .unwrap_or(self.options.timeout),
            schedule: self.options.schedule.clone(),
            target,
            probe,
            began: now,
        };
        let (sender, clock) = (
            Arc::clone(&self.ports.sender),
            Arc::clone(&self.ports.clock),
        );
        let ends = self.ends_to.clone();
        // Where there is one owner, always, no lease ends.
        let shared = self.options.cautious_start;
        let lease = shared.then(|| Arc::clone(&self.ports.committer));
        // Boxed: a spawned future lies in its runtime's cell, whose alignment makes large ones costly to allocate.
        tokio::spawn(Box::pin(async move {
            let end = if lease.is_some_and(|lease| !begin.may_go(&*lease, &*clock)) {
                End::Withheld(begin.withhold())
            } else {
                let made = AssertUnwindSafe(begin.run(&*sender, &*clock))
                    .catch_unwind()
                    .await;
                End::Made(made.unwrap_or_else(|_| {
                    Ended::by_our_fault(&spare, epoch, probe, now.instant, clock.now())
                }))
            };
            // Nobody listens only when the worker has stopped; then the next owner makes the attempt again.
            let _ = ends.send((end, standing)).await;
        }));
    }

    fn set_timer(&mut self, id: EndpointId, at: Instant) {
        if let Some(entry) = self.lanes.get_mut(&id)
            && entry.timer.is_none_or(|set| at < set)
        {
            entry.timer = Some(at);
            self.timers.push(std::cmp::Reverse((at, id)));
        }
    }
}
