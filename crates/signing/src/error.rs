/// Why a secret or a received request was refused. No variant carries secret text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    // The secret is refused: whoever chose it must choose another.
    /// A character that base64 does not have.
    #[error(
        "the secret has a character that is not base64 at position {position}; write whsec_ and \
         then standard base64 (A–Z, a–z, 0–9, +, /), padded with ="
    )]
    SecretCharacter {
        /// Position in the text that was given, counted in characters from 1.
        position: usize,
    },
    /// The characters are right, but they do not end as base64 does.
    #[error(
        "the secret is not whole base64; its part after whsec_ must be padded with = to a \
         multiple of four characters"
    )]
    SecretPadding,
    /// Too little to be safe, or more than the specification allows.
    #[error(
        "the secret has {bytes} bytes; it must have 24 to 64, that is 32 to 88 characters of base64"
    )]
    SecretLength {
        /// Decoded length.
        bytes: usize,
    },

    // The request is refused: it is not answered with success.
    /// The timestamp header is not a number of seconds.
    #[error(
        "the {} header must be whole seconds since 1970-01-01",
        crate::HEADER_TIMESTAMP
    )]
    TimestampMalformed,
    /// The request is older or newer than the tolerance: perhaps a replayed capture.
    #[error(
        "the request was signed {apart_s} s away from the clock here; at most {tolerance_s} s are allowed"
    )]
    TimestampTooFar {
        /// Distance between the request's timestamp and now.
        apart_s: u64,
        /// What was allowed.
        tolerance_s: u32,
    },
    /// No `v1` signature at all.
    #[error(
        "the {} header has no v1 signature; it must have entries like v1,BASE64",
        crate::HEADER_SIGNATURE
    )]
    SignatureMissing,
    /// Signatures are there, and none was made with any of the secrets.
    #[error("no v1 signature matches: the secret, the id, the timestamp or the body is another")]
    SignatureMismatch,
}
