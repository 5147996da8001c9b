//! Which peers fail together, and how far an address reaches.

use pangea_protocols::{Address, PeerId};
use std::net::IpAddr;

/// How far an address reaches. A peer may tell us of addresses no narrower than the one we know it by: otherwise a
/// stranger could make this node knock at its own network's doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// This network: RFC 1918, RFC 6598, link-local, unique local.
    Private,
    /// The internet, and everything that is not an IP address.
    Public,
}

/// The scope of an address.
pub fn scope(address: &Address) -> Scope {
    address.ip().map_or(Scope::Public, |ip| scope_of(canonical(ip)))
}

fn scope_of(ip: IpAddr) -> Scope {
    match ip {
        ip if ip.is_loopback() => Scope::Loopback,
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            if ip.is_private() || ip.is_link_local() || shared { Scope::Private } else { Scope::Public }
        }
        IpAddr::V6(ip) => {
            let head = ip.segments()[0];
            if head & 0xfe00 == 0xfc00 || head & 0xffc0 == 0xfe80 { Scope::Private } else { Scope::Public }
        }
    }
}

/// False for addresses that name no machine (`0.0.0.0`, multicast, broadcast).
pub fn is_dialable(address: &Address) -> bool {
    match address.ip().map(canonical) {
        Some(IpAddr::V4(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        Some(IpAddr::V6(ip)) => !(ip.is_unspecified() || ip.is_multicast()),
        None => true,
    }
}

/// The /24 (IPv4) or /48 (IPv6) of an address, as a number; `None` if it is not an IP address or loopback.
pub fn prefix(address: &Address) -> Option<u64> {
    prefix_of(canonical(address.ip()?))
}

fn prefix_of(ip: IpAddr) -> Option<u64> {
    match ip {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(4 << 56 | u64::from(u32::from(ip) >> 8)),
        IpAddr::V6(ip) => Some(6 << 56 | u64::try_from(u128::from(ip) >> 80).unwrap_or(0)),
    }
}

/// The prefix that connection caps apply to: public addresses only. Machines of one home or office share a /24
/// honestly, and an attacker who is inside it needs no more of them.
pub fn capped_prefix(address: &Address) -> Option<u64> {
    let ip = canonical(address.ip()?);
    if scope_of(ip) == Scope::Public { prefix_of(ip) } else { None }
}

/// The failure domain of a peer: its prefix, or a domain of its own if it has none.
pub fn domain(peer: PeerId, address: Option<&Address>) -> u64 {
    let own = || {
        let [a, b, c, d, e, f, g, ..] = peer.0;
        u64::from_be_bytes([1, a, b, c, d, e, f, g])
    };
    address.and_then(prefix).unwrap_or_else(own)
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn peers_of_one_24_share_a_domain_and_loopback_peers_do_not() {
        let (a, b) = (PeerId([1; 32]), PeerId([2; 32]));
        let of = |peer, text: &str| domain(peer, Some(&at(text)));
        assert_eq!(of(a, "/ip4/198.51.100.1/udp/1/quic-v1"), of(b, "/ip4/198.51.100.250/tcp/9"));
        assert_ne!(of(a, "/ip4/198.51.100.1/udp/1"), of(b, "/ip4/198.51.101.1/udp/1"));
        assert_eq!(of(a, "/ip6/2001:db8:1:2::1/udp/1"), of(b, "/ip6/2001:db8:1:ffff::9/udp/1"));
        assert_eq!(of(a, "/ip6/::ffff:198.51.100.7/udp/1"), of(b, "/ip4/198.51.100.9/udp/1"));
        assert_ne!(of(a, "/ip4/127.0.0.1/udp/1"), of(b, "/ip4/127.0.0.1/udp/2"));
        assert_ne!(of(a, "/dns4/a.example/udp/1"), of(b, "/dns4/a.example/udp/1"));
    }

    #[test]
    fn scopes_follow_the_address_ranges() {
        for (text, expected) in [
            ("/ip4/127.0.0.9/udp/1", Scope::Loopback),
            ("/ip6/::1/udp/1", Scope::Loopback),
            ("/ip4/10.1.2.3/udp/1", Scope::Private),
            ("/ip4/100.64.0.1/udp/1", Scope::Private),
            ("/ip4/100.128.0.1/udp/1", Scope::Public),
            ("/ip6/fe80::1/udp/1", Scope::Private),
            ("/ip6/fd00::1/udp/1", Scope::Private),
            ("/ip6/2001:db8::1/udp/1", Scope::Public),
            ("/dns4/a.example/udp/1", Scope::Public),
        ] {
            assert_eq!(scope(&at(text)), expected, "{text}");
        }
        assert!(!is_dialable(&at("/ip4/0.0.0.0/udp/1")) && !is_dialable(&at("/ip6/ff02::1/udp/1")));
    }
}
