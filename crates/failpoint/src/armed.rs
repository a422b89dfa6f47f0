//! What a test asks for, and stopping there.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a point and, behind a colon, which passage stops there; the first if none is given.
pub const VARIABLE: &str = "POSTRIDER_TEST_FAIL_POINT";

static ASKED: LazyLock<Option<Asked>> = LazyLock::new(of_process);

/// The point at which this process is to stop.
#[derive(Debug)]
struct Asked {
    name: String,
    /// Which passage, counted from 1.
    passage: u64,
    passed: AtomicU64,
}

impl Asked {
    fn parse(text: &str) -> Option<Self> {
        let (name, passage) = text.split_once(':').unwrap_or((text, "1"));
        Some(Self {
            name: name.to_owned(),
            passage: passage.parse().ok().filter(|passage| *passage > 0)?,
            passed: AtomicU64::new(0),
        })
    }

    /// Counts a passage of the point `name`; true if it is the one that stops.
    fn stops(&self, name: &str) -> bool {
        self.name == name && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.passage
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "not configuration: tests reach every process by it, and no other build has this"
)]
fn of_process() -> Option<Asked> {
    Asked::parse(&std::env::var(VARIABLE).ok()?)
}

fn stops(name: &str) -> bool {
    let stops = ASKED.as_ref().is_some_and(|asked| asked.stops(name));
    if stops {
        eprintln!("{}", reached(name));
    }
    stops
}

/// The line on standard error by which a process says that it has stopped at this point.
#[must_use]
pub fn reached(name: &str) -> String {
    format!("fail point {name} is reached")
}

/// Where [`fail_point!`](crate::fail_point) stands. Never ends if this is the passage that was asked for.
pub async fn reach(name: &str) {
    if stops(name) {
        std::future::pending::<()>().await;
    }
}

/// Where [`thread_fail_point!`](crate::thread_fail_point) stands. Never ends if this is the passage that was asked for.
pub fn reach_on_thread(name: &str) {
    if stops(name) {
        // It may wake without having been asked to.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passage_that_was_asked_for_stops() {
        let third = Asked::parse("fanout.complete.before:3").unwrap();
        let stops = || third.stops("fanout.complete.before");
        assert!(!third.stops("fanout.complete.after"));
        assert_eq!(
            [stops(), stops(), stops(), stops()],
            [false, false, true, false]
        );
        assert!(Asked::parse("x").unwrap().stops("x"));
    }

    #[test]
    fn what_is_no_passage_stops_nothing() {
        assert!(Asked::parse("x:0").is_none());
        assert!(Asked::parse("x:soon").is_none());
    }
}
