//! What every codec here shares.

use std::fmt::Display;

use bytes::Bytes;
use prost::encoding::{DecodeContext, decode_key, decode_varint, skip_field};

use crate::{Id, IdKind};

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no protobuf of the expected kind.
    #[error("the record is not a {what}: {why}")]
    NotProtobuf {
        /// The kind that was expected.
        what: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// A field or header is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field or header has a value that it cannot have.
    #[error("{field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}

impl Malformed {
    /// That `field` has a value that it cannot have.
    pub(crate) fn field(field: &'static str, why: impl Display) -> Self {
        Self::Field {
            field,
            why: why.to_string(),
        }
    }
}

/// Decodes a protobuf value.
pub(crate) fn decode<M: prost::Message + Default>(
    what: &'static str,
    value: &Bytes,
) -> Result<M, Malformed> {
    M::decode(value.clone()).map_err(|error| Malformed::NotProtobuf {
        what,
        why: error.to_string(),
    })
}

/// Whether `known` is all that `value` holds. What this version wrote has nothing else in it, and is not looked through.
pub(crate) fn is_all(known: &impl prost::Message, value: &Bytes) -> bool {
    known.encoded_len() == value.len()
}

/// The fields of a protobuf value whose numbers are above `newest`, as they stand there.
pub(crate) fn fields_above(newest: u32, value: &[u8]) -> Box<[u8]> {
    let above = fields(value).filter(|(number, _, _)| *number > newest);
    let whole = above.map(|(_, whole, _)| whole);
    whole.collect::<Vec<_>>().concat().into()
}

/// The encoding of the message in field `number`. Several of them are one behind the other, which is what protobuf makes
/// of them, too.
pub(crate) fn message_in(number: u32, value: &[u8]) -> Vec<u8> {
    let found = fields(value).filter(|(of, _, _)| *of == number);
    let contents = found.map(|(_, _, mut content)| {
        // Its length, which was read before.
        let _ = decode_varint(&mut content);
        content
    });
    contents.collect::<Vec<_>>().concat()
}

/// The fields of a protobuf value: the number of each, all of it, and what stands behind its key. Ends where it is malformed.
fn fields(value: &[u8]) -> impl Iterator<Item = (u32, &[u8], &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = rest;
        let (number, wire) = decode_key(&mut rest).ok()?;
        let behind = rest;
        skip_field(wire, number, &mut rest, DecodeContext::default()).ok()?;
        let whole = &field[..field.len() - rest.len()];
        Some((number, whole, &behind[..behind.len() - rest.len()]))
    })
}

/// The id in a bytes field.
pub(crate) fn id<K: IdKind>(field: &'static str, bytes: &[u8]) -> Result<Id<K>, Malformed> {
    Id::from_slice(bytes)
        .ok_or_else(|| Malformed::field(field, format!("{} bytes, expected 16", bytes.len())))
}

/// An id as a bytes field.
pub(crate) fn id_bytes<K: IdKind>(id: Id<K>) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// The text in a header.
pub(crate) fn text<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::field(field, "not UTF-8"))
}
