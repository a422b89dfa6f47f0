//! What a set of durations says.

use serde::{Deserialize, Serialize};

/// A set of durations in microseconds, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many there were.
    pub count: u64,
    /// Half were no longer than this, in µs.
    pub p50_us: u64,
    /// 99 of 100 were no longer than this, in µs.
    pub p99_us: u64,
    /// None was longer than this, in µs.
    pub max_us: u64,
}

impl Quantiles {
    /// Of these durations, in µs and in any order.
    #[must_use]
    pub fn of(mut durations_us: Vec<u64>) -> Self {
        durations_us.sort_unstable();
        let at = |share: f64| {
            let last = durations_us.len().saturating_sub(1);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rank within the set"
            )]
            let rank = (last as f64 * share).round() as usize;
            durations_us.get(rank).copied().unwrap_or_default()
        };
        Self {
            count: durations_us.len() as u64,
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quantiles;

    #[test]
    fn quantiles_are_ranks_of_the_sorted_set() {
        let of = Quantiles::of((0..=100).rev().collect());
        assert_eq!(
            (of.count, of.p50_us, of.p99_us, of.max_us),
            (101, 50, 99, 100)
        );
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
