//! The application error codes of `pangea/1` on QUIC connections and streams, and what they say to a reader.

use quinn::{ConnectionError, VarInt};

/// The connection is closed without complaint.
pub const CLOSED: VarInt = VarInt::from_u32(0);
/// Another connection between the same two peers stays.
pub const DUPLICATE: VarInt = VarInt::from_u32(1);
/// The node is going away.
pub const SHUTDOWN: VarInt = VarInt::from_u32(2);
/// Stream: the sender has changed its mind.
pub const CANCELLED: VarInt = VarInt::from_u32(16);
/// Stream: not a frame.
pub const GARBAGE: VarInt = VarInt::from_u32(17);
/// Stream: it stood still for too long.
pub const STALLED: VarInt = VarInt::from_u32(18);
/// Stream: no memory, or the receiver is too slow.
pub const BUSY: VarInt = VarInt::from_u32(19);

/// Closes a connection unless it is closed already: closing again would replace the reason that the peer gave.
pub fn close(connection: &quinn::Connection, code: VarInt) {
    if connection.close_reason().is_none() {
        connection.close(code, b"");
    }
}

/// True if the peer ended a connection on purpose and goes on.
pub fn is_dismissal(reason: &ConnectionError) -> bool {
    matches!(reason, ConnectionError::ApplicationClosed(close) if close.error_code == CLOSED)
}

/// Why a connection ended, for people.
pub fn describe(reason: &ConnectionError) -> String {
    match reason {
        ConnectionError::LocallyClosed => "closed by this node".to_owned(),
        ConnectionError::ApplicationClosed(close) => match close.error_code {
            CLOSED => "closed by the peer".to_owned(),
            DUPLICATE => "replaced by another connection".to_owned(),
            SHUTDOWN => "the peer shut down".to_owned(),
            code => format!("closed by the peer with code {code}"),
        },
        ConnectionError::TimedOut => "the peer stopped answering".to_owned(),
        ConnectionError::Reset => "the peer was restarted".to_owned(),
        other => other.to_string(),
    }
}
