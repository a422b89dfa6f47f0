//! The blocks that are not public, from the IANA special-purpose address registries (RFC 6890) and
//! the address space registries, with what is missing there added and said to be so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Refused;

/// A block and what it is for, as an error tells it.
struct Block<Net> {
    net: Net,
    purpose: &'static str,
}

/// Whether `ip`, which must not be IPv4-mapped, is public.
pub(crate) fn check(ip: IpAddr) -> Result<(), Refused> {
    match ip {
        IpAddr::V4(v4) => outside(V4, ip, |net| net.contains(&v4)),
        IpAddr::V6(v6) => {
            outside(V6, ip, |net| net.contains(&v6))?;
            if GLOBAL_UNICAST.contains(&v6) {
                Ok(())
            } else {
                Err(Refused::NotGlobal { ip: v6 })
            }
        }
    }
}

fn outside<Net: Copy + Into<IpNet>>(
    table: &[Block<Net>],
    ip: IpAddr,
    contains: impl Fn(&Net) -> bool,
) -> Result<(), Refused> {
    match table.iter().find(|block| contains(&block.net)) {
        None => Ok(()),
        Some(Block { net, purpose }) => Err(Refused::Special {
            ip,
            network: (*net).into(),
            purpose,
        }),
    }
}

/// The only IPv6 space given out as global unicast (RFC 4291, section 2.4, and the IANA registry
/// "Internet Protocol Version 6 Address Space").
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, purpose: &'static str) -> Block<Ipv4Net> {
    Block {
        net: Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix),
        purpose,
    }
}

/// `head` is the first four of the eight groups; most blocks need no more.
const fn v6(head: [u16; 4], prefix: u8, purpose: &'static str) -> Block<Ipv6Net> {
    let [a, b, c, d] = head;
    Block {
        net: Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix),
        purpose,
    }
}

#[rustfmt::skip]
const V4: &[Block<Ipv4Net>] = &[
    v4(0, 0, 0, 0, 8, "this network"),                       // RFC 791, section 3.2
    v4(10, 0, 0, 0, 8, "private use"),                       // RFC 1918
    v4(100, 64, 0, 0, 10, "carrier-grade NAT"),              // RFC 6598
    v4(127, 0, 0, 0, 8, "loopback"),                         // RFC 1122, section 3.2.1.3
    v4(168, 63, 129, 16, 32, "the platform address of Azure"), // in no registry: Azure's documentation, "What is IP address 168.63.129.16?"
    v4(169, 254, 0, 0, 16, "link-local"),                    // RFC 3927; clouds serve credentials at 169.254.169.254
    v4(172, 16, 0, 0, 12, "private use"),                    // RFC 1918
    v4(192, 0, 0, 0, 24, "IETF protocol assignments"),       // RFC 6890, section 2.1
    v4(192, 0, 2, 0, 24, "documentation"),                   // RFC 5737
    v4(192, 31, 196, 0, 24, "AS112"),                        // RFC 7535
    v4(192, 52, 193, 0, 24, "AMT relays"),                   // RFC 7450
    v4(192, 88, 99, 0, 24, "6to4 relays, deprecated"),       // RFC 7526
    v4(192, 168, 0, 0, 16, "private use"),                   // RFC 1918
    v4(192, 175, 48, 0, 24, "AS112"),                        // RFC 7534
    v4(198, 18, 0, 0, 15, "benchmarking"),                   // RFC 2544
    v4(198, 51, 100, 0, 24, "documentation"),                // RFC 5737
    v4(203, 0, 113, 0, 24, "documentation"),                 // RFC 5737
    v4(224, 0, 0, 0, 4, "multicast"),                        // RFC 5771
    v4(255, 255, 255, 255, 32, "broadcast"),                 // RFC 919; before 240.0.0.0/4, which holds it
    v4(240, 0, 0, 0, 4, "reserved"),                         // RFC 1112, section 4
];

/// The special blocks inside `2000::/3`, and those outside it that an operator will meet, so that
/// the error names them. What is outside is refused in any case.
#[rustfmt::skip]
const V6: &[Block<Ipv6Net>] = &[
    v6([0x2001, 0, 0, 0], 32, "Teredo"),                     // RFC 4380; before 2001::/23, which holds it
    v6([0x2001, 0, 0, 0], 23, "IETF protocol assignments"),  // RFC 2928
    v6([0x2001, 0xdb8, 0, 0], 32, "documentation"),          // RFC 3849
    v6([0x2002, 0, 0, 0], 16, "6to4"),                       // RFC 3056; reaches the IPv4 address inside it
    v6([0x2620, 0x4f, 0x8000, 0], 48, "AS112"),              // RFC 7534
    v6([0x3fff, 0, 0, 0], 20, "documentation"),              // RFC 9637
    // Outside 2000::/3.
    Block { net: Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), purpose: "unspecified" }, // RFC 4291, section 2.5.2
    Block { net: Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), purpose: "loopback" },      // RFC 4291, section 2.5.3
    v6([0x64, 0xff9b, 0, 0], 96, "IPv4/IPv6 translation"),   // RFC 6052; reaches the IPv4 address inside it
    v6([0x64, 0xff9b, 1, 0], 48, "IPv4/IPv6 translation"),   // RFC 8215
    v6([0x100, 0, 0, 0], 64, "discard"),                     // RFC 6666
    v6([0x5f00, 0, 0, 0], 16, "segment routing"),            // RFC 9602
    v6([0xfc00, 0, 0, 0], 7, "unique local"),                // RFC 4193
    v6([0xfe80, 0, 0, 0], 10, "link-local"),                 // RFC 4291, section 2.5.6
    v6([0xff00, 0, 0, 0], 8, "multicast"),                   // RFC 4291, section 2.7
];
