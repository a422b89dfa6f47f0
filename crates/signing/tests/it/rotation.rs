use postrider_signing::{Error, Signer, Verifier};
use proptest::prelude::*;

use crate::{NOW_S, received, secret, verifier};

#[test]
fn the_new_secret_signs_first_and_each_retiring_one_after_it_in_order() {
    let alone = |fill| Signer::new(&secret(fill), []).sign("msg_1", NOW_S, b"{}");
    let retiring = [(&secret(2), i64::MAX), (&secret(1), i64::MAX)];
    let signed = Signer::new(&secret(3), retiring).sign("msg_1", NOW_S, b"{}");
    assert_eq!(signed, format!("{} {} {}", alone(3), alone(2), alone(1)));
}

#[test]
fn a_retiring_secret_signs_until_the_moment_of_its_expiry_and_not_after() {
    let (new, old) = (secret(2), secret(1));
    let signer = Signer::new(&new, [(&old, NOW_S * 1000)]);
    let old_accepts_at = |timestamp_s: i64| {
        let signature = signer.sign("msg_1", timestamp_s, b"{}");
        let timestamp = timestamp_s.to_string();
        verifier(&old).verify(
            received("msg_1", &timestamp, &signature),
            b"{}",
            timestamp_s,
        )
    };
    assert_eq!(old_accepts_at(NOW_S - 1), Ok(()));
    assert_eq!(old_accepts_at(NOW_S), Err(Error::SignatureMismatch));
    assert_eq!(old_accepts_at(NOW_S + 1), Err(Error::SignatureMismatch));
}

#[test]
fn a_receiver_that_holds_both_secrets_takes_either() {
    let (new, old) = (secret(2), secret(1));
    let both = Verifier::new([&new, &old], 300);
    for signer in [Signer::new(&new, []), Signer::new(&old, [])] {
        let signature = signer.sign("msg_1", NOW_S, b"{}");
        assert_eq!(
            both.verify(received("msg_1", "1614265330", &signature), b"{}", NOW_S),
            Ok(())
        );
    }
}

proptest! {
    #[test]
    fn exactly_the_secrets_in_force_sign(expiries in proptest::collection::vec(-2000_i64..2000, 0..4)) {
        let old: Vec<_> = (1..).map(secret).take(expiries.len()).collect();
        let now_ms = NOW_S * 1000;
        let retiring = old.iter().zip(expiries.iter().map(|apart_ms| now_ms + apart_ms));
        let signature = Signer::new(&secret(200), retiring).sign("msg_1", NOW_S, b"{}");
        let in_force = expiries.iter().filter(|apart_ms| **apart_ms > 0).count();
        prop_assert_eq!(signature.split(' ').count(), 1 + in_force);
        for (old, apart_ms) in old.iter().zip(&expiries) {
            let request = received("msg_1", "1614265330", &signature);
            prop_assert_eq!(verifier(old).verify(request, b"{}", NOW_S).is_ok(), *apart_ms > 0);
        }
    }
}
