use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_signing::{Error, Secret, Signer};
use proptest::{collection::vec, prelude::*};

use crate::{received, verifier};

fn key() -> impl Strategy<Value = Secret> {
    vec(any::<u8>(), 24..=64).prop_map(|key| Secret::from_bytes(key).unwrap())
}

/// Changes one byte of `bytes`, wherever `at` falls.
fn flip(bytes: &mut [u8], at: prop::sample::Index, by: u8) {
    let at = at.index(bytes.len());
    bytes[at] ^= by;
}

proptest! {
    #[test]
    fn any_id_timestamp_and_body_verify(
        secret in key(), id in "[a-zA-Z0-9_-]{1,40}", now_s in any::<i64>(), body in vec(any::<u8>(), 0..300)
    ) {
        let signature = Signer::new(&secret, []).sign(&id, now_s, &body);
        let timestamp = now_s.to_string();
        let request = received(&id, &timestamp, &signature);
        prop_assert_eq!(verifier(&secret).verify(request, &body, now_s), Ok(()));
    }

    #[test]
    fn any_changed_byte_of_the_body_fails(
        secret in key(), mut body in vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>(), by in 1_u8..
    ) {
        let signature = Signer::new(&secret, []).sign("msg_1", 5, &body);
        flip(&mut body, at, by);
        let refused = verifier(&secret).verify(received("msg_1", "5", &signature), &body, 5);
        prop_assert_eq!(refused, Err(Error::SignatureMismatch));
    }

    #[test]
    fn any_changed_byte_of_the_tag_fails(
        secret in key(), at in any::<prop::sample::Index>(), by in 1_u8..
    ) {
        let signature = Signer::new(&secret, []).sign("msg_1", 5, b"{}");
        let mut tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
        flip(&mut tag, at, by);
        let forged = format!("v1,{}", STANDARD.encode(tag));
        let refused = verifier(&secret).verify(received("msg_1", "5", &forged), b"{}", 5);
        prop_assert_eq!(refused, Err(Error::SignatureMismatch));
    }

    #[test]
    fn another_id_timestamp_or_secret_fails(secret in key(), other in key(), later_s in 1_i64..300) {
        prop_assume!(secret.as_bytes() != other.as_bytes());
        let signature = Signer::new(&secret, []).sign("msg_1", 5, b"{}");
        let later = (5 + later_s).to_string();
        for (key, request) in [
            (&secret, received("msg_2", "5", &signature)),
            (&secret, received("msg_1", &later, &signature)),
            (&other, received("msg_1", "5", &signature)),
        ] {
            prop_assert_eq!(verifier(key).verify(request, b"{}", 5), Err(Error::SignatureMismatch));
        }
    }

    #[test]
    fn no_header_makes_verifying_panic(id in ".*", timestamp in ".*", signature in ".*") {
        let secret = Secret::from_bytes(vec![1; 24]).unwrap();
        let _ = verifier(&secret).verify(received(&id, &timestamp, &signature), b"{}", 5);
    }
}
