//! What `v1` signs and how its tag is written.

use std::fmt::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{
    Hmac, KeyInit, Mac,
    digest::{CtOutput, Output},
};
use sha2::Sha256;

use crate::Secret;

/// Bytes of a tag in base64: 32 bytes, padded.
const TAG_TEXT_LEN: usize = 44;

/// What stands before each tag in the header.
const VERSION: &str = "v1";

/// Bytes of one entry in the header, with the space that separates it from the next.
pub(crate) const ENTRY_LEN: usize = VERSION.len() + 1 + TAG_TEXT_LEN + 1;

/// A tag that can only be compared in constant time.
pub(crate) type Tag = CtOutput<Hmac<Sha256>>;

/// HMAC with the key already absorbed, so that a signature pays for its content only.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn new(secret: &Secret) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "HMAC (RFC 2104) takes a key of any length"
        )]
        let mac = Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length");
        Self(mac)
    }

    /// The tag over `id.timestamp.body`; the body is read in place.
    pub(crate) fn tag(&self, id: &str, timestamp_s: i64, body: &[u8]) -> Tag {
        let mut mac = Absorb(self.0.clone());
        #[expect(clippy::expect_used, reason = "`Absorb` never returns an error")]
        write!(mac, "{id}.{timestamp_s}.").expect("hashing cannot fail");
        mac.0.update(body);
        mac.0.finalize()
    }
}

/// Appends `v1,TAG` to the value of the header, after a space if it is not the first.
pub(crate) fn push_entry(header: &mut String, tag: Tag) {
    if !header.is_empty() {
        header.push(' ');
    }
    header.push_str(VERSION);
    header.push(',');
    STANDARD.encode_string(tag.into_bytes(), header);
}

/// The well-formed `v1` tags in the value of a header. Entries of other versions are skipped, as
/// the specification asks, and so is what cannot be a tag.
pub(crate) fn entries(header: &str) -> impl Iterator<Item = Tag> {
    header
        .split(' ')
        .filter_map(|entry| entry.split_once(','))
        .filter(|(version, text)| *version == VERSION && text.len() == TAG_TEXT_LEN)
        .filter_map(|(_, text)| {
            let mut tag = Output::<Hmac<Sha256>>::default();
            let decoded = STANDARD.decode_slice(text, &mut tag);
            (decoded == Ok(tag.len())).then(|| CtOutput::new(tag))
        })
}

/// Lets numbers be formatted straight into the hash.
struct Absorb(Hmac<Sha256>);

impl Write for Absorb {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
