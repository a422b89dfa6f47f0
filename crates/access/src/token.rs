use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::Denied;

/// Makes a token that leaked into code or logs findable by secret scanners.
const PREFIX: &str = "pr_";
const RANDOM_BYTES: usize = 32;
/// `RANDOM_BYTES` in base64 without padding.
const RANDOM_TEXT_LEN: usize = 43;

/// A bearer token: `pr_` and 32 random bytes in base64url, 46 characters in all.
///
/// `Debug` shows nothing of it, there is no `Display`, and its memory is wiped on drop;
/// [`Token::expose`] is the one way out.
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new token from the thread's cryptographic generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        rand::rng().fill_bytes(random.as_mut());
        // Sized at once: growing would leave unwiped copies behind.
        let mut text = String::with_capacity(PREFIX.len() + RANDOM_TEXT_LEN);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(random.as_ref(), &mut text);
        Self(Zeroizing::new(text))
    }

    /// The text itself, to be shown once or written to a file that only its owner reads.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up in place of the token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl FromStr for Token {
    type Err = Denied;

    /// Takes what has the form of a token; whether it is one, only the registry knows.
    fn from_str(text: &str) -> Result<Self, Denied> {
        let is_base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        match text.strip_prefix(PREFIX) {
            Some(random) if random.len() == RANDOM_TEXT_LEN && random.bytes().all(is_base64url) => {
                Ok(Self(Zeroizing::new(text.to_owned())))
            }
            _ => Err(Denied::Malformed),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// SHA-256 of a token's text. It is no secret: 256 random bits cannot be guessed from their hash,
/// which is also why no salt and no slow hash is needed.
///
/// Looking one up in an ordinary map is safe although such a comparison takes longer the more of
/// the bytes agree: what is compared is the hash, and somebody who varies a token to learn from
/// the time taken cannot choose what its hash will be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes a hash as it was stored.
    #[must_use]
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The 32 bytes, as they are stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_generated_token_has_its_form_and_parses_back() {
        let token = Token::generate();
        assert_eq!(token.expose().len(), 46);
        assert!(token.expose().starts_with("pr_"));
        let again: Token = token.expose().parse().unwrap();
        assert_eq!(again.hash(), token.hash());
    }

    #[test]
    fn generated_tokens_differ() {
        let hashes: HashSet<_> = (0..1000).map(|_| Token::generate().hash()).collect();
        assert_eq!(hashes.len(), 1000);
    }

    #[test]
    fn debug_output_shows_nothing_of_a_token() {
        assert_eq!(format!("{:?}", Token::generate()), "Token(hidden)");
    }

    #[test]
    fn a_known_token_has_its_known_hash() {
        let token: Token = format!("pr_{}", "A".repeat(43)).parse().unwrap();
        // printf 'pr_AAA…' | sha256sum
        let known = "af0cd0127992b54fd5b3d6be5f485674324e86e5f8bab53d163c57c0c51ad306";
        assert_eq!(token.hash().to_string(), known);
        assert_eq!(
            TokenHash::from_bytes(*token.hash().as_bytes()),
            token.hash()
        );
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_refused() {
        let good = "A".repeat(43);
        for bad in [
            String::new(),
            "pr_".to_owned(),
            good.clone(),
            format!("PR_{good}"),
            format!("pr_{good}A"),
            format!("pr_{}", &good[1..]),
            format!("pr_{}+", &good[1..]),
            format!("pr_{}é", &good[2..]),
            format!(" pr_{good}"),
        ] {
            assert_eq!(
                bad.parse::<Token>().unwrap_err(),
                Denied::Malformed,
                "{bad:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn distinct_tokens_have_distinct_hashes(one in "pr_[a-zA-Z0-9_-]{43}", other in "pr_[a-zA-Z0-9_-]{43}") {
            let (a, b): (Token, Token) = (one.parse().unwrap(), other.parse().unwrap());
            prop_assert_eq!(a.hash() == b.hash(), one == other);
        }
    }
}
