use std::net::SocketAddr;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};

/// How names become addresses.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`, in the order of preference. The port is not used.
    ///
    /// # Errors
    /// [`LookupError`], by whose fault it may be.
    fn lookup(
        &self,
        host: &str,
    ) -> impl Future<Output = Result<Vec<SocketAddr>, LookupError>> + Send;
}

/// Why a lookup brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// An answer: the name has no address.
    #[error("{0}")]
    NoSuchName(String),
    /// No answer, or one that says to come again: the servers of the name fail, or our own resolver.
    #[error("{0}")]
    Temporary(String),
    /// This machine had nothing left to ask with.
    #[error("{0}")]
    OurOwn(String),
}

/// The operating system's resolver, on tokio's pool of blocking threads. One lookup holds a thread until it ends, for half a
/// minute where servers do not answer; giving up the wait does not free it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let host = host.to_owned();
        tokio::task::spawn_blocking(move || ask(&host))
            .await
            .unwrap_or_else(|error| Err(LookupError::OurOwn(error.to_string())))
    }
}

/// As the standard library asks, which does not tell a name that is not there from a resolver that does not answer.
fn ask(host: &str) -> Result<Vec<SocketAddr>, LookupError> {
    let hints = AddrInfoHints {
        // An address once, and not once for each kind of socket.
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).map_err(|error| {
        let words = error.to_string();
        match error.kind() {
            LookupErrorKind::Again | LookupErrorKind::Fail => LookupError::Temporary(words),
            LookupErrorKind::Memory | LookupErrorKind::System => LookupError::OurOwn(words),
            LookupErrorKind::NoName
            | LookupErrorKind::NoData
            | LookupErrorKind::Badflags
            | LookupErrorKind::Family
            | LookupErrorKind::Socktype
            | LookupErrorKind::Service
            | LookupErrorKind::Unknown
            // A code that has no name there, as "no address of this family", or a name that cannot be asked for.
            | LookupErrorKind::IO => LookupError::NoSuchName(words),
        }
    })?;
    // What is of no family that can be connected to is passed over.
    Ok(found.flatten().map(|info| info.sockaddr).collect())
}
