//! Chance that can be had again, and how hard a test is to be.

use std::str::FromStr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The value of the environment variable `name`, or `default` where it is unset or no such value.
#[expect(
    clippy::disallowed_methods,
    reason = "how hard a test is comes from whoever runs it, by the environment"
)]
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or(default),
        Err(_) => default,
    }
}

/// A random generator whose seed was printed.
#[derive(Debug)]
pub struct Seed(StdRng);

impl Seed {
    /// Seeded by `POSTRIDER_TEST_SEED`, else at random. Prints which, so that a failure can be had again.
    #[must_use]
    #[expect(
        clippy::print_stdout,
        reason = "shown when the test fails, which is when the seed is wanted"
    )]
    pub fn printed() -> Self {
        let seed = setting("POSTRIDER_TEST_SEED", rand::rng().random::<u32>().into());
        println!("POSTRIDER_TEST_SEED={seed}");
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..high)
    }
}
