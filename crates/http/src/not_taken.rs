//! What a client is told when the log does not take what follows from its request.

use postrider_log::LogError;

use crate::HttpError;

/// What to answer when the log did not take some of `what`, a plural such as `events`.
///
/// Busy and full say for certain that nothing was written. All else may have been written: an answer that did not come in
/// time says nothing of what it would have been, so an idempotency key stays claimed ([`HttpError::Uncertain`]).
pub fn not_taken(error: LogError, what: &str) -> HttpError {
    match error {
        LogError::Busy(_) => HttpError::Unavailable(format!(
            "more {what} wait to be written than fit: try again in a moment"
        )),
        LogError::Full(_) => HttpError::Full(format!(
            "there is no space left for new {what}; what was accepted is being delivered: try again later"
        )),
        LogError::Unacknowledged(_) => not_acknowledged(),
        LogError::TooLarge { size, limit, .. } => HttpError::TooLarge(format!(
            "it makes a record of {size} bytes; at most {limit} are taken"
        )),
        error @ (LogError::NoSuchTopic(_)
        | LogError::Trimmed { .. }
        | LogError::Lost(_)
        | LogError::Stopped(_)) => {
            tracing::error!(%error, "the log takes no {what}");
            HttpError::Uncertain(format!(
                "the log has stopped and takes no {what} at present: try again later"
            ))
        }
    }
}

/// What to answer when the log did not answer in time.
pub fn not_acknowledged() -> HttpError {
    HttpError::Uncertain(
        "the log did not acknowledge it in time; it may have been accepted: try again in a moment"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_written_is_told_as_that() {
        let told = |error| not_taken(error, "events");
        let busy = told(LogError::Busy(String::new()));
        assert!(matches!(busy, HttpError::Unavailable(_)), "{busy}");
        assert!(matches!(
            told(LogError::Full(String::new())),
            HttpError::Full(words) if words.contains("new events")
        ));
        for error in [
            LogError::Unacknowledged(String::new()),
            LogError::Stopped(String::new()),
        ] {
            let told = told(error);
            assert!(matches!(told, HttpError::Uncertain(_)), "{told}");
        }
    }
}
