//! What state the process is in, part by part: what `/health/ready` answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_registry::Registry;
use serde::Serialize;

/// The registry asks the store every second; after some that failed the store counts as away.
const STORE_AWAY_AFTER: Duration = Duration::from_secs(5);

/// The state of the process.
pub(crate) struct Condition {
    registry: Arc<Registry>,
    /// Why the log did not answer when it was asked last.
    log_fault: Mutex<Option<String>>,
    draining: AtomicBool,
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
    pub(crate) fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self {
            registry,
            log_fault: Mutex::new(None),
            draining: AtomicBool::new(false),
        })
    }

    /// From now on the process finishes what it has and takes nothing new.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// What the log answered when it was asked last.
    pub(crate) fn set_log(&self, fault: Option<String>) {
        // An assignment cannot be left half done.
        *self
            .log_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// All parts.
    pub(crate) fn parts(&self) -> [Part; 3] {
        let log_fault = self
            .log_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let age = self.registry.age();
        let store_fault = (age > STORE_AWAY_AFTER).then(|| {
            format!(
                "it has not answered for {} s; deliveries go on with the configuration as it was then",
                age.as_secs()
            )
        });
        let draining = self.draining.load(Ordering::SeqCst);
        let process_fault = draining.then(|| "it is stopping".to_owned());
        [
            Part::new("log", log_fault.clone()),
            Part::new("store", store_fault),
            Part::new("process", process_fault),
        ]
    }
}
