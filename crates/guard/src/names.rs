use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::flight::{Flight, Flying, Queued, Stage};
use crate::memory::{Addresses, Memory, Standing};
use crate::{Lookup, LookupError, Outage, Unresolved};

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Lookups at a time of names that resolved lately. With twice `others` it is to leave threads of the pool of 512 to
    /// others: a lookup holds one for as long as servers do not answer.
    pub resolving: usize,
    /// Lookups at a time of names that failed, and as many of names not asked for lately.
    pub others: usize,
    /// How long an answer, or a failure, stands for the next who ask.
    pub fresh: Duration,
    /// How long a name's last addresses are good enough where no answer comes.
    pub last: Duration,
    /// How long an answer is waited for while there are such addresses.
    pub prompt: Duration,
    /// How long a turn is waited for.
    pub turn: Duration,
    /// How long an answer is waited for, the turn included. Must be shorter than the client's own limit for connecting, or
    /// whose fault it was is never told.
    pub answer: Duration,
    /// Names of which something is remembered.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resolving: 128,
            others: 64,
            fresh: Duration::from_secs(5),
            last: Duration::from_secs(300),
            prompt: Duration::from_secs(1),
            turn: Duration::from_secs(5),
            answer: Duration::from_secs(8),
            names: 32_768,
        }
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, LookupError>> + Send>>;

/// Names and what they resolve to: asked for once at a time each, so many at a time in all, and not again for a moment.
///
/// Only what was asked, never what the guard said of it: that is asked anew for each connection.
pub(crate) struct Names {
    lookup: Box<dyn Fn(Arc<str>) -> Asked + Send + Sync>,
    limits: Limits,
    memory: Mutex<Memory>,
    resolving: Arc<Semaphore>,
    unknown: Arc<Semaphore>,
    failing: Arc<Semaphore>,
    queued: Arc<AtomicUsize>,
    outage: Outage,
}

/// What one who asks gets.
enum Asking {
    Told(Result<Addresses, LookupError>),
    Waits {
        began: Instant,
        stage: watch::Receiver<Stage>,
        last: Option<Addresses>,
    },
}

impl Names {
    pub(crate) fn new(lookup: impl Lookup, limits: Limits) -> Arc<Self> {
        let lookup = Arc::new(lookup);
        let turns = |count| Arc::new(Semaphore::new(count));
        Arc::new(Self {
            lookup: Box::new(move |host| {
                let lookup = Arc::clone(&lookup);
                Box::pin(async move { lookup.lookup(&host).await })
            }),
            memory: Mutex::default(),
            resolving: turns(limits.resolving),
            unknown: turns(limits.others),
            failing: turns(limits.others),
            queued: Arc::default(),
            outage: Outage::default(),
            limits,
        })
    }

    /// The addresses of `host`, which the guard has not seen.
    pub(crate) async fn resolve(self: &Arc<Self>, host: &str) -> Result<Addresses, Unresolved> {
        let asked = Instant::now();
        match self.join(host) {
            Asking::Told(told) => told.map_err(|error| self.fault(host, error)),
            Asking::Waits {
                began,
                mut stage,
                last: Some(last),
            } => {
                let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_)));
                match timeout_at(began + self.limits.prompt, ended).await {
                    Ok(Ok(ended)) => match &*ended {
                        Stage::Ended(Ok(addresses)) => Ok(Arc::clone(addresses)),
                        Stage::Ended(Err(error @ LookupError::NoSuchName(_))) => {
                            Err(Unresolved::TheirFault(error.to_string()))
                        }
                        _ => Ok(last),
                    },
                    _ => Ok(last),
                }
            }
            Asking::Waits { stage, .. } => self.wait(host, asked, stage).await,
        }
    }

    /// Waits for the turn, and then for the answer.
    async fn wait(
        &self,
        host: &str,
        asked: Instant,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<Addresses, Unresolved> {
        let turn = stage.wait_for(|stage| !matches!(stage, Stage::Waiting));
        let since = match timeout_at(asked + self.limits.turn, turn).await {
            Ok(Ok(stage)) => match &*stage {
                Stage::Asked(since) => asked.min(*since),
                Stage::Waiting | Stage::Ended(_) => asked,
            },
            Ok(Err(_)) => return Err(broken_off()),
            Err(_) => return Err(no_turn()),
        };
        let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_)));
        let ended = timeout_at(since + self.limits.answer, ended).await;
        let told = match ended {
            Ok(Ok(stage)) => match &*stage {
                Stage::Ended(told) => told.clone(),
                Stage::Waiting | Stage::Asked(_) => return Err(broken_off()),
            },
            Ok(Err(_)) => return Err(broken_off()),
            Err(_) => return Err(self.unanswered(host, asked).unwrap_or_else(no_turn)),
        };
        told.map_err(|error| self.fault(host, error))
    }

    /// Tells what is known, or joins the lookup that is under way, or begins one.
    fn join(self: &Arc<Self>, host: &str) -> Asking {
        let mut memory = self.memory();
        let known = memory.get(host);
        if let Some(told) = known.and_then(|entry| entry.fresh(&self.limits)) {
            return Asking::Told(told);
        }
        if let Some(flight) = known.and_then(|entry| entry.flight.as_ref()) {
            return Asking::Waits {
                began: flight.began,
                stage: flight.stage.subscribe(),
                last: known.and_then(|entry| entry.last(&self.limits)),
            };
        }
        let host: Arc<str> = host.into();
        let entry = memory.entry(&host, &self.limits);
        let turns = match entry.standing(&self.limits) {
            Standing::Resolving => &self.resolving,
            Standing::Unknown => &self.unknown,
            Standing::Failing => &self.failing,
        };
        let flight = Arc::new(Flight::new());
        entry.flight = Some(Arc::clone(&flight));
        let asking = Asking::Waits {
            began: flight.began,
            stage: flight.stage.subscribe(),
            last: entry.last(&self.limits),
        };
        drop(memory);
        let flying = Flying {
            names: Arc::clone(self),
            host,
            flight,
        };
        tokio::spawn(flying.run(Queued::new(&self.queued), Arc::clone(turns)));
        asking
    }

    /// Asks the resolver.
    pub(crate) async fn ask(&self, host: &Arc<str>) -> Result<Addresses, LookupError> {
        (self.lookup)(Arc::clone(host)).await.map(Into::into)
    }

    /// Takes in how a lookup ended, and that it has.
    pub(crate) fn learn(
        &self,
        host: &Arc<str>,
        flight: &Arc<Flight>,
        result: &Result<Addresses, LookupError>,
    ) {
        let mut memory = self.memory();
        let entry = memory.entry(host, &self.limits);
        match result {
            Ok(_) | Err(LookupError::NoSuchName(_)) => self.outage.works(),
            Err(LookupError::Temporary(_)) => {
                self.outage.fails(host, entry.resolved_before());
            }
            Err(LookupError::OurOwn(_)) => {}
        }
        entry.learn(result);
        entry
            .flight
            .take_if(|under_way| Arc::ptr_eq(under_way, flight));
    }

    /// Takes out a lookup that nobody waits for. False if somebody does.
    pub(crate) fn abandon(&self, host: &str, flight: &Arc<Flight>) -> bool {
        let mut memory = self.memory();
        // Whoever joins does so under the same lock.
        let is_abandoned = flight.stage.receiver_count() == 0;
        if is_abandoned {
            take_out(&mut memory, host, flight);
        }
        is_abandoned
    }

    /// Takes out a lookup, if it is still there.
    pub(crate) fn end(&self, host: &str, flight: &Arc<Flight>) {
        take_out(&mut self.memory(), host, flight);
    }

    /// Whose fault the failure of a lookup is.
    fn fault(&self, host: &str, error: LookupError) -> Unresolved {
        match error {
            LookupError::NoSuchName(words) => Unresolved::TheirFault(words),
            LookupError::OurOwn(words) => Unresolved::OurFault(words),
            LookupError::Temporary(words) => self.temporary(host, words),
        }
    }

    fn temporary(&self, host: &str, words: String) -> Unresolved {
        let resolved_before = self
            .memory()
            .get(host)
            .is_some_and(|entry| entry.resolved_before());
        if self.outage.fails(host, resolved_before) {
            Unresolved::OurFault(words)
        } else {
            Unresolved::TheirFault(words)
        }
    }

    /// Whose fault it is that there is no answer yet for one who has asked since `asked`; `None` if no lookup of this name is
    /// under way.
    pub(crate) fn unanswered(&self, host: &str, asked: Instant) -> Option<Unresolved> {
        let stage = {
            let memory = self.memory();
            let flight = memory.get(host)?.flight.as_ref()?;
            flight.stage.borrow().clone()
        };
        match stage {
            Stage::Waiting => Some(no_turn()),
            // What waited for its turn for longer than for the answer had too little of the time.
            Stage::Asked(since) if since.saturating_duration_since(asked) > since.elapsed() => {
                Some(no_turn())
            }
            Stage::Asked(_) => Some(self.temporary(host, "its servers do not answer".to_owned())),
            Stage::Ended(_) => None,
        }
    }

    /// Lookups that wait for their turn.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_out(memory: &mut Memory, host: &str, flight: &Arc<Flight>) {
    if let Some(entry) = memory.get_mut(host) {
        entry
            .flight
            .take_if(|under_way| Arc::ptr_eq(under_way, flight));
    }
    memory.drop_if_empty(host);
}

fn no_turn() -> Unresolved {
    Unresolved::OurFault("too many lookups are under way".to_owned())
}

fn broken_off() -> Unresolved {
    Unresolved::OurFault("the lookup was broken off".to_owned())
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("limits", &self.limits)
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}
