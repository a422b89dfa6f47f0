use std::error::Error;

/// Why a name has no address for this connection, by whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The name's: it does not exist, or its servers do not answer.
    #[error("the name does not resolve: {0}")]
    TheirFault(String),
    /// Ours: the lookup had no turn, or nothing resolves. The endpoint is not charged with it.
    #[error("names cannot be resolved at present: {0}")]
    OurFault(String),
}

/// The failed resolution inside an error of `reqwest`, or of anything else that keeps its sources.
#[must_use]
pub fn unresolved_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Unresolved> {
    std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref())
}
