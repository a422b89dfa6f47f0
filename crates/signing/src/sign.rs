use std::fmt;

use crate::{Secret, v1};

/// Signs the attempts of one endpoint. Made once when the endpoint's secrets change; each
/// signature then costs one hash of the content for each secret that is in force.
///
/// The prepared state is as good as the secret to whoever reads this process's memory, and is not
/// wiped on drop: a signer lives as long as its endpoint is known.
#[derive(Clone)]
pub struct Signer {
    current: v1::Key,
    /// Newest first, each with the time at which it stops signing, in ms since the Unix epoch.
    retiring: Box<[(v1::Key, i64)]>,
}

impl Signer {
    /// A signer with the current secret and those that were rotated out, newest first, each with
    /// the time (ms since the Unix epoch) from which it no longer signs.
    #[must_use]
    pub fn new<'a>(
        current: &Secret,
        retiring: impl IntoIterator<Item = (&'a Secret, i64)>,
    ) -> Self {
        let retiring = retiring
            .into_iter()
            .map(|(secret, expires_at_ms)| (v1::Key::new(secret), expires_at_ms))
            .collect();
        Self {
            current: v1::Key::new(current),
            retiring,
        }
    }

    /// The value of [`HEADER_SIGNATURE`](crate::HEADER_SIGNATURE): an entry by the current secret,
    /// then one by each retiring secret that has not expired at the attempt's own time.
    ///
    /// `timestamp_s` (seconds since the Unix epoch) must be what is sent in
    /// [`HEADER_TIMESTAMP`](crate::HEADER_TIMESTAMP). `id` must have no full stop: it is what keeps
    /// id and timestamp apart in what is signed.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let now_ms = timestamp_s.saturating_mul(1000);
        let mut header = String::with_capacity(v1::ENTRY_LEN * (1 + self.retiring.len()));
        v1::push_entry(&mut header, self.current.tag(id, timestamp_s, body));
        for (key, expires_at_ms) in &self.retiring {
            if now_ms < *expires_at_ms {
                v1::push_entry(&mut header, key.tag(id, timestamp_s, body));
            }
        }
        header
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("retiring", &self.retiring.len())
            .finish_non_exhaustive()
    }
}
