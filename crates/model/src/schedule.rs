//! When a delivery is tried again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The waits before the first, second, … attempt. The first is usually zero.
///
/// As text: durations with a unit (`ms`, `s`, `m`, `h`, `d`), separated by commas: `0s,5s,5m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Arc<[Duration]>);

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No attempt at all.
    #[error("a retry schedule needs at least one wait, such as \"0s,5s,5m\"")]
    Empty,
    /// Nothing between two commas, or behind the last.
    #[error(
        "a retry schedule has nothing where its wait number {0} should stand: write a wait between commas, and none at the end, such as \"0s,5s,5m\""
    )]
    Missing(usize),
    /// Too many attempts.
    #[error("a retry schedule of {0} attempts is too long: at most {max} are possible", max = Schedule::MAX_ATTEMPTS)]
    TooMany(usize),
    /// A wait that is no duration.
    #[error("\"{0}\" is not a wait: expected a number with a unit (ms, s, m, h, d), such as 5m")]
    NotADuration(String),
    /// A wait that is too long.
    #[error("a wait of {0} is too long: at most {max} are possible", max = human(Schedule::MAX_WAIT))]
    TooLong(String),
}

impl Schedule {
    /// The most attempts that a schedule may have.
    pub const MAX_ATTEMPTS: usize = 50;
    /// The longest single wait.
    pub const MAX_WAIT: Duration = Duration::from_secs(3 * 24 * 3600);

    /// A schedule of these waits.
    pub fn new(waits: impl Into<Arc<[Duration]>>) -> Result<Self, ScheduleError> {
        let waits = waits.into();
        if waits.is_empty() {
            return Err(ScheduleError::Empty);
        }
        if waits.len() > Self::MAX_ATTEMPTS {
            return Err(ScheduleError::TooMany(waits.len()));
        }
        match waits.iter().find(|wait| **wait > Self::MAX_WAIT) {
            Some(wait) => Err(ScheduleError::TooLong(human(*wait))),
            None => Ok(Self(waits)),
        }
    }

    /// The wait before the attempt that follows `made` attempts; `None` if the schedule has no more.
    pub fn wait_after(&self, made: u32) -> Option<Duration> {
        self.0.get(made as usize).copied()
    }

    /// How many attempts there are.
    pub fn attempts(&self) -> usize {
        self.0.len()
    }

    /// All waits together.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The waits, in order.
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }

    /// `wait` lengthened at random by up to a tenth, so that what failed together does not come back together.
    /// `draw` lies in 0..1.
    pub fn with_jitter(wait: Duration, draw: f64) -> Duration {
        wait + wait.mul_f64(0.1 * draw.clamp(0.0, 1.0))
    }
}

/// The default of Standard Webhooks: immediately, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
impl Default for Schedule {
    fn default() -> Self {
        const M: u64 = 60;
        const H: u64 = 3600;
        Self(
            [
                0,
                5,
                5 * M,
                30 * M,
                2 * H,
                5 * H,
                10 * H,
                14 * H,
                20 * H,
                24 * H,
            ]
            .map(Duration::from_secs)
            .into(),
        )
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        if text.trim().is_empty() {
            return Err(ScheduleError::Empty);
        }
        let waits = text.split(',').map(str::trim).enumerate();
        let waits: Result<Vec<_>, _> = waits
            .map(|(index, wait)| match wait {
                "" => Err(ScheduleError::Missing(index + 1)),
                wait => parse_duration(wait),
            })
            .collect();
        Self::new(waits?)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits: Vec<_> = self.0.iter().map(|wait| human(*wait)).collect();
        f.write_str(&waits.join(","))
    }
}

/// The duration that `text` writes: a whole number and a unit.
fn parse_duration(text: &str) -> Result<Duration, ScheduleError> {
    let not_one = || ScheduleError::NotADuration(text.chars().take(40).collect());
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(not_one)?;
    let number: u64 = text[..digits].parse().map_err(|_| not_one())?;
    let unit_ms = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(not_one()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(not_one)
}

/// A duration in the largest unit that writes it whole.
fn human(wait: Duration) -> String {
    let ms = wait.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    match units
        .into_iter()
        .find(|(size, _)| ms > 0 && ms.is_multiple_of(*size))
    {
        Some((size, unit)) => format!("{}{unit}", ms / size),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_is_that_of_standard_webhooks() {
        assert_eq!(
            Schedule::default().to_string(),
            "0s,5s,5m,30m,2h,5h,10h,14h,20h,1d"
        );
    }

    #[test]
    fn a_schedule_ends_after_its_last_wait() {
        let schedule: Schedule = "0s, 5s".parse().unwrap();
        assert_eq!(schedule.wait_after(0), Some(Duration::ZERO));
        assert_eq!(schedule.wait_after(1), Some(Duration::from_secs(5)));
        assert_eq!(schedule.wait_after(2), None);
    }

    #[test]
    fn an_absurd_schedule_is_refused_and_says_what_would_be_right() {
        for (bad, says) in [
            ("", "at least one wait"),
            ("5", "number with a unit"),
            ("soon", "number with a unit"),
            ("-5s", "number with a unit"),
            ("99999999999999999999s", "number with a unit"),
            ("18446744073709551615d", "number with a unit"),
            ("4d", "at most 3d"),
            (&["1s"; 51].join(","), "at most 50"),
            ("0s,,5s", "nothing where its wait number 2 should stand"),
            ("0s,5s,", "nothing where its wait number 3 should stand"),
            (",0s", "nothing where its wait number 1 should stand"),
            (",", "nothing where its wait number 1 should stand"),
        ] {
            let error = bad.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_schedule_reads_back_from_its_text(waits in prop::collection::vec(0u64..259_200_000, 1..50)) {
            let schedule = Schedule::new(waits.into_iter().map(Duration::from_millis).collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }

        #[test]
        fn jitter_only_lengthens_and_by_a_tenth_at_most(ms in 0u64..259_200_000, draw in 0.0..1.0f64) {
            let wait = Duration::from_millis(ms);
            let jittered = Schedule::with_jitter(wait, draw);
            prop_assert!(jittered >= wait && jittered <= wait.mul_f64(1.1) + Duration::from_nanos(1));
        }
    }
}
