//! What every codec here shares.

use std::fmt::Display;

use bytes::Bytes;
use prost::encoding::{DecodeContext, decode_key, skip_field};

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

/// The fields of a protobuf value whose numbers are above `newest`, as they stand there.
pub(crate) fn fields_above(newest: u32, value: &Bytes) -> Box<[u8]> {
    let mut rest: &[u8] = value;
    let mut kept = Vec::new();
    while !rest.is_empty() {
        let field = rest;
        let Ok((number, wire)) = decode_key(&mut rest) else {
            break;
        };
        if skip_field(wire, number, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        if number > newest {
            kept.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    kept.into()
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
