//! What state the process is in, part by part: what `/health/ready` and `/health/startup` answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use postrider_registry::Registry;
use postrider_store_sql::Damage;
use serde::Serialize;

/// The registry asks the store every second; after some that failed the store counts as away.
const STORE_AWAY_AFTER: Duration = Duration::from_secs(5);

/// The state of the process.
pub(crate) struct Condition {
    /// Why the log did not answer when it was asked last.
    log: Mutex<Option<String>>,
    /// Why the log takes no new events although it answers.
    space: Mutex<Option<String>>,
    /// Why the store did not answer when it was asked last, if a role needs it.
    store: Option<Mutex<Option<String>>>,
    /// Knows better how the store is, once it is read.
    registry: OnceLock<Arc<Registry>>,
    /// What is known of the store's file, if it is one.
    damage: OnceLock<Damage>,
    /// Whether everything was opened; stays so.
    started: AtomicBool,
    draining: AtomicBool,
}

/// What the parts are called.
pub(crate) const PARTS: [&str; 4] = [LOG, SPACE, STORE, PROCESS];
const LOG: &str = "log";
const SPACE: &str = "space";
const STORE: &str = "store";
const PROCESS: &str = "process";

/// A part that others report on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Log,
    Space,
    Store,
}

/// One part of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) ready: bool,
    /// What is wrong, and what goes on meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Part {
    fn new(name: &'static str, why: Option<String>) -> Self {
        Self {
            name,
            ready: why.is_none(),
            why,
        }
    }
}

impl Condition {
    /// Of a process that has opened nothing so far.
    pub(crate) fn new(uses_store: bool) -> Arc<Self> {
        let opening = || Mutex::new(Some("it is being opened".to_owned()));
        Arc::new(Self {
            log: opening(),
            space: Mutex::default(),
            store: uses_store.then(opening),
            registry: OnceLock::new(),
            damage: OnceLock::new(),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        })
    }

    /// From now on the process plays its roles.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::SeqCst);
    }

    /// Whether it ever did.
    pub(crate) fn started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    /// From now on the process finishes what it has and takes nothing new.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// What a part answered when it was asked last.
    pub(crate) fn set(&self, part: Name, fault: Option<String>) {
        let place = match part {
            Name::Log => Some(&self.log),
            Name::Space => Some(&self.space),
            Name::Store => self.store.as_ref(),
        };
        if let Some(place) = place {
            // An assignment cannot be left half done.
            *place.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        }
    }

    /// Why the process takes nothing although log and store may be there: its services are not started yet, or are to end.
    fn at_an_end(&self) -> Option<&'static str> {
        match (self.started(), self.draining.load(Ordering::SeqCst)) {
            (_, true) => Some("it is stopping"),
            (false, false) => Some("it is starting"),
            (true, false) => None,
        }
    }

    /// From now on the age of the registry tells how the store is.
    pub(crate) fn watch(&self, registry: Arc<Registry>) {
        self.registry.get_or_init(|| registry);
    }

    /// From now on a file that is found damaged is no store to be relied on, however much of it still answers.
    pub(crate) fn watch_file(&self, damage: Damage) {
        self.damage.get_or_init(|| damage);
    }

    /// All parts.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = vec![
            Part::new(LOG, fault_in(&self.log)),
            Part::new(SPACE, fault_in(&self.space)),
        ];
        if let Some(store) = &self.store {
            let damage = self.damage.get().and_then(Damage::found);
            let fault = match (damage, self.registry.get()) {
                (Some(found), _) => Some(damaged(found)),
                (None, Some(registry)) if registry.is_restored() => Some(restored(registry.age())),
                (None, Some(registry)) => old(registry.age()),
                (None, None) => fault_in(store),
            };
            parts.push(Part::new(STORE, fault));
        }
        parts.push(Part::new(PROCESS, self.at_an_end().map(str::to_owned)));
        parts
    }
}

fn fault_in(place: &Mutex<Option<String>>) -> Option<String> {
    place.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// It is no matter how old: nobody knows what it has become.
fn restored(age: Duration) -> String {
    format!(
        "it has not answered since the start; the configuration is that of {} s ago, from the file of registry.snapshot: what \
         it holds is accepted and delivered, what it does not is answered with 503 or waits",
        age.as_secs()
    )
}

fn damaged(found: &str) -> String {
    format!(
        "it is damaged: {found}. What is accepted meanwhile is delivered, and what cannot be recorded waits in the log"
    )
}

fn old(age: Duration) -> Option<String> {
    (age > STORE_AWAY_AFTER).then(|| {
        format!(
            "it has not answered for {} s; deliveries go on with the configuration as it was then",
            age.as_secs()
        )
    })
}
