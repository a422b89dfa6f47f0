use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::flight::Flight;
use crate::{Limits, LookupError};

/// The addresses of a name.
pub(crate) type Addresses = Arc<[SocketAddr]>;

/// What a name's last lookups say of its next. Each has turns of its own, which the others cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It resolved lately.
    Resolving,
    /// Not asked for lately.
    Unknown,
    /// The last lookup failed.
    Failing,
}

/// What is known of one name.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// What it resolved to last, and when.
    known: Option<(Addresses, Instant)>,
    /// How the last lookup failed, if it did, and when.
    failed: Option<(LookupError, Instant)>,
    /// The lookup that is under way.
    pub(crate) flight: Option<Arc<Flight>>,
}

impl Entry {
    pub(crate) fn standing(&self, limits: &Limits) -> Standing {
        if self.failed.is_some() {
            Standing::Failing
        } else if self.last(limits).is_some() {
            Standing::Resolving
        } else {
            Standing::Unknown
        }
    }

    /// What is known well enough to ask nobody.
    pub(crate) fn fresh(&self, limits: &Limits) -> Option<Result<Addresses, LookupError>> {
        if let Some((error, at)) = &self.failed {
            return (at.elapsed() < limits.fresh)
                .then(|| self.last(limits).map_or_else(|| Err(error.clone()), Ok));
        }
        let (addresses, at) = self.known.as_ref()?;
        (at.elapsed() < limits.fresh).then(|| Ok(Arc::clone(addresses)))
    }

    /// What is better than nothing where no answer comes.
    pub(crate) fn last(&self, limits: &Limits) -> Option<Addresses> {
        let (addresses, at) = self.known.as_ref()?;
        (at.elapsed() < limits.last).then(|| Arc::clone(addresses))
    }

    /// True if it has ever resolved, as far as is remembered.
    pub(crate) fn resolved_before(&self) -> bool {
        self.known.is_some()
    }

    /// Takes in how a lookup ended.
    pub(crate) fn learn(&mut self, result: &Result<Addresses, LookupError>) {
        let now = Instant::now();
        match result {
            Ok(addresses) => {
                self.known = Some((Arc::clone(addresses), now));
                self.failed = None;
            }
            Err(error) => {
                if matches!(error, LookupError::NoSuchName(_)) {
                    self.known = None;
                }
                self.failed = Some((error.clone(), now));
            }
        }
    }

    fn is_lately(&self, limits: &Limits) -> bool {
        let since = |at: &Instant| at.elapsed() < limits.last;
        self.known.as_ref().is_some_and(|(_, at)| since(at))
            || self.failed.as_ref().is_some_and(|(_, at)| since(at))
    }
}

/// What is known of names, bounded in number. Names that fail are forgotten before those that resolve, so that nobody's make
/// another's unknown.
#[derive(Debug, Default)]
pub(crate) struct Memory(HashMap<Arc<str>, Entry>);

impl Memory {
    pub(crate) fn get(&self, host: &str) -> Option<&Entry> {
        self.0.get(host)
    }

    pub(crate) fn get_mut(&mut self, host: &str) -> Option<&mut Entry> {
        self.0.get_mut(host)
    }

    /// The entry of a name that may be new.
    pub(crate) fn entry(&mut self, host: &Arc<str>, limits: &Limits) -> &mut Entry {
        if self.0.len() >= limits.names && !self.0.contains_key(host) {
            self.forget(limits);
        }
        self.0.entry(Arc::clone(host)).or_default()
    }

    /// Makes room for at least a quarter, but for lookups under way, which are as many as are waited for.
    fn forget(&mut self, limits: &Limits) {
        let enough = limits.names / 4 * 3;
        let keep: [fn(&Entry, &Limits) -> bool; 3] = [
            Entry::is_lately,
            |entry, limits| entry.standing(limits) == Standing::Resolving,
            |_, _| false,
        ];
        for keep in keep {
            if self.0.len() > enough {
                self.0
                    .retain(|_, entry| entry.flight.is_some() || keep(entry, limits));
            }
        }
    }

    /// Forgets a name of which nothing is known.
    pub(crate) fn drop_if_empty(&mut self, host: &str) {
        if self.get(host).is_some_and(|entry| {
            entry.known.is_none() && entry.failed.is_none() && entry.flight.is_none()
        }) {
            self.0.remove(host);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
