//! How far a broker's clock is off ours, as far as an acknowledgement shows it. Pure.

use std::time::Duration;

use postrider_model::Timestamp;

/// A record was handed over at `sent` and acknowledged by `heard`, by our clock, and stamped in between by the broker's.
/// Where the stamp does not lie in between, the clocks differ by what it lies outside, at least.
pub(crate) fn off_by(sent: Timestamp, stamped: Timestamp, heard: Timestamp) -> Duration {
    sent.since(stamped).max(stamped.since(heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_between_sending_and_hearing_says_nothing_against_a_clock() {
        let off = |stamped: i64| {
            let at = Timestamp::from_millis;
            off_by(at(10_000), at(stamped), at(12_000)).as_millis()
        };
        assert_eq!([10_000, 11_000, 12_000].map(off), [0, 0, 0]);
        assert_eq!(off(7_000), 3_000, "behind");
        assert_eq!(off(612_000), 600_000, "ahead");
    }
}
