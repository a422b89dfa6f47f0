//! The registry: what has been declared, and its present values as text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::TextEncoder;
use prometheus::core::Collector;

use crate::declare::{Declaration, Error};
use crate::series::Series;

/// All metrics of one process. A clone is the same registry.
#[expect(
    clippy::disallowed_types,
    reason = "this is what it is to be wrapped in"
)]
#[derive(Clone, Debug, Default)]
pub struct Registry {
    values: prometheus::Registry,
    declared: Arc<Mutex<Vec<Declaration>>>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every metric's present value in Prometheus' text format 0.0.4 ([`crate::CONTENT_TYPE`]),
    /// sorted by name and labels.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Encoding fails only for a family without a name or without series, and gathering has
        // neither; what was written before it would still be good to have.
        let _ = TextEncoder::new().encode_utf8(&self.values.gather(), &mut text);
        text
    }

    /// Every metric declared so far, sorted by name, also those that have no series yet.
    #[must_use]
    pub fn declarations(&self) -> Vec<Declaration> {
        let mut declared = self.declared().clone();
        declared.sort_by_key(|declaration| declaration.name);
        declared
    }

    /// Takes note of a declaration, or refuses it.
    pub(crate) fn declare(&self, declaration: &Declaration) -> Result<(), Error> {
        let name = declaration.name;
        if let Some(fault) = declaration.fault() {
            return Err(Error::Bad { name, fault });
        }
        let mut declared = self.declared();
        if declared.iter().any(|other| other.name == name) {
            return Err(Error::Duplicate { name });
        }
        declared.push(declaration.clone());
        Ok(())
    }

    /// Makes one series of a declared metric.
    ///
    /// Each series is a collector of its own with constant labels: the `prometheus` crate's own
    /// vectors hash the values of labels without a separator, so ("ab", "c") and ("a", "bc")
    /// would count as one.
    pub(crate) fn series<S: Series>(
        &self,
        declaration: &Declaration,
        values: &[&str],
        shape: S::Shape,
    ) -> Result<S, Error> {
        let name = declaration.name;
        let labels: HashMap<String, String> = declaration
            .labels
            .iter()
            .zip(values)
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect();
        let opts = prometheus::Opts::new(name, declaration.help).const_labels(labels);
        let refused = |source| Error::Refused { name, source };
        let (series, collector) = S::make(opts, shape).map_err(refused)?;
        self.collect(declaration, collector)?;
        Ok(series)
    }

    /// From now on what `collector` has is rendered.
    pub(crate) fn collect(
        &self,
        declaration: &Declaration,
        collector: Box<dyn Collector>,
    ) -> Result<(), Error> {
        let name = declaration.name;
        let refused = |source| Error::Refused { name, source };
        self.values.register(collector).map_err(refused)
    }

    /// What `collector` has is rendered no more.
    pub(crate) fn forget(&self, collector: Box<dyn Collector>) {
        // It fails only for one that is not there, which is what is wanted.
        let _ = self.values.unregister(collector);
    }

    fn declared(&self) -> MutexGuard<'_, Vec<Declaration>> {
        // Nothing can panic half-way through a push.
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
