//! `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

use postrider_model::Timestamp;

/// The wait that a value asks for: seconds, or a date. `None` if it is neither; zero for a date that is past. However much
/// it is: who acts on it sets the bound.
pub(crate) fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a very long wait, too.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new();
    let at = match date.parse_timestamp(value) {
        Ok(at) => Timestamp::from_millis(at.as_millisecond()),
        Err(_) => is_last_day(value).then_some(Timestamp::LAST)?,
    };
    Some(at.since(now))
}

/// True for the last days of the year 9999 in the form of HTTP, which the parser above does not take as a time.
fn is_last_day(value: &str) -> bool {
    let read = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", value);
    read.and_then(|parts| parts.to_datetime())
        .is_ok_and(|at| at.date() >= jiff::civil::date(9999, 12, 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("", None),
            ("soon", None),
            ("-5", None),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Fri, 32 Dec 9999 23:59:59 GMT", None),
            ("Fri, 31 Dec 9999 23:59:59", None),
        ] {
            assert_eq!(
                parse(value, now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn the_last_day_of_the_calendar_is_as_long_a_wait_as_any() {
        let now = Timestamp::parse("2026-11-06T08:49:07Z").unwrap();
        let asked = parse("Fri, 31 Dec 9999 23:59:59 GMT", now).unwrap();
        assert!(asked > crate::LONGEST_RETRY_AFTER);
    }
}
