//! The four things that can be counted with. Each is a handle: cloning it is cheap, and clones
//! count into the same series.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, Opts};

use crate::declare::{Declaration, Error, Kind};
use crate::registry::Registry;

/// What a [`crate::PerLabel`] or [`crate::Family`] is made of.
pub trait Series: Clone + std::fmt::Debug {
    /// The kind that is declared.
    const KIND: Kind;
    /// What it takes to make one beside its name: bounds for a histogram, nothing otherwise.
    type Shape: Copy + std::fmt::Debug;

    /// What the registry collects from, for a handle that was made of it.
    #[doc(hidden)]
    fn collector(&self) -> Box<dyn Collector>;

    /// A handle, and what the registry collects from.
    #[doc(hidden)]
    fn make(opts: Opts, shape: Self::Shape) -> prometheus::Result<(Self, Box<dyn Collector>)>;
}

/// Declares a metric that has no label and makes its only series.
fn single<S: Series>(
    registry: &Registry,
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    shape: S::Shape,
) -> Result<S, Error> {
    let kind = S::KIND;
    let labels = Vec::new();
    let declaration = Declaration {
        name,
        kind,
        unit,
        help,
        labels,
    };
    registry.declare(&declaration)?;
    registry.series(&declaration, &[], shape)
}

macro_rules! scalar {
    ($(#[$attr:meta])* $name:ident over $inner:ty: $kind:ident) => {
        $(#[$attr])*
        #[derive(Clone, Debug)]
        pub struct $name($inner);

        impl Series for $name {
            const KIND: Kind = Kind::$kind;
            type Shape = ();
            fn make(opts: Opts, (): ()) -> prometheus::Result<(Self, Box<dyn Collector>)> {
                let inner = <$inner>::with_opts(opts)?;
                Ok((Self(inner.clone()), Box::new(inner)))
            }
            fn collector(&self) -> Box<dyn Collector> {
                Box::new(self.0.clone())
            }
        }

        impl $name {
            /// Declares it in `registry`.
            ///
            /// # Errors
            /// See [`Error`].
            pub fn register(
                registry: &Registry,
                name: &'static str,
                unit: &'static str,
                help: &'static str,
            ) -> Result<Self, Error> {
                single(registry, name, unit, help, ())
            }
        }
    };
}

scalar! {
    /// Counts what happens; never falls.
    Counter over prometheus::IntCounter: Counter
}

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Counts `n` at once, as a batch does.
    pub fn inc_by(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

scalar! {
    /// Counts with fractions what grows, such as seconds that were used.
    FloatCounter over prometheus::Counter: Counter
}

impl FloatCounter {
    /// Is now `total`, which somebody else counts, such as the system; less than what it was changes nothing.
    pub fn raise_to(&self, total: f64) {
        let more = total - self.0.get();
        if more > 0.0 {
            self.0.inc_by(more);
        }
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

scalar! {
    /// A whole number that rises and falls: how many wait, how many bytes are held.
    Gauge over prometheus::IntGauge: Gauge
}

impl Gauge {
    /// Is now `value`.
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// One less.
    pub fn dec(&self) {
        self.0.dec();
    }

    /// `n` more, or fewer if it is negative.
    pub fn add(&self, n: i64) {
        self.0.add(n);
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}

scalar! {
    /// A measure with fractions, such as an age in seconds.
    FloatGauge over prometheus::Gauge: Gauge
}

impl FloatGauge {
    /// Is now `value`.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Is now `duration`, in seconds.
    pub fn set_duration(&self, duration: Duration) {
        self.0.set(duration.as_secs_f64());
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

/// Counts observations by size: latencies, sizes of batches.
#[derive(Clone, Debug)]
pub struct Histogram(prometheus::Histogram);

impl Series for Histogram {
    const KIND: Kind = Kind::Histogram;
    type Shape = &'static [f64];
    fn make(opts: Opts, bounds: &[f64]) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let opts = HistogramOpts::from(opts).buckets(bounds.to_vec());
        let inner = prometheus::Histogram::with_opts(opts)?;
        Ok((Self(inner.clone()), Box::new(inner)))
    }
    fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.0.clone())
    }
}

impl Histogram {
    /// Declares it in `registry`, with the upper bounds of its buckets in growing order.
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
        single(registry, name, unit, help, bounds)
    }

    /// Counts one observation, in the declared unit.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }

    /// Counts one duration, for a histogram whose unit is seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }
}
