use std::{fmt, str::FromStr};

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use rand::RngCore;
use zeroize::Zeroizing;

use crate::Error;

const PREFIX: &str = "whsec_";

/// Standard Webhooks 1.0, "Signature scheme": between 24 and 64 bytes.
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// A symmetric signing secret: 24 to 64 bytes, written `whsec_` and base64.
///
/// It parses with or without the prefix, as the API's dialect has it. `Debug` shows nothing of it,
/// there is no `Display`, and its memory is wiped on drop; [`Secret::to_whsec`] is the one way out.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A new secret of 24 random bytes from the thread's cryptographic generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Zeroizing::new(vec![0; MIN_BYTES]);
        rand::rng().fill_bytes(&mut key);
        Self(key)
    }

    /// Takes key bytes as they are, for example from the sealed column of a store.
    ///
    /// # Errors
    /// [`Error::SecretLength`] unless they are 24 to 64.
    pub fn from_bytes(key: Vec<u8>) -> Result<Self, Error> {
        let key = Zeroizing::new(key);
        if (MIN_BYTES..=MAX_BYTES).contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(Error::SecretLength { bytes: key.len() })
        }
    }

    /// The text that a receiver is given: `whsec_` and padded standard base64.
    #[must_use]
    pub fn to_whsec(&self) -> Zeroizing<String> {
        // Sized at once: growing would leave unwiped copies behind.
        let mut text = String::with_capacity(PREFIX.len() + MAX_BYTES.div_ceil(3) * 4);
        text.push_str(PREFIX);
        STANDARD.encode_string(self.as_bytes(), &mut text);
        Zeroizing::new(text)
    }

    /// The key itself, 24 to 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        if let Some(position) = encoded.chars().position(|c| !is_base64(c)) {
            let before = text.chars().count() - encoded.chars().count();
            return Err(Error::SecretCharacter {
                position: before + position + 1,
            });
        }
        let key = STANDARD.decode(encoded).map_err(|e| match e {
            // Every character is of the alphabet, so what is wrong is the end.
            DecodeError::InvalidByte(..)
            | DecodeError::InvalidLength(_)
            | DecodeError::InvalidLastSymbol { .. }
            | DecodeError::InvalidPadding => Error::SecretPadding,
        })?;
        Self::from_bytes(key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn refusal(text: &str) -> Error {
        text.parse::<Secret>().unwrap_err()
    }

    #[test]
    fn a_secret_parses_with_and_without_its_prefix() {
        let with: Secret = TEXT.parse().unwrap();
        let without: Secret = TEXT.trim_start_matches("whsec_").parse().unwrap();
        assert_eq!(with.as_bytes(), without.as_bytes());
        assert_eq!(*without.to_whsec(), TEXT);
    }

    #[test]
    fn generated_secrets_have_24_bytes_and_differ() {
        let (one, other) = (Secret::generate(), Secret::generate());
        assert_eq!(one.as_bytes().len(), 24);
        assert_ne!(one.as_bytes(), other.as_bytes());
        assert_eq!(one.to_whsec().len(), "whsec_".len() + 32);
    }

    #[test]
    fn debug_output_shows_nothing_of_a_secret() {
        assert_eq!(
            format!("{:?}", TEXT.parse::<Secret>().unwrap()),
            "Secret(hidden)"
        );
    }

    #[test]
    fn a_bad_character_is_named_by_its_position_and_not_shown() {
        let error = refusal("whsec_MfKQ9r8GKYqr_wjUPD8ILPZIo2LaLaSw");
        assert_eq!(error, Error::SecretCharacter { position: 19 });
        assert!(error.to_string().contains("position 19"));
        assert!(!error.to_string().contains("MfKQ"));
        assert_eq!(refusal("whsk_AAAA"), Error::SecretCharacter { position: 5 });
        assert_eq!(refusal("é"), Error::SecretCharacter { position: 1 });
    }

    #[test]
    fn missing_or_misplaced_padding_is_said_to_be_that() {
        let unpadded = STANDARD.encode([7; 25]).trim_end_matches('=').to_owned();
        assert_eq!(refusal(&unpadded), Error::SecretPadding);
        assert_eq!(
            refusal("AAAA=AAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            Error::SecretPadding
        );
    }

    #[test]
    fn a_secret_outside_24_to_64_bytes_is_refused_with_its_length() {
        for bytes in [0, 1, 23, 65, 75, 1000] {
            assert_eq!(
                refusal(&STANDARD.encode(vec![7; bytes])),
                Error::SecretLength { bytes }
            );
        }
        for bytes in [24, 64] {
            assert!(STANDARD.encode(vec![7; bytes]).parse::<Secret>().is_ok());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back_to_the_same_key(key in proptest::collection::vec(any::<u8>(), 24..=64)) {
            let secret = Secret::from_bytes(key.clone()).unwrap();
            let again: Secret = secret.to_whsec().parse().unwrap();
            prop_assert_eq!(again.as_bytes(), &key[..]);
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".*") {
            let _ = text.parse::<Secret>();
        }
    }
}
