//! Wall-clock time as it is stored and sent.

use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time that lies `millis` after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// This time, `by` later; at the end of time it stays there.
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This time, `by` earlier.
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time that an RFC 3339 text writes. The last hours of the year 9999, which are not told apart everywhere on
    /// earth, are taken as [`LAST`](Self::LAST).
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(Self(at.as_millisecond())),
            Err(_) => Self::is_past_the_last(text).then_some(Self::LAST),
        }
    }

    /// 9999-12-30T22:00:00.000Z, the last time whose text has four digits for the year in every time zone.
    pub const LAST: Self = Self(253_402_207_200_000);

    /// True for a time that is written well and lies behind [`LAST`](Self::LAST): the day is good, the moment too late.
    fn is_past_the_last(text: &str) -> bool {
        jiff::fmt::temporal::Pieces::parse(text).is_ok_and(|parts| {
            let is_time = parts.time().is_some() && parts.offset().is_some();
            is_time && parts.date() >= jiff::civil::date(9999, 12, 30)
        })
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "\"{text}\" is not a time in RFC 3339, such as 2026-01-31T12:00:00Z"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_rfc_3339_with_milliseconds_and_read_back() {
        let at = Timestamp::from_millis(1_614_265_330_000);
        assert_eq!(at.to_string(), "2021-02-25T15:02:10.000Z");
        assert_eq!(Timestamp::parse("2021-02-25T16:02:10+01:00"), Some(at));
    }

    #[test]
    fn the_end_of_the_year_9999_is_a_time_and_what_is_no_time_is_none() {
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999999+00:00",
            "9999-12-31T23:59:59-12:00",
            "9999-12-30T23:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), Some(Timestamp::LAST), "{text}");
        }
        assert_eq!(Timestamp::LAST.to_string(), "9999-12-30T22:00:00.000Z");
        let before = Timestamp::parse("9999-12-30T21:59:59Z").unwrap();
        assert!(before < Timestamp::LAST);
        for text in [
            "9999-12-32T00:00:00Z",
            "9999-12-31T25:00:00Z",
            "9999-12-31",
            "9999-12-31T23:59:59",
            "10000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Zz",
            "",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_inside_time() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(Timestamp::from_millis(1).since(end), Duration::ZERO);
    }
}
