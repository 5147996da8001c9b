//! Names between three worlds: Pangea's [`Address`] and [`PeerId`], libp2p's, and socket addresses.

use libp2p::{Multiaddr, multiaddr::Protocol};
use pangea_protocols::{Address, PeerId};
use std::net::{IpAddr, SocketAddr};

/// Most addresses that are believed of one peer.
pub const ADDRESSES_MAX: usize = 8;

/// A Pangea peer id as libp2p's; `None` only if the 32 bytes were no multihash, which they always are.
pub fn to_libp2p(peer: PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_multihash()).ok()
}

/// A libp2p peer id as Pangea's; `None` for keys other than Ed25519.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash(&peer.to_bytes())
}

/// `/ip4|ip6/…/udp/…/quic-v1[/p2p/…]` as a socket address; `None` for any other form.
pub fn to_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    let Protocol::QuicV1 = parts.next()? else { return None };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// A socket address as `/ip…/udp/…/quic-v1`; IPv4 seen through a dual-stack socket is written as IPv4.
pub fn to_multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::empty()
        .with(address.ip().to_canonical().into())
        .with(Protocol::Udp(address.port()))
        .with(Protocol::QuicV1)
}

/// A dialable multiaddr as an [`Address`], without its `/p2p/…`.
pub fn to_address(address: &Multiaddr) -> Option<Address> {
    let socket = to_socket(address).filter(|socket| is_dialable(*socket))?;
    to_multiaddr(socket).to_string().parse().ok()
}

/// An [`Address`] as a multiaddr, if this driver can dial it.
pub fn from_address(address: &Address) -> Option<Multiaddr> {
    let multiaddr: Multiaddr = address.as_str().parse().ok()?;
    let socket = to_socket(&multiaddr).filter(|socket| is_dialable(*socket))?;
    Some(to_multiaddr(socket))
}

/// The first [`ADDRESSES_MAX`] addresses of a peer that may be dialled; `loopback` says whether those count.
pub fn believable(addresses: impl IntoIterator<Item = Multiaddr>, loopback: bool) -> Vec<Multiaddr> {
    let mut kept = Vec::new();
    for socket in addresses.into_iter().filter_map(|address| to_socket(&address)) {
        let address = to_multiaddr(socket);
        let fits = is_dialable(socket) && (loopback || !socket.ip().to_canonical().is_loopback());
        if fits && kept.len() < ADDRESSES_MAX && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

/// Peers of one prefix probably belong to one operator: an IPv4 /24 or an IPv6 /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix([u8; 6]);

impl Prefix {
    /// The prefix of an address; `None` for loopback, where no diversity can be asked for.
    pub fn of(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        match ip {
            _ if ip.is_loopback() => None,
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Some(Self([4, a, b, c, 0, 0]))
            }
            // 2000::/3 and the other unicast blocks never begin with byte 4, so the two families cannot collide.
            IpAddr::V6(ip) => ip.octets().first_chunk().copied().map(Self),
        }
    }

    /// The prefix of a multiaddr with an IP address.
    pub fn of_multiaddr(address: &Multiaddr) -> Option<Self> {
        Self::of(to_socket(address)?.ip())
    }
}

/// Loopback, private and link-local addresses: no router of the internet is on the way.
pub fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiaddr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_udp_quic_v1_is_a_socket_address() {
        assert_eq!(to_socket(&multiaddr("/ip4/192.0.2.1/udp/4001/quic-v1")), Some("192.0.2.1:4001".parse().unwrap()));
        for other in [
            "/ip4/192.0.2.1/tcp/4001",
            "/ip4/192.0.2.1/udp/4001",
            "/dns4/example.org/udp/1/quic-v1",
            "/ip4/192.0.2.1/udp/1/quic-v1/p2p-circuit",
        ] {
            assert_eq!(to_socket(&multiaddr(other)), None, "{other}");
        }
    }

    #[test]
    fn addresses_of_others_are_bounded_deduplicated_and_not_loopback() {
        let mut addresses = vec![multiaddr("/ip4/127.0.0.1/udp/1/quic-v1"), multiaddr("/ip4/0.0.0.0/udp/1/quic-v1")];
        addresses.extend((1..=20).map(|port| multiaddr(&format!("/ip4/192.0.2.1/udp/{}/quic-v1", port / 2 + 1))));
        let kept = believable(addresses.clone(), false);
        assert_eq!(kept.len(), ADDRESSES_MAX);
        assert!(kept.iter().all(|address| address.to_string().starts_with("/ip4/192.0.2.1/")));
        assert!(believable(addresses, true).contains(&multiaddr("/ip4/127.0.0.1/udp/1/quic-v1")));
    }

    #[test]
    fn a_prefix_is_a_24_or_a_48_and_loopback_has_none() {
        let of = |text: &str| Prefix::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.200"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.9"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:9::3"));
        assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
        assert_eq!(of("127.0.0.1").or(of("::1")), None);
    }

    #[test]
    fn peer_ids_survive_the_way_to_libp2p_and_back() {
        let keypair = libp2p::identity::Keypair::generate_ed25519();
        let peer = from_libp2p(&keypair.public().to_peer_id()).unwrap();
        assert_eq!(to_libp2p(peer), Some(keypair.public().to_peer_id()));
        assert_eq!(peer.to_string(), keypair.public().to_peer_id().to_string());
    }
}
