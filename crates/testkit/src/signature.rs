//! Standard Webhooks 1.0 signatures, written apart from Postrider's own so that one checks the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a receiver found when it looked at a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It knows no secret for that path.
    Not,
    /// It verified.
    Good,
    /// It did not.
    Bad,
}

/// The `v1` signature of a request, in base64 and without its prefix; `None` if `secret` is no `whsec_…`.
#[must_use]
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

/// True if one of the space-separated signatures in `header` is that of the request.
#[must_use]
pub fn verify(secret: &str, id: &str, timestamp: &str, body: &[u8], header: &str) -> bool {
    sign(secret, id, timestamp, body).is_some_and(|due| {
        header
            .split(' ')
            .any(|one| one.strip_prefix("v1,") == Some(due.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::{sign, verify};

    /// The vector of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_known_vector_verifies_and_a_changed_body_does_not() {
        assert_eq!(
            sign(SECRET, ID, TIMESTAMP, BODY).as_deref(),
            Some(SIGNATURE)
        );
        let header = format!("v1,AAAA v1,{SIGNATURE}");
        assert!(verify(SECRET, ID, TIMESTAMP, BODY, &header));
        assert!(!verify(SECRET, ID, TIMESTAMP, b"{}", &header));
    }
}
