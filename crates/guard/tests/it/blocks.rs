//! The expected edges are written out by hand, so that they do not repeat the code's arithmetic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postrider_guard::{IpNet, Refused};
use proptest::prelude::*;

use crate::{check, guard};

/// Network; its first and last address; the addresses before and after it, with whether they are
/// public, `None` where there is none.
type Row = (
    &'static str,
    [&'static str; 2],
    [Option<(&'static str, bool)>; 2],
);

/// In place of a network: in no block with a name, and outside 2000::/3.
const OUTSIDE: &str = "outside";

const fn public(ip: &'static str) -> Option<(&'static str, bool)> {
    Some((ip, true))
}

const fn special(ip: &'static str) -> Option<(&'static str, bool)> {
    Some((ip, false))
}

#[rustfmt::skip]
const V4: &[Row] = &[
    ("0.0.0.0/8", ["0.0.0.0", "0.255.255.255"], [None, public("1.0.0.0")]),
    ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], [public("9.255.255.255"), public("11.0.0.0")]),
    ("100.64.0.0/10", ["100.64.0.0", "100.127.255.255"], [public("100.63.255.255"), public("100.128.0.0")]),
    ("127.0.0.0/8", ["127.0.0.0", "127.255.255.255"], [public("126.255.255.255"), public("128.0.0.0")]),
    ("168.63.129.16/32", ["168.63.129.16", "168.63.129.16"], [public("168.63.129.15"), public("168.63.129.17")]),
    ("169.254.0.0/16", ["169.254.0.0", "169.254.255.255"], [public("169.253.255.255"), public("169.255.0.0")]),
    ("172.16.0.0/12", ["172.16.0.0", "172.31.255.255"], [public("172.15.255.255"), public("172.32.0.0")]),
    ("192.0.0.0/24", ["192.0.0.0", "192.0.0.255"], [public("191.255.255.255"), public("192.0.1.0")]),
    ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], [public("192.0.1.255"), public("192.0.3.0")]),
    ("192.31.196.0/24", ["192.31.196.0", "192.31.196.255"], [public("192.31.195.255"), public("192.31.197.0")]),
    ("192.52.193.0/24", ["192.52.193.0", "192.52.193.255"], [public("192.52.192.255"), public("192.52.194.0")]),
    ("192.88.99.0/24", ["192.88.99.0", "192.88.99.255"], [public("192.88.98.255"), public("192.88.100.0")]),
    ("192.168.0.0/16", ["192.168.0.0", "192.168.255.255"], [public("192.167.255.255"), public("192.169.0.0")]),
    ("192.175.48.0/24", ["192.175.48.0", "192.175.48.255"], [public("192.175.47.255"), public("192.175.49.0")]),
    ("198.18.0.0/15", ["198.18.0.0", "198.19.255.255"], [public("198.17.255.255"), public("198.20.0.0")]),
    ("198.51.100.0/24", ["198.51.100.0", "198.51.100.255"], [public("198.51.99.255"), public("198.51.101.0")]),
    ("203.0.113.0/24", ["203.0.113.0", "203.0.113.255"], [public("203.0.112.255"), public("203.0.114.0")]),
    ("224.0.0.0/4", ["224.0.0.0", "239.255.255.255"], [public("223.255.255.255"), special("240.0.0.0")]),
    ("240.0.0.0/4", ["240.0.0.0", "255.255.255.254"], [special("239.255.255.255"), special("255.255.255.255")]),
    ("255.255.255.255/32", ["255.255.255.255", "255.255.255.255"], [special("255.255.255.254"), None]),
];

#[rustfmt::skip]
const V6: &[Row] = &[
    ("2001::/32", ["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
        [public("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), special("2001:1::")]),
    ("2001::/23", ["2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [special("2001:0:ffff:ffff:ffff:ffff:ffff:ffff"), public("2001:200::")]),
    ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
        [public("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"), public("2001:db9::")]),
    ("2002::/16", ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [public("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), public("2003::")]),
    ("2620:4f:8000::/48", ["2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"],
        [public("2620:4f:7fff:ffff:ffff:ffff:ffff:ffff"), public("2620:4f:8001::")]),
    ("3fff::/20", ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [public("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), public("3fff:1000::")]),
    // Outside 2000::/3; the two that border on it show its edges.
    ("::/128", ["::", "::"], [None, special("::1")]),
    ("::1/128", ["::1", "::1"], [special("::"), special("::2")]),
    ("64:ff9b::/96", ["64:ff9b::", "64:ff9b::ffff:ffff"],
        [special("64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff"), special("64:ff9b::1:0:0")]),
    ("64:ff9b:1::/48", ["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"],
        [special("64:ff9b:0:ffff:ffff:ffff:ffff:ffff"), special("64:ff9b:2::")]),
    ("100::/64", ["100::", "100::ffff:ffff:ffff:ffff"],
        [special("ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), special("100:0:0:1::")]),
    (OUTSIDE, ["100:0:0:1::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], [special("100::"), public("2000::")]),
    (OUTSIDE, ["4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [public("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), special("5f00::")]),
    ("5f00::/16", ["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [special("5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), special("5f01::")]),
    ("fc00::/7", ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [special("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), special("fe00::")]),
    ("fe80::/10", ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [special("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), special("fec0::")]),
    ("ff00::/8", ["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        [special("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), None]),
];

#[test]
fn every_block_is_refused_from_its_first_to_its_last_address_and_no_further() {
    let guard = guard(&[]);
    for (network, inside, beside) in V4.iter().chain(V6) {
        for ip in inside {
            match check(&guard, ip) {
                Err(Refused::Special { network: found, .. }) => {
                    assert_eq!(found.to_string(), *network, "{ip}");
                }
                Err(Refused::NotGlobal { .. }) => assert_eq!(OUTSIDE, *network, "{ip}"),
                other => panic!("{ip} of {network}: {other:?}"),
            }
        }
        for (ip, public) in beside.iter().flatten() {
            assert_eq!(check(&guard, ip).is_ok(), *public, "{ip} beside {network}");
        }
    }
}

#[test]
fn ordinary_public_addresses_pass() {
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "100.0.0.1",
        "185.199.108.153",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        assert_eq!(check(&guard(&[]), ip), Ok(()), "{ip}");
    }
}

#[test]
fn an_ipv4_mapped_address_is_judged_as_the_ipv4_address_it_reaches() {
    for (_, inside, beside) in V4 {
        for ip in inside {
            assert!(check(&guard(&[]), &format!("::ffff:{ip}")).is_err(), "{ip}");
        }
        for (ip, public) in beside.iter().flatten() {
            assert_eq!(
                check(&guard(&[]), &format!("::ffff:{ip}")).is_ok(),
                *public,
                "{ip}"
            );
        }
    }
    assert_eq!(check(&guard(&["127.0.0.0/8"]), "::ffff:127.0.0.1"), Ok(()));
    assert_eq!(
        check(&guard(&["::ffff:127.0.0.0/104"]), "127.0.0.1"),
        Ok(())
    );
    assert!(check(&guard(&["::ffff:127.0.0.0/104"]), "128.0.0.1").is_ok());
    assert!(check(&guard(&["::ffff:127.0.0.0/104"]), "10.0.0.1").is_err());
}

#[test]
fn allowing_all_of_one_family_allows_nothing_of_the_other() {
    let (v4, v6) = (guard(&["0.0.0.0/0"]), guard(&["::/0"]));
    assert_eq!(check(&v4, "127.0.0.1"), Ok(()));
    assert!(check(&v4, "::1").is_err());
    assert_eq!(check(&v6, "::1"), Ok(()));
    assert!(check(&v6, "127.0.0.1").is_err());
    assert!(check(&v6, "::ffff:127.0.0.1").is_err());
}

#[test]
fn a_refusal_names_the_block_and_tells_operators_alone_how_to_allow_it() {
    let refused = |ip| check(&guard(&[]), ip).unwrap_err();
    let text = |ip| refused(ip).to_string();
    assert_eq!(refused("10.0.0.1").setting(), Some("egress.allow"));
    assert_eq!(
        text("::ffff:127.0.0.1"),
        "127.0.0.1 is in 127.0.0.0/8 (loopback), which is not public; an endpoint must have a public \
         address"
    );
    assert_eq!(
        text("4000::1"),
        "4000::1 is outside 2000::/3, the global unicast space, and so is not public; an endpoint must \
         have a public address"
    );
}

/// The address next to `ip` on either side, if there is one.
fn beside(ip: IpAddr, up: bool) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let bits = ip.to_bits();
            let next = if up {
                bits.checked_add(1)
            } else {
                bits.checked_sub(1)
            };
            next.map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            let next = if up {
                bits.checked_add(1)
            } else {
                bits.checked_sub(1)
            };
            next.map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

/// Networks inside refused space whose neighbours are refused as well.
fn private_network() -> impl Strategy<Value = IpNet> {
    let within = |outer: &'static str, prefixes: std::ops::RangeInclusive<u8>| {
        (any::<u128>(), prefixes).prop_map(move |(random, prefix)| {
            let outer: IpNet = outer.parse().unwrap();
            let host = match outer {
                IpNet::V4(net) => {
                    let random = u32::try_from(random >> 96).unwrap() & net.hostmask().to_bits();
                    IpAddr::V4(Ipv4Addr::from_bits(net.network().to_bits() | random))
                }
                IpNet::V6(net) => {
                    let random = random & net.hostmask().to_bits();
                    IpAddr::V6(Ipv6Addr::from_bits(net.network().to_bits() | random))
                }
            };
            IpNet::new(host, prefix).unwrap().trunc()
        })
    };
    prop_oneof![
        within("10.0.0.0/8", 9..=32),
        within("240.0.0.0/4", 5..=32),
        within("fc00::/7", 8..=128)
    ]
}

proptest! {
    #[test]
    fn an_allowed_network_passes_whole_and_its_neighbours_do_not(net in private_network()) {
        let (closed, open) = (guard(&[]), guard(&[&net.to_string()]));
        for ip in [net.network(), net.broadcast()] {
            prop_assert!(closed.check_ip(ip).is_err());
            prop_assert_eq!(open.check_ip(ip), Ok(()));
        }
        for ip in [beside(net.network(), false), beside(net.broadcast(), true)].into_iter().flatten() {
            prop_assert_eq!(open.check_ip(ip), closed.check_ip(ip), "{} beside {}", ip, net);
        }
    }

    #[test]
    fn no_ipv6_address_outside_global_unicast_passes(bits in any::<u128>()) {
        let ip = Ipv6Addr::from_bits(bits);
        let passes = guard(&[]).check_ip(ip.into()).is_ok();
        prop_assert!(!passes || bits >> 125 == 1 || ip.to_ipv4_mapped().is_some());
    }
}
