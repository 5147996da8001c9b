//! [`Router`]: the address translation in front of a host, and what it forgets.
//!
//! | [`Nat`] | others see | who gets in |
//! |---|---|---|
//! | open | the bound port; after a rebinding another one | everybody, on both |
//! | restricted | one port per bound port | those the host has sent to within [`CONTACT_LIFETIME`] |
//! | symmetric | one port per bound port and correspondent | the correspondent of that port, for as long |

use crate::plan::Nat;
use pangea_protocols::time::Time;
use std::{collections::BTreeMap, net::SocketAddrV4, time::Duration};

/// A mapping that is not used for so long is forgotten: the shortest that RFC 4787 allows.
pub const CONTACT_LIFETIME: Duration = Duration::from_secs(120);
/// First port that is handed out.
const EPHEMERAL_FROM: u16 = 20_000;

/// The router of one host.
pub(super) struct Router {
    nat: Nat,
    next_port: u16,
    /// The port that others see, by bound port and, if symmetric, correspondent.
    seen_as: BTreeMap<(u16, Option<SocketAddrV4>), u16>,
    /// When the host last sent from a bound port to somebody.
    contacts: BTreeMap<(u16, SocketAddrV4), Time>,
    rebound: bool,
}

impl Router {
    pub(super) fn new(nat: Nat) -> Self {
        Self { nat, next_port: EPHEMERAL_FROM, seen_as: BTreeMap::new(), contacts: BTreeMap::new(), rebound: false }
    }

    /// A port that nothing else has.
    pub(super) fn free_port(&mut self) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(EPHEMERAL_FROM);
            if self.seen_as.values().all(|seen| *seen != port) && self.seen_as.keys().all(|(bound, _)| *bound != port) {
                return port;
            }
        }
    }

    /// All mappings are forgotten: what is sent from now on comes from other ports.
    pub(super) fn rebind(&mut self) {
        self.rebound = true;
        self.seen_as.clear();
        self.contacts.clear();
    }

    /// The host sends: the port that its correspondent sees.
    pub(super) fn outward(&mut self, now: Time, bound: u16, to: SocketAddrV4) -> u16 {
        if self.nat != Nat::Open {
            let before = self.contacts.insert((bound, to), now);
            if before.is_some_and(|before| now.since(before) > CONTACT_LIFETIME) {
                self.seen_as.remove(&(bound, Some(to)));
            }
        }
        let key = match self.nat {
            Nat::Symmetric => (bound, Some(to)),
            Nat::Open | Nat::Restricted if self.rebound => (bound, None),
            Nat::Open | Nat::Restricted => return bound,
        };
        if let Some(seen) = self.seen_as.get(&key) {
            return *seen;
        }
        let seen = self.free_port();
        self.seen_as.insert(key, seen);
        seen
    }

    /// Something comes for a port that others see: the bound port it goes to, if it gets in.
    pub(super) fn inward(&self, now: Time, port: u16, from: SocketAddrV4) -> Option<u16> {
        let mapped = self.seen_as.iter().find(|((_, to), seen)| **seen == port && to.is_none_or(|to| to == from));
        let bound = match (mapped, self.nat) {
            (Some(((bound, _), _)), _) => *bound,
            // The owner has forwarded the bound port.
            (None, Nat::Open) => port,
            (None, Nat::Restricted) if !self.rebound => port,
            (None, Nat::Restricted | Nat::Symmetric) => return None,
        };
        let known = || self.contacts.get(&(bound, from)).is_some_and(|at| now.since(*at) <= CONTACT_LIFETIME);
        (self.nat == Nat::Open || known()).then_some(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NOW: Time = Time(1_000_000_000);

    fn peer(last: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, last), 4411)
    }

    #[test]
    fn an_open_host_is_reached_by_strangers_also_after_a_rebinding() {
        let mut router = Router::new(Nat::Open);
        assert_eq!(router.outward(NOW, 4411, peer(1)), 4411);
        router.rebind();
        let seen = router.outward(NOW, 4411, peer(1));
        assert_ne!(seen, 4411);
        assert_eq!(router.inward(NOW, seen, peer(1)), Some(4411));
        assert_eq!(router.inward(NOW, 4411, peer(2)), Some(4411));
    }

    #[test]
    fn behind_a_restricted_router_only_correspondents_of_late_get_in() {
        let mut router = Router::new(Nat::Restricted);
        assert_eq!(router.inward(NOW, 4411, peer(1)), None);
        assert_eq!(router.outward(NOW, 4411, peer(1)), 4411);
        assert_eq!(router.inward(NOW, 4411, peer(1)), Some(4411));
        assert_eq!(router.inward(NOW, 4411, peer(2)), None);
        let late = NOW + CONTACT_LIFETIME + Duration::from_secs(1);
        assert_eq!(router.inward(late, 4411, peer(1)), None);
        router.rebind();
        assert_eq!(router.inward(NOW, 4411, peer(1)), None);
        let seen = router.outward(NOW, 4411, peer(1));
        assert_eq!(router.inward(NOW, seen, peer(1)), Some(4411));
    }

    #[test]
    fn a_symmetric_router_shows_every_correspondent_another_port() {
        let mut router = Router::new(Nat::Symmetric);
        let (one, two) = (router.outward(NOW, 4411, peer(1)), router.outward(NOW, 4411, peer(2)));
        assert_ne!(one, two);
        assert_eq!(router.inward(NOW, one, peer(1)), Some(4411));
        assert_eq!(router.inward(NOW, one, peer(2)), None);
        assert_eq!(router.inward(NOW, 4411, peer(1)), None);
    }
}
