use postrider_signing::{Error, Secret, Signer};

use crate::{NOW_S, received, secret, verifier};

/// The vector that the official libraries carry in their tests; recomputed with Python's `hmac`.
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn known() -> Secret {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
}

#[test]
fn the_known_vector_is_signed_as_the_specification_has_it() {
    assert_eq!(Signer::new(&known(), []).sign(ID, NOW_S, BODY), SIGNATURE);
}

#[test]
fn the_known_vector_verifies() {
    let request = received(ID, "1614265330", SIGNATURE);
    assert_eq!(verifier(&known()).verify(request, BODY, NOW_S), Ok(()));
}

#[test]
fn a_timestamp_is_taken_up_to_the_tolerance_on_both_sides() {
    let verifier = verifier(&known());
    let request = received(ID, "1614265330", SIGNATURE);
    for apart_s in [-300, 300] {
        assert_eq!(verifier.verify(request, BODY, NOW_S + apart_s), Ok(()));
    }
    for apart_s in [-301, 301] {
        let refused = verifier.verify(request, BODY, NOW_S + apart_s);
        assert_eq!(
            refused,
            Err(Error::TimestampTooFar {
                apart_s: 301,
                tolerance_s: 300
            })
        );
    }
}

#[test]
fn a_timestamp_that_is_no_number_is_refused_and_never_panics() {
    let verifier = verifier(&known());
    for timestamp in ["", "now", "1614265330.5", "99999999999999999999"] {
        let refused = verifier.verify(received(ID, timestamp, SIGNATURE), BODY, NOW_S);
        assert_eq!(refused, Err(Error::TimestampMalformed), "{timestamp:?}");
    }
    for extreme in [i64::MIN, i64::MAX] {
        let timestamp = extreme.to_string();
        let signature = Signer::new(&known(), []).sign(ID, extreme, BODY);
        assert!(
            verifier
                .verify(received(ID, &timestamp, &signature), BODY, NOW_S)
                .is_err()
        );
    }
}

#[test]
fn signatures_of_other_versions_and_secrets_are_passed_over() {
    let header = format!(
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== \
         {} v2,{SIGNATURE} {SIGNATURE}",
        Signer::new(&secret(9), []).sign(ID, NOW_S, BODY),
    );
    let request = received(ID, "1614265330", &header);
    assert_eq!(verifier(&known()).verify(request, BODY, NOW_S), Ok(()));
}

#[test]
fn a_header_without_a_v1_signature_is_told_from_a_wrong_one() {
    let verifier = verifier(&known());
    for header in [
        "",
        "v1",
        "v1,",
        "v1,AAAA",
        "v2,AAAA",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ] {
        let refused = verifier.verify(received(ID, "1614265330", header), BODY, NOW_S);
        assert_eq!(refused, Err(Error::SignatureMissing), "{header:?}");
    }
    let other = Signer::new(&secret(9), []).sign(ID, NOW_S, BODY);
    let refused = verifier.verify(received(ID, "1614265330", &other), BODY, NOW_S);
    assert_eq!(refused, Err(Error::SignatureMismatch));
}
