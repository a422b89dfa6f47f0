//! The few worst of something of which there may be millions.

use std::sync::{Arc, Mutex, PoisonError};

use crate::declare::{Declaration, Error, Kind};
use crate::registry::Registry;

/// A gauge by the name of something, of which only the few worst have a series at any time.
///
/// This is the one metric whose label may be an id: whoever shows bounds how many, and those that are not among them any
/// more are gone from the next answer.
#[derive(Clone, Debug)]
pub struct Worst {
    /// One label: its hash has no others to be confused with.
    series: prometheus::GaugeVec,
    shown: Arc<Mutex<Vec<String>>>,
}

impl Worst {
    /// Declares it in `registry`, without any series.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn register(
        registry: &Registry,
        name: &'static str,
        unit: &'static str,
        help: &'static str,
        label: &'static str,
    ) -> Result<Self, Error> {
        let declaration = Declaration {
            name,
            kind: Kind::Gauge,
            unit,
            help,
            labels: vec![label],
        };
        registry.declare(&declaration)?;
        let refused = |source| Error::Refused { name, source };
        let opts = prometheus::Opts::new(name, help);
        let series = prometheus::GaugeVec::new(opts, &[label]).map_err(refused)?;
        registry.collect(&declaration, Box::new(series.clone()))?;
        let shown = Arc::default();
        Ok(Self { series, shown })
    }

    /// From now on these are the worst, and no others.
    pub fn show(&self, worst: &[(String, f64)]) {
        // A panic in here leaves series that the next call removes.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown
            .iter()
            .filter(|one| worst.iter().all(|(name, _)| name != *one))
        {
            // It fails only for a series that is not there, which is what is wanted.
            let _ = self.series.remove_label_values(&[gone]);
        }
        for (name, value) in worst {
            self.series.with_label_values(&[name]).set(*value);
        }
        *shown = worst.iter().map(|(name, _)| name.clone()).collect();
    }
}
