//! Whose fault it is that an attempt has no answer.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postrider_guard::{GuardedResolver, Outage, Refused, Unresolved, refusal_in, unresolved_in};
use tokio::time::Instant;

use crate::Failure;

/// Tells what an endpoint did wrong from what our own side did, by what befalls the others at the same time.
pub(crate) struct Faults {
    resolver: Arc<GuardedResolver>,
    /// Whether any host can be reached.
    routes: Outage,
}

impl Faults {
    pub(crate) fn new(resolver: Arc<GuardedResolver>) -> Self {
        Self {
            resolver,
            routes: Outage::default(),
        }
    }

    pub(crate) fn resolver(&self) -> &GuardedResolver {
        &self.resolver
    }

    /// There was an answer.
    pub(crate) fn none(&self) {
        self.routes.works();
    }

    /// Whose fault it is that there is no answer: ours if the name's lookup never had its turn, or no name resolves.
    pub(crate) fn of_silence(&self, host: &str, began: Instant, timeout: Duration) -> Failure {
        match self.resolver.unanswered(host, began) {
            Some(ours @ Unresolved::OurFault(_)) => Failure::OwnFault(ours.to_string()),
            Some(Unresolved::TheirFault(_)) | None => {
                let waited = timeout.as_secs_f64();
                Failure::TimedOut(format!("no answer within {waited} s"))
            }
        }
    }

    /// Whose fault an error is.
    pub(crate) fn of(&self, error: &reqwest::Error, host: &str) -> Failure {
        let words = in_words(error);
        match refusal_in(error) {
            // The name leads nowhere, which is its owner's doing.
            Some(Refused::NoAddress) => return Failure::Unreachable(words),
            Some(_) => return Failure::Forbidden(words),
            None => {}
        }
        match unresolved_in(error) {
            Some(Unresolved::TheirFault(_)) => return Failure::Unreachable(words),
            Some(Unresolved::OurFault(_)) => return Failure::OwnFault(words),
            None => {}
        }
        if error.is_builder() || has_code(error, &OURS) {
            Failure::OwnFault(words)
        } else if has_code(error, &NO_ROUTE) {
            // One that breaks later may have sent something.
            if error.is_connect() && self.routes.fails(host, true) {
                Failure::OwnFault(words)
            } else {
                Failure::Unreachable(words)
            }
        } else if error.is_timeout() {
            Failure::TimedOut(words)
        } else {
            // Whoever refuses or breaks a connection was reached.
            self.routes.works();
            Failure::Unreachable(words)
        }
    }
}

/// The error and what caused it, without the URL, which its owner knows and others need not.
fn in_words(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(error.source(), |error| (*error).source());
    chain.fold(String::new(), |words, cause| {
        let cause = cause.to_string();
        if words.is_empty() {
            cause
        } else if words.contains(&cause) {
            words
        } else {
            format!("{words}: {cause}")
        }
    })
}

/// This machine had nothing left to connect with: ENFILE, EMFILE, ENOMEM, EADDRNOTAVAIL, ENETDOWN, ENOBUFS.
const OURS: [i32; 6] = [23, 24, 12, 99, 100, 105];
/// There is no way there, from here or at all: ENETUNREACH, EHOSTUNREACH.
const NO_ROUTE: [i32; 2] = [101, 113];

fn has_code(error: &(dyn Error + 'static), codes: &[i32]) -> bool {
    std::iter::successors(Some(error), |error| (*error).source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .filter_map(io::Error::raw_os_error)
        .any(|code| codes.contains(&code))
}
