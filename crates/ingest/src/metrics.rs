//! What ingest counts.

use postrider_http::HttpError;

postrider_metrics::label! {
    /// Why an event was not accepted.
    pub enum Reason("reason") {
        Unauthorized = "unauthorized",
        NotFound = "not_found",
        Invalid = "invalid",
        TooLarge = "too_large",
        Conflict = "conflict",
        Unavailable = "unavailable",
        Full = "full",
        Broken = "broken",
        // Told by no answer: see `Asked`.
        Abandoned = "abandoned",
    }
}

impl Reason {
    pub(crate) fn of(error: &HttpError) -> Self {
        match error {
            HttpError::Unauthorized(_) | HttpError::Forbidden(_) => Self::Unauthorized,
            HttpError::NotFound => Self::NotFound,
            HttpError::Unreadable(_) | HttpError::UnsupportedMedia(_) | HttpError::Invalid(_) => {
                Self::Invalid
            }
            HttpError::TooLarge(_) => Self::TooLarge,
            HttpError::Conflict(_) | HttpError::InProgress => Self::Conflict,
            HttpError::Unavailable(_) | HttpError::Uncertain(_) => Self::Unavailable,
            HttpError::Full(_) => Self::Full,
            HttpError::Broken(_) => Self::Broken,
        }
    }
}

postrider_metrics::metrics! {
    /// What ingest counts.
    pub struct IngestMetrics {
        accepted: Counter("postrider_ingest_accepted_total", "events", "Events answered with 202, repeats under one key included."),
        rejected: CounterVec<Reason>("postrider_ingest_rejected_total", "requests", "Requests to publish that were refused, by reason. abandoned: they got no answer of ours, because the client went away while it waited for us, or http.request_timeout was over (408); what was asked may have been done."),
        payload: Counter("postrider_ingest_payload_bytes_total", "bytes", "Payload bytes of the events accepted."),
        accept: Histogram("postrider_ingest_accept_seconds", "seconds", "From a request's head to its 202.", postrider_metrics::LATENCY_BUCKETS),
    }
}
