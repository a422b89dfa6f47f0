//! Typed, prefixed ids.
//!
//! A made id is a UUID of version 7: 48 bits of milliseconds, then random; so ids sort by the time they were made.
//! A derived id is a UUID of version 8 over a SHA-256 of what it derives from; it carries no time, and says so by
//! an `h` behind its prefix. The text is the prefix and 26 characters of Crockford's base 32, lower case.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;

/// What an id names. The prefix ends with `_`.
pub trait IdKind: 'static {
    /// The text before the id's characters.
    const PREFIX: &'static str;
}

/// A 16-byte id of kind `K`.
pub struct Id<K: IdKind> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{given}\" is not an id of the form {prefix}…: expected \"{prefix}\" and 26 characters of 0-9 and a-z, before which \
     one that was derived has an h"
)]
pub struct IdError {
    given: String,
    prefix: &'static str,
}

impl<K: IdKind> Id<K> {
    /// A new id that carries the present time.
    pub fn new() -> Self {
        Self::wrap(Uuid::now_v7())
    }

    /// A new id that carries `at`; random in all else.
    pub fn new_at(at: crate::Timestamp) -> Self {
        let millis = at.as_millis().max(0).unsigned_abs();
        Self::wrap(uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid())
    }

    /// The id that follows from `parts`, the same each time. Each part is hashed with its length, so that no two
    /// lists of parts run together.
    pub fn derive(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(K::PREFIX.as_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut head = [0; 16];
        head.copy_from_slice(&digest[..16]);
        Self::wrap(uuid::Builder::from_custom_bytes(head).into_uuid())
    }

    /// The id whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self {
            uuid: Uuid::from_bytes(bytes),
            kind: PhantomData,
        }
    }

    /// The id whose bytes these are, if there are 16.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }

    /// The 16 bytes, ordered as the ids are.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// True if the id derives from others and carries no time.
    pub fn is_derived(&self) -> bool {
        self.uuid.get_version_num() == 8
    }

    /// The time that the id carries; `None` if it carries none.
    pub fn made_at(&self) -> Option<crate::Timestamp> {
        if self.uuid.get_version_num() != 7 {
            return None;
        }
        let [a, b, c, d, e, f, ..] = *self.as_bytes();
        let millis = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Some(crate::Timestamp::from_millis(millis))
    }

    const fn wrap(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    fn text(&self) -> [u8; TEXT_LEN] {
        let mut rest = u128::from_be_bytes(*self.as_bytes());
        let mut text = [0; TEXT_LEN];
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        text
    }
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(given: &str) -> Result<Self, IdError> {
        parse(given, K::PREFIX)
            .map(|(number, derived)| (Self::from_bytes(number.to_be_bytes()), derived))
            .filter(|(id, derived)| id.is_derived() == *derived)
            .map(|(id, _)| id)
            .ok_or_else(|| IdError {
                given: given.chars().take(80).collect(),
                prefix: K::PREFIX,
            })
    }
}

/// The number that the text after `prefix` writes, and whether the `h` of a derived id stands before it.
fn parse(given: &str, prefix: &str) -> Option<(u128, bool)> {
    let rest = given.strip_prefix(prefix)?;
    let derived = rest.len() == TEXT_LEN + 1;
    let digits = if derived {
        rest.strip_prefix('h')?
    } else {
        rest
    };
    if digits.len() != TEXT_LEN {
        return None;
    }
    let number = digits.bytes().try_fold(0u128, |sum, digit| {
        let value = ALPHABET.iter().position(|a| *a == digit)? as u128;
        // 26 digits write 130 bits: the first may not be above 7.
        if sum >> 123 != 0 {
            None
        } else {
            Some((sum << 5) | value)
        }
    })?;
    Some((number, derived))
}

impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        if self.is_derived() {
            f.write_str("h")?;
        }
        // It is ASCII, so there is no such error.
        f.write_str(str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: IdKind> Default for Id<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: IdKind> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: IdKind> Copy for Id<K> {}

impl<K: IdKind> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<K: IdKind> Eq for Id<K> {}

impl<K: IdKind> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: IdKind> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<K: IdKind> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K: IdKind> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: IdKind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $kind:ident($prefix:literal);)*) => {$(
        #[doc = concat!("The kind of ids that begin with `", $prefix, "`.")]
        #[derive(Debug)]
        pub enum $kind {}
        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $name = Id<$kind>;
    )*};
}

kinds! {
    /// An application: one customer of the platform's user.
    AppId = AppKind("app_");
    /// An endpoint.
    EndpointId = EndpointKind("ep_");
    /// An event. On the wire it is `webhook-id`.
    EventId = EventKind("msg_");
    /// A delivery. Always derived from (event, endpoint).
    DeliveryId = DeliveryKind("dlv_");
    /// An attempt. Always derived from (delivery, generation, number).
    AttemptId = AttemptKind("atmpt_");
    /// A dead letter. Always derived from (delivery, generation).
    DeadLetterId = DeadLetterKind("dl_");
    /// A replay.
    ReplayId = ReplayKind("rpl_");
    /// A token's public name; not the token.
    TokenId = TokenKind("tok_");
}

/// See [`RejectedId`](crate::RejectedId).
#[derive(Debug)]
pub enum RejectedKind {}

impl IdKind for RejectedKind {
    const PREFIX: &'static str = "rej_";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_made_later_sort_later_as_bytes_and_as_text() {
        let early = EventId::new_at(crate::Timestamp::from_millis(1_000));
        let late = EventId::new_at(crate::Timestamp::from_millis(2_000));
        assert_eq!(late.made_at(), Some(crate::Timestamp::from_millis(2_000)));
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn a_derived_id_is_the_same_each_time_and_says_that_it_carries_no_time() {
        let id = DeliveryId::derive(&[b"a", b"bc"]);
        assert_eq!(id, DeliveryId::derive(&[b"a", b"bc"]));
        assert_eq!(id.made_at(), None);
        assert_ne!(id, DeliveryId::derive(&[b"ab", b"c"]));
        assert!(id.to_string().starts_with("dlv_h") && id.is_derived());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn ids_of_two_kinds_derived_from_the_same_parts_differ() {
        assert_ne!(
            DeliveryId::derive(&[b"a"]).as_bytes(),
            AttemptId::derive(&[b"a"]).as_bytes()
        );
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_expected_form() {
        let made = EventId::new().to_string();
        let h_added = made.replace("msg_", "msg_h");
        for bad in [
            "",
            "msg_",
            "app_00000000000000000000000000",
            "msg_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "msg_é",
            &h_added,
        ] {
            let error = bad.parse::<EventId>().unwrap_err().to_string();
            assert!(error.contains("msg_…"), "{error}");
            assert!(error.contains("derived has an h"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_id_reads_back_from_its_text(bytes in any::<[u8; 16]>()) {
            let id = EndpointId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
