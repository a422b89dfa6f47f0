use postrider_guard::{Guard, Refused};
use proptest::prelude::*;

use crate::guard;

fn check(guard: &Guard, url: &str) -> Result<(), Refused> {
    guard.check_url(&url.parse().unwrap())
}

#[test]
fn https_to_a_name_or_a_public_address_passes() {
    let guard = Guard::new(vec![], true);
    for url in [
        "https://hooks.example.com/in",
        "https://hooks.example.com:8443/in?a=b#c",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://notlocalhost/",
        "https://localhost.example.com/",
    ] {
        assert_eq!(check(&guard, url), Ok(()), "{url}");
    }
}

#[test]
fn http_passes_only_where_https_is_not_required() {
    let url = "http://hooks.example.com/in";
    assert_eq!(
        check(&Guard::new(vec![], true), url),
        Err(Refused::NotHttps)
    );
    assert_eq!(check(&Guard::new(vec![], false), url), Ok(()));
}

#[test]
fn other_schemes_are_refused_by_name() {
    for scheme in ["ftp", "file", "ws", "unix", "gopher"] {
        let refused = check(&guard(&[]), &format!("{scheme}://host/x"));
        assert_eq!(
            refused,
            Err(Refused::Scheme {
                scheme: scheme.to_owned()
            })
        );
    }
}

#[test]
fn credentials_in_the_url_are_refused_and_not_shown() {
    for url in [
        "https://user@host/",
        "https://user:hunter2@host/",
        "https://:hunter2@host/",
    ] {
        let refused = check(&guard(&[]), url).unwrap_err();
        assert_eq!(refused, Refused::Credentials, "{url}");
        assert!(!refused.to_string().contains("hunter2"));
    }
}

#[test]
fn every_spelling_of_an_inner_address_is_refused() {
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127%2e0.0.1",
        "１２７.0.0.1",
        "0",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
    ] {
        let refused = check(&guard(&[]), &format!("http://{host}/"));
        assert!(
            matches!(refused, Err(Refused::Special { .. })),
            "{host}: {refused:?}"
        );
    }
}

#[test]
fn names_of_this_machine_pass_only_if_a_loopback_address_does() {
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "a.b.localhost.",
    ] {
        let url = format!("http://{host}:8080/in");
        assert!(
            matches!(check(&guard(&[]), &url), Err(Refused::LocalName { .. })),
            "{host}"
        );
        assert!(check(&guard(&["10.0.0.0/8"]), &url).is_err(), "{host}");
        assert_eq!(check(&guard(&["127.0.0.0/8"]), &url), Ok(()), "{host}");
        assert_eq!(check(&guard(&["::1/128"]), &url), Ok(()), "{host}");
    }
}

proptest! {
    #[test]
    fn an_ipv4_address_passes_in_a_url_exactly_if_it_passes_by_itself(bits in any::<u32>()) {
        let (guard, ip) = (guard(&[]), std::net::Ipv4Addr::from_bits(bits));
        for host in [ip.to_string(), bits.to_string(), format!("[::ffff:{ip}]")] {
            let by_url = check(&guard, &format!("https://{host}/"));
            prop_assert_eq!(by_url, guard.check_ip(ip.into()));
        }
    }
}
