//! The application error codes of `pangea/1` on connections and streams, and what they say to a reader.

use super::connection::Closed;

/// The connection is closed without complaint.
pub const CLOSED: u32 = 0;
/// Another connection between the same two peers stays.
pub const DUPLICATE: u32 = 1;
/// The node is going away.
pub const SHUTDOWN: u32 = 2;
/// Stream: the sender has changed its mind.
pub const CANCELLED: u32 = 16;
/// Stream: not a frame.
pub const GARBAGE: u32 = 17;
/// Stream: it stood still for too long.
pub const STALLED: u32 = 18;
/// Stream: no memory, or the receiver is too slow.
pub const BUSY: u32 = 19;

/// True if the peer ended a connection on purpose and goes on.
pub fn is_dismissal(reason: &Closed) -> bool {
    *reason == Closed::ByPeer(CLOSED.into())
}

/// True if a connection was closed because another one stays; `retiring` if this node was about to do that.
pub fn is_duplicate(reason: &Closed, retiring: bool) -> bool {
    *reason == Closed::ByPeer(DUPLICATE.into()) || *reason == Closed::Here && retiring
}

/// What a peer says by closing a connection with a code, for people.
pub fn describe(code: u64) -> String {
    match u32::try_from(code) {
        Ok(CLOSED) => "closed by the peer".to_owned(),
        Ok(DUPLICATE) => "replaced by another connection".to_owned(),
        Ok(SHUTDOWN) => "the peer shut down".to_owned(),
        _ => format!("closed by the peer with code {code}"),
    }
}
