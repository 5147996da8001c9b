//! Where a node can be reached: its sockets as multiaddrs, for its ready line. A socket that listens everywhere stands
//! for the addresses of this machine.
//!
//! Not here: what the network driver announces, which follows interfaces as they come and go.

use pangea_protocols::Address;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The addresses of `sockets`, each once.
pub fn of(sockets: &[SocketAddr]) -> Vec<Address> {
    let own = if sockets.iter().any(|socket| socket.ip().is_unspecified()) { machine() } else { Vec::new() };
    expand(sockets, &own)
}

fn expand(sockets: &[SocketAddr], own: &[IpAddr]) -> Vec<Address> {
    let mut addresses = Vec::new();
    for socket in sockets {
        let everywhere = socket.ip().is_unspecified();
        // `[::]` is dual stack.
        let meant = own.iter().filter(|ip| everywhere && (socket.is_ipv6() || ip.is_ipv4()));
        let ips = meant.copied().chain((!everywhere).then_some(socket.ip()));
        addresses.extend(ips.filter_map(|ip| multiaddr(ip, socket.port())));
    }
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(address.to_string()));
    addresses
}

fn multiaddr(ip: IpAddr, port: u16) -> Option<Address> {
    match ip {
        IpAddr::V4(ip) => format!("/ip4/{ip}/udp/{port}/quic-v1").parse().ok(),
        IpAddr::V6(ip) => format!("/ip6/{ip}/udp/{port}/quic-v1").parse().ok(),
    }
}

/// The addresses of this machine's interfaces that others can use; loopback if it has no others.
fn machine() -> Vec<IpAddr> {
    let all = interfaces();
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        // A link-local address means nothing without its interface.
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let others: Vec<IpAddr> = all.iter().copied().filter(usable).collect();
    if others.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { others }
}

/// Every address of every interface that is up; none if the system does not tell.
fn interfaces() -> Vec<IpAddr> {
    let mut first = std::ptr::null_mut();
    // SAFETY: `first` is valid for a write of a pointer.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: the list is valid until it is freed, and ends with a null pointer.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0 {
            found.extend(address(entry.ifa_addr));
        }
        next = entry.ifa_next;
    }
    // SAFETY: it came from getifaddrs, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(first) };
    found
}

/// An entry's address, if it is one of IP.
fn address(socket: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: an address of the system's list is null or valid, with its family first.
    let family = i32::from(unsafe { socket.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in; it is read wherever it lies.
            let socket = unsafe { socket.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(socket.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6; it is read wherever it lies.
            let socket = unsafe { socket.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(socket.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sockets: &[&str], own: &[&str]) -> Vec<String> {
        let sockets: Vec<SocketAddr> = sockets.iter().map(|socket| socket.parse().unwrap()).collect();
        let own: Vec<IpAddr> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        expand(&sockets, &own).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_socket_that_listens_everywhere_stands_for_the_addresses_of_the_machine() {
        let own = ["192.0.2.7", "2001:db8::7"];
        assert_eq!(text(&["0.0.0.0:4001"], &own), ["/ip4/192.0.2.7/udp/4001/quic-v1"]);
        let both = ["/ip4/192.0.2.7/udp/4001/quic-v1", "/ip6/2001:db8::7/udp/4001/quic-v1"];
        assert_eq!(text(&["[::]:4001"], &own), both);
        assert_eq!(text(&["0.0.0.0:4001", "[::]:4001"], &own), both, "an address twice");
        assert_eq!(text(&["127.0.0.1:4001"], &own), ["/ip4/127.0.0.1/udp/4001/quic-v1"]);
    }

    #[test]
    fn this_machine_has_an_address_and_none_is_unspecified() {
        assert!(interfaces().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let addresses = of(&["0.0.0.0:4001".parse().unwrap()]);
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| !address.to_string().contains("0.0.0.0")), "{addresses:?}");
    }
}
