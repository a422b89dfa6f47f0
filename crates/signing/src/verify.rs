use std::fmt;

use crate::{Error, Secret, v1};

/// Verifies received requests against the secrets of one endpoint.
#[derive(Clone)]
pub struct Verifier {
    keys: Box<[v1::Key]>,
    tolerance_s: u32,
}

/// The three headers of a request, as received.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Value of [`HEADER_ID`](crate::HEADER_ID).
    pub id: &'a str,
    /// Value of [`HEADER_TIMESTAMP`](crate::HEADER_TIMESTAMP).
    pub timestamp: &'a str,
    /// Value of [`HEADER_SIGNATURE`](crate::HEADER_SIGNATURE).
    pub signature: &'a str,
}

impl Verifier {
    /// How far the official libraries let a request's timestamp lie from the receiver's clock.
    pub const DEFAULT_TOLERANCE_S: u32 = 300;

    /// A verifier that accepts a signature by any of the secrets, over a timestamp at most
    /// `tolerance_s` seconds before or after the receiver's clock.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>, tolerance_s: u32) -> Self {
        Self {
            keys: secrets.into_iter().map(v1::Key::new).collect(),
            tolerance_s,
        }
    }

    /// Checks that one of the secrets signed this request lately. `now_s` is the receiver's clock
    /// in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The `Timestamp…` and `Signature…` variants of [`Error`]; all mean that the request proves
    /// nothing.
    pub fn verify(&self, received: Received<'_>, body: &[u8], now_s: i64) -> Result<(), Error> {
        let timestamp_s = received
            .timestamp
            .parse()
            .map_err(|_| Error::TimestampMalformed)?;
        let apart_s = now_s.abs_diff(timestamp_s);
        if apart_s > u64::from(self.tolerance_s) {
            return Err(Error::TimestampTooFar {
                apart_s,
                tolerance_s: self.tolerance_s,
            });
        }
        let mut offered = v1::entries(received.signature).peekable();
        if offered.peek().is_none() {
            return Err(Error::SignatureMissing);
        }
        let ours: Vec<v1::Tag> = self
            .keys
            .iter()
            .map(|key| key.tag(received.id, timestamp_s, body))
            .collect();
        if offered.any(|tag| ours.contains(&tag)) {
            Ok(())
        } else {
            Err(Error::SignatureMismatch)
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("secrets", &self.keys.len())
            .field("tolerance_s", &self.tolerance_s)
            .finish()
    }
}
