//! Which addresses endpoints may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Finding;
use crate::config::Config;

const PART: &str = "egress";
/// Where clouds answer any process on the machine with its credentials.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];
/// A network this wide is no exception any more.
const WIDE_V4: u8 = 7;
const WIDE_V6: u8 = 16;

/// What is found of `egress.allow` and `egress.require_https`.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let egress = &config.egress;
    let mut findings = allowed(&egress.allow);
    if !egress.require_https {
        findings.push(Finding::warning(
            PART,
            "egress.require_https is false: events go over the network in the clear to endpoints that ask for it",
            "leave it out, unless this is for development",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            PART,
            "only public addresses are called, by https",
        ));
    }
    findings
}

fn allowed(nets: &[IpNet]) -> Vec<Finding> {
    let is_wide = |net: &IpNet| match net {
        IpNet::V4(net) => net.prefix_len() <= WIDE_V4,
        IpNet::V6(net) => net.prefix_len() <= WIDE_V6,
    };
    let mut findings = Vec::new();
    for net in nets {
        if let Some(address) = METADATA.iter().find(|address| net.contains(*address)) {
            findings.push(Finding::wrong(
                PART,
                format!("egress.allow has {net}, in which {address} lies: there clouds give a machine's credentials to whoever asks, and every customer can register it as an endpoint"),
                "allow only the networks that endpoints lie in",
            ));
        } else if is_wide(net) {
            findings.push(Finding::warning(
                PART,
                format!("egress.allow has {net}, which is a large part of all addresses"),
                "allow only the networks that endpoints lie in",
            ));
        }
    }
    if findings.is_empty() && !nets.is_empty() {
        let nets: Vec<_> = nets.iter().map(ToString::to_string).collect();
        findings.push(Finding::warning(
            PART,
            format!(
                "beside public addresses, endpoints may lie in {}",
                nets.join(", ")
            ),
            "leave egress.allow out, unless your customers' endpoints lie there: whoever registers one reaches what is there",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(nets: &[&str]) -> Vec<Verdict> {
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        let found = allowed(&nets);
        found.iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn networks_with_a_clouds_credentials_are_wrong_and_other_exceptions_are_told() {
        assert_eq!(verdicts(&[]), []);
        assert_eq!(
            verdicts(&["10.0.0.0/8", "127.0.0.0/8"]),
            [Verdict::Warning],
            "told together"
        );
        assert_eq!(
            verdicts(&["0.0.0.0/0", "169.254.0.0/16", "::/0"]),
            [Verdict::Wrong; 3]
        );
        assert_eq!(verdicts(&["32.0.0.0/3"]), [Verdict::Warning]);
    }
}
