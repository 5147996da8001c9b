//! [`Member`]: how an actor takes part in a lab: how a node makes it, and where what it emits goes.

use crate::record::NodeId;
use pangea_kernel::Core;

/// An actor that a [`super::Lab`] can run on every node.
pub trait Member: Core {
    /// What it keeps on its disk; `()` if nothing.
    type Saved: Clone + 'static;

    /// Makes the actor of node `me`, for the first time or again. `peers` are all other nodes, `saved` is what its disk
    /// gives back.
    fn new(me: NodeId, peers: &[NodeId], saved: Option<Self::Saved>) -> Self;

    /// Where something goes that the actor of node `me` has emitted.
    fn route(me: NodeId, out: Self::Out) -> Route<Self>;

    /// How long a message is, for lines with a narrow uplink or a small packet size.
    fn bytes(_message: &Self::In) -> u64 {
        200
    }

    /// What a node hears, ten seconds later, if something that it sent [`Route::Reliable`] did not get to `peer`.
    /// Nothing, unless this says otherwise.
    fn broken(_peer: NodeId) -> Option<Self::In> {
        None
    }
}

/// Where something goes that an actor has emitted.
#[derive(Clone, Debug)]
pub enum Route<C: Member> {
    /// To a node, over a connection: in order, once, and later instead of never when packets are lost. It is lost with
    /// the connection: if the line is cut, or if the receiver ends before it arrives.
    Reliable(NodeId, C::In),
    /// To a node, as a packet: it may be lost, come late, or come twice.
    Datagram(NodeId, C::In),
    /// To the disk, where it replaces what was there. A crash of the process does not hurt it; after a power loss it is
    /// there if it has been synced, which takes a few milliseconds.
    Save(C::Saved),
    /// Likewise, and the actor gets this message when it has been synced.
    SaveThen(C::Saved, C::In),
    /// To those who watch: oracles find it in [`super::View::notes`].
    Note(C::Out),
    /// To nobody.
    Ignore,
}
