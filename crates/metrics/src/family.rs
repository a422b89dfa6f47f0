//! Metrics with labels: enumerated ones, resolved when declared, and ones whose values are known
//! at start, resolved then.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use crate::declare::{Declaration, Error};
use crate::label::Labels;
use crate::registry::Registry;
use crate::series::{Counter, FloatGauge, Gauge, Histogram, Series};

/// A counter for each value of a label, or for each combination of two or three.
pub type CounterVec<L> = PerLabel<Counter, L>;
/// A gauge for each value of a label, or for each combination.
pub type GaugeVec<L> = PerLabel<Gauge, L>;
/// A gauge with fractions for each value of a label, or for each combination.
pub type FloatGaugeVec<L> = PerLabel<FloatGauge, L>;
/// A histogram for each value of a label, or for each combination.
pub type HistogramVec<L> = PerLabel<Histogram, L>;

/// Counters whose labels are known at start; the number is that of the labels.
pub type CounterFamily<const N: usize> = Family<Counter, N>;
/// Gauges whose labels are known at start, such as a lag by topic and group.
pub type GaugeFamily<const N: usize> = Family<Gauge, N>;
/// Gauges with fractions whose labels are known at start.
pub type FloatGaugeFamily<const N: usize> = Family<FloatGauge, N>;

/// One series for each value of `L`, all made when it is declared.
#[derive(Clone, Debug)]
pub struct PerLabel<S, L> {
    /// At [`Labels::index`], and so as long as [`Labels::COUNT`].
    series: Arc<[S]>,
    labels: PhantomData<fn(L)>,
}

impl<S: Series, L: Labels> PerLabel<S, L> {
    fn declare(
        registry: &Registry,
        name: &'static str,
        unit: &'static str,
        help: &'static str,
        shape: S::Shape,
    ) -> Result<Self, Error> {
        let kind = S::KIND;
        let labels = L::names();
        let declaration = Declaration {
            name,
            kind,
            unit,
            help,
            labels,
        };
        registry.declare(&declaration)?;
        let series = (0..L::COUNT)
            .map(|index| registry.series(&declaration, &L::values(index), shape))
            .collect::<Result<_, _>>()?;
        let labels = PhantomData;
        Ok(Self { series, labels })
    }

    /// The series of these labels.
    #[inline]
    #[must_use]
    pub fn of(&self, labels: L) -> &S {
        &self.series[labels.index()]
    }
}

impl<S: Series<Shape = ()>, L: Labels> PerLabel<S, L> {
    /// Declares it, and a series for every value of `L`, in `registry`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn register(
        registry: &Registry,
        name: &'static str,
        unit: &'static str,
        help: &'static str,
    ) -> Result<Self, Error> {
        Self::declare(registry, name, unit, help, ())
    }
}

impl<L: Labels> PerLabel<Histogram, L> {
    /// Declares it, and a histogram with these bounds for every value of `L`, in `registry`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn register(
        registry: &Registry,
        name: &'static str,
        unit: &'static str,
        help: &'static str,
        bounds: &'static [f64],
    ) -> Result<Self, Error> {
        Self::declare(registry, name, unit, help, bounds)
    }
}

/// A metric whose series are asked for by the values of its `N` labels.
///
/// Asking locks and may allocate: ask once, at start, and keep the handle. The values come from
/// the program or its configuration (topics, groups, roles), never from an event or a customer,
/// since a series lives as long as the process, or until all of them are forgotten.
#[derive(Clone, Debug)]
pub struct Family<S, const N: usize> {
    registry: Registry,
    declaration: Declaration,
    series: Arc<Mutex<BTreeMap<[String; N], S>>>,
}

impl<S: Series<Shape = ()>, const N: usize> Family<S, N> {
    /// Declares it in `registry`, without any series.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn register(
        registry: &Registry,
        name: &'static str,
        unit: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Result<Self, Error> {
        let kind = S::KIND;
        let labels = labels.to_vec();
        let declaration = Declaration {
            name,
            kind,
            unit,
            help,
            labels,
        };
        registry.declare(&declaration)?;
        let registry = registry.clone();
        let series = Arc::default();
        Ok(Self {
            registry,
            declaration,
            series,
        })
    }

    /// The series with these values of the labels, made if it is not there.
    ///
    /// # Errors
    /// [`Error::Refused`] if the `prometheus` crate does not take it.
    pub fn resolve(&self, values: [&str; N]) -> Result<S, Error> {
        // A panic in here leaves the map as it was before or after an insertion.
        let mut known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let key = values.map(str::to_owned);
        if let Some(series) = known.get(&key) {
            return Ok(series.clone());
        }
        let series: S = self.registry.series(&self.declaration, &values, ())?;
        known.insert(key, series.clone());
        Ok(series)
    }

    /// All series are gone, until they are asked for again: what is not known must not be told as it was once. Handles that
    /// were asked for before count into nothing from now on.
    pub fn forget(&self) {
        let mut known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for series in std::mem::take(&mut *known).into_values() {
            self.registry.forget(series.collector());
        }
    }
}
