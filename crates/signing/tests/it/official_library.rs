//! The official library reads the machine's clock, so these tests sign at the present time.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use postrider_signing::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, Signer};
use standardwebhooks::Webhook;

use crate::{received, verifier};

const ID: &str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
const BODY: &[u8] = r#"{"type":"invoice.paid","note":"naïve – ok"}"#.as_bytes();

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn headers(timestamp_s: i64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_ID, ID.parse().unwrap());
    headers.insert(HEADER_TIMESTAMP, timestamp_s.to_string().parse().unwrap());
    headers.insert(HEADER_SIGNATURE, signature.parse().unwrap());
    headers
}

#[test]
fn the_official_library_verifies_what_is_signed_here() {
    let (secret, now_s) = (Secret::generate(), now_s());
    let signature = Signer::new(&secret, []).sign(ID, now_s, BODY);
    let official = Webhook::new(&secret.to_whsec()).unwrap();
    official.verify(BODY, &headers(now_s, &signature)).unwrap();
    assert!(official.verify(b"{}", &headers(now_s, &signature)).is_err());
}

#[test]
fn during_a_rotation_the_official_library_verifies_with_either_secret() {
    let (new, old, now_s) = (Secret::generate(), Secret::generate(), now_s());
    let signature = Signer::new(&new, [(&old, (now_s + 60) * 1000)]).sign(ID, now_s, BODY);
    for secret in [&new, &old] {
        let official = Webhook::new(&secret.to_whsec()).unwrap();
        official.verify(BODY, &headers(now_s, &signature)).unwrap();
    }
}

#[test]
fn what_the_official_library_signs_verifies_here() {
    let (secret, now_s) = (Secret::generate(), now_s());
    let signature = Webhook::new(&secret.to_whsec())
        .unwrap()
        .sign(ID, now_s, BODY)
        .unwrap();
    let timestamp = now_s.to_string();
    let request = received(ID, &timestamp, &signature);
    assert_eq!(verifier(&secret).verify(request, BODY, now_s), Ok(()));
}
