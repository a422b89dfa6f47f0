//! The member's thread: polls without a break, so that rebalances are heard of whatever the reader does,
//! and acts on what it hears.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_log::{Assignment, Backoff, Polled, TopicPartition};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;

use super::assigning::{self, Arrival, Placed};
use super::context::{Consumer, Mark, give_back};
use super::forsaken::{self, Given};
use super::gone::Found;
use super::refused::Refused;
use super::{Clients, Member, count, gone};
use crate::error::{closed, forbids};
use crate::record::record;

/// How long one poll may last: so soon is seen what others ask of this thread.
const POLL: Duration = Duration::from_millis(25);
/// For a question to the brokers that the thread waits for.
const ASK: Duration = Duration::from_secs(3);
/// A commit that was not acknowledged for so long never will be: every broker has ended the session by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts it.
pub(super) fn start(member: Arc<Member>, clients: Clients) -> std::io::Result<()> {
    let name = format!("kafka-{}", member.group);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || run(&member, clients))
        .map(drop)
}

/// Until the member is closed; a consumer that cannot go on is replaced.
fn run(member: &Arc<Member>, clients: Clients) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut clients = Some(clients);
    while !member.is_closed() {
        if let Some(built) = clients.take() {
            Thread::new(member, built).serve();
        }
        if member.is_closed() {
            break;
        }
        member.shared.options.metrics.rebuilt.inc();
        std::thread::sleep(backoff.next_wait());
        match member.build() {
            Ok(built) => clients = Some(built),
            Err(error) => tracing::error!(group = %member.group, %error, "building a consumer"),
        }
    }
    member.ended.send_replace(true);
    member.wake_committing();
}

/// The thread with one pair of clients.
struct Thread<'a> {
    member: &'a Member,
    clients: Clients,
    /// What is being read.
    fetched: BTreeSet<TopicPartition>,
    given: Given,
    /// Given to us by the group, and not yet assigned.
    arriving: Option<Arrival>,
    /// Wanted back by the group, and not yet given up by the reader's side.
    leaving: Vec<TopicPartition>,
    /// Of `leaving`: given up.
    left: Vec<TopicPartition>,
    broken: bool,
    refused: Refused,
}

impl<'a> Thread<'a> {
    fn new(member: &'a Member, clients: Clients) -> Self {
        Self {
            member,
            clients,
            fetched: BTreeSet::new(),
            given: Given::default(),
            arriving: None,
            leaving: Vec::new(),
            left: Vec::new(),
            broken: false,
            refused: Refused::default(),
        }
    }

    fn serve(mut self) {
        let names: Vec<&str> = self.member.names.iter().map(String::as_str).collect();
        if let Err(error) = self.clients.consumer.subscribe(&names) {
            tracing::error!(group = %self.member.group, %error, "joining a group");
            return;
        }
        self.publish(Some(Arc::clone(&self.clients.consumer)));
        while !self.member.is_closed() && !self.broken {
            self.poll();
            for mark in self.clients.consumer.context().take() {
                self.act(mark);
            }
            self.arrive();
            self.tell_arrived();
            self.give_up();
            self.find_gone();
            self.check_patience();
            self.check_given();
        }
        self.end();
    }

    fn publish(&self, consumer: Option<Arc<Consumer>>) {
        let mut published = self
            .member
            .consumer
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *published = consumer;
    }

    fn poll(&mut self) {
        match self.clients.consumer.poll(POLL) {
            // What it was sent before its partitions were paused is read by the fetcher.
            None | Some(Ok(_)) => {}
            Some(Err(error)) => self.failed(&error),
        }
        let member = self.member;
        while let Some(polled) = self.clients.fetcher.poll(Duration::ZERO) {
            match polled {
                Ok(message) => {
                    // A partition has a queue of its own; what was fetched before it had comes here.
                    let catalog = &member.shared.catalog;
                    let at = catalog.at(message.topic(), message.partition());
                    let mut seats = member.seats();
                    if let Some(seat) = at.and_then(|at| seats.get(at)) {
                        seat.ahead.push_back(record(seat.at, &message));
                        member.notify.notify_one();
                    }
                }
                Err(error) if forbids(&error) => self.refused.tell(member.group, &error),
                Err(error) => {
                    tracing::debug!(group = %member.group, %error, "a member's reading");
                }
            }
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        if fatal || self.clients.consumer.client().fatal_error().is_some() {
            tracing::error!(group = %self.member.group, %error, "a member cannot go on, and joins anew");
            self.broken = true;
        } else if forbids(error) {
            self.refused.tell(self.member.group, error);
        } else {
            tracing::debug!(group = %self.member.group, %error, "a member's connection");
        }
    }

    fn act(&mut self, mark: Mark) {
        tracing::debug!(group = %self.member.group, ?mark, "heard of");
        match mark {
            Mark::Assigned(partitions) => {
                self.given.add(&partitions);
                self.arriving = Some(Arrival::new(partitions));
            }
            Mark::Revoked(partitions) => self.revoke(partitions),
            Mark::Lost(partitions) => {
                if let Some(arrival) = &mut self.arriving {
                    arrival.forget(&partitions);
                }
                let lost = self.member.seats().tenures(&partitions);
                self.member.lose(&lost);
                self.leaving.clear();
                self.left.clear();
                self.hand_back(&partitions);
            }
        }
    }

    /// Asks where the group was in what it gives us, and begins to read there.
    fn arrive(&mut self) {
        let Some(arrival) = &mut self.arriving else {
            return;
        };
        let shared = &self.member.shared;
        let (catalog, metrics) = (&shared.catalog, &shared.options.metrics);
        let cut = self.member.seats().cut.clone();
        let asked = arrival.ask(&self.clients.consumer, catalog, &cut, metrics, ASK);
        if let Some(placed) = asked {
            self.arriving = None;
            let is_placed = |at: &TopicPartition| placed.iter().any(|one| one.at == *at);
            self.member.seats().cut.retain(|at| !is_placed(at));
            self.take_over(placed);
        }
    }

    fn take_over(&mut self, placed: Vec<Placed>) {
        let partitions: Vec<_> = placed.iter().map(|placed| placed.at).collect();
        // One that was lost to a commit is still being read if the group gives it back at once.
        self.stop_fetching(&partitions);
        self.fetched.extend(partitions);
        match assigning::begin(self.member, &self.clients, placed) {
            Ok(()) => self.member.wake_committing(),
            Err(error) => {
                tracing::error!(group = %self.member.group, %error, "taking partitions over");
                self.broken = true;
            }
        }
    }

    /// Tells the reader of partitions whose first commit was acknowledged, each number once it is there of every topic.
    fn tell_arrived(&self) {
        let member = self.member;
        let mut seats = member.seats();
        if seats.all().all(|seat| seat.told || seat.revoking) {
            return;
        }
        let owned: Vec<TopicPartition> = seats
            .all()
            .filter(|seat| !seat.revoking)
            .map(|seat| seat.at)
            .collect();
        let whole = |partition| {
            let of = |topic| TopicPartition { topic, partition };
            member
                .topics
                .iter()
                .all(|topic| owned.contains(&of(*topic)))
        };
        let mut assigned = Vec::new();
        for seat in seats.all().filter(|seat| !seat.told && !seat.revoking) {
            if member.leases.hold(seat.at) && whole(seat.at.partition) {
                seat.told = true;
                let committed = seat.committed.clone();
                assigned.push(Assignment {
                    at: seat.at,
                    committed,
                    epoch: seat.epoch,
                });
            }
        }
        if !assigned.is_empty() {
            let count = i64::try_from(assigned.len()).unwrap_or(i64::MAX);
            member.shared.options.metrics.owned.add(count);
            seats.events.push_back(Ok(Polled::Assigned(assigned)));
            member.notify.notify_one();
        }
    }

    /// Tells the reader to give partitions up; those that it does not know of go at once.
    fn revoke(&mut self, partitions: Vec<TopicPartition>) {
        if let Some(arrival) = &mut self.arriving {
            arrival.forget(&partitions);
        }
        let mut seats = self.member.seats();
        let mut told = Vec::new();
        for at in &partitions {
            match seats.get(*at) {
                Some(seat) if seat.told => {
                    seat.revoking = true;
                    told.push(*at);
                }
                _ => self.left.push(*at),
            }
        }
        if !told.is_empty() {
            seats.events.push_back(Ok(Polled::Revoking(told)));
            self.member.notify.notify_one();
        }
        drop(seats);
        self.leaving = partitions;
    }

    /// Gives partitions back to the group, once the reader's side has released all that are wanted.
    fn give_up(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        if self.is_awaited() {
            return;
        }
        let leaving = std::mem::take(&mut self.leaving);
        self.left.clear();
        let tenures = self.member.seats().tenures(&leaving);
        self.member.let_go(&tenures);
        let told = self.member.seats().remove(&tenures);
        let metrics = &self.member.shared.options.metrics;
        metrics.owned.add(-count(&told));
        metrics.given_up.inc_by(told.len() as u64);
        self.hand_back(&leaving);
    }

    /// Is something of what the group wants back still in the reader's hands?
    fn is_awaited(&mut self) -> bool {
        let mut seats = self.member.seats();
        self.left.append(&mut seats.take_released());
        // One without a seat was lost to a commit meanwhile: nobody releases it any more, and librdkafka tells of no loss
        // before what it wanted back is given.
        let (leaving, left) = (&self.leaving, &self.left);
        let mut kept = leaving.iter().filter(|at| !left.contains(at));
        kept.any(|at| seats.get(*at).is_some())
    }

    fn stop_fetching(&mut self, partitions: &[TopicPartition]) {
        let fetched = &mut self.fetched;
        let these = partitions.iter().copied().filter(|at| fetched.remove(at));
        let list = self.member.shared.catalog.list(these);
        if list.count() > 0
            && let Err(error) = self.clients.fetcher.incremental_unassign(&list)
        {
            tracing::warn!(group = %self.member.group, %error, "reading of partitions could not be stopped");
        }
    }

    fn hand_back(&mut self, partitions: &[TopicPartition]) {
        self.stop_fetching(partitions);
        self.given.remove(partitions);
        let list = self.member.shared.catalog.list(partitions.iter().copied());
        if let Err(error) = give_back(&self.clients.consumer, &list) {
            tracing::warn!(group = %self.member.group, %error, "giving partitions back");
        }
    }

    /// Goes on at the beginning where what was to be read is not there any more. Counts it as lost.
    fn find_gone(&mut self) {
        let gone = std::mem::take(&mut self.member.seats().gone);
        for at in gone {
            match gone::restart(self.member, &self.clients.fetcher, at, ASK) {
                Ok(Found::Restarted) => {}
                Ok(Found::Cut) => {
                    tracing::error!(group = %self.member.group, %at, "a partition was cut before what was to be read next: the member joins anew");
                    self.broken = true;
                }
                Err(error) => {
                    tracing::warn!(%at, %error, "looking for the beginning of a partition");
                    self.member.seats().gone.push(at);
                }
            }
        }
    }

    /// A member that cannot commit for so long has been forgotten by the group.
    fn check_patience(&mut self) {
        if self.member.commits().longest_wait() > PATIENCE {
            tracing::error!(group = %self.member.group, "no commit was acknowledged for {PATIENCE:?}: the member joins anew");
            self.broken = true;
        }
    }

    /// Whoever was forgotten for a moment alone joins anew, so that what it let go has an owner again.
    fn check_given(&mut self) {
        let moving = self.arriving.is_some() || !self.leaving.is_empty();
        let seated = self.member.seats().all().count();
        if self.given.is_forsaken(seated, moving) {
            tracing::error!(group = %self.member.group, "a commit was refused as a stranger's, but the group took nothing back for {:?}: the member joins anew", forsaken::WAIT);
            self.broken = true;
        }
    }

    /// Leaves the group.
    fn end(self) {
        let member = self.member;
        self.publish(None);
        self.clients.consumer.context().close();
        let owned: Vec<_> = member.seats().all().map(|seat| seat.tenure()).collect();
        if member.is_closed() {
            let told = member.seats().remove(&owned);
            member.shared.options.metrics.owned.add(-count(&told));
        } else {
            member.lose(&owned);
        }
        let stopped = member.shared.is_closed().then(closed);
        member.commits().abandon(stopped.as_ref());
        member.notify.notify_one();
        let Clients {
            mut consumer,
            fetcher,
        } = self.clients;
        // Its end waits for its threads, and nobody for it.
        std::thread::spawn(move || drop(fetcher));
        // A commit that is under way may hold it for a moment.
        while let Err(shared) = Arc::try_unwrap(consumer).map(drop) {
            shared.poll(POLL);
            consumer = shared;
        }
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
