//! [`Port`]: the only way to send to an actor or a driver.
//!
//! A port is bounded and never blocks: what it cannot take it hands back, and the sender says what happens then
//! (refuse, drop and count, coalesce, stop the peer).

use std::{fmt, sync::Arc};

/// A message that was not taken, handed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected<M> {
    /// The mailbox is full.
    Full(M),
    /// The receiver is gone.
    Closed(M),
}

impl<M> Rejected<M> {
    /// The message.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

/// Sends messages of type `M` into a bounded mailbox.
pub struct Port<M> {
    send: Arc<dyn Fn(M) -> Result<(), Rejected<M>> + Send + Sync>,
}

impl<M> Port<M> {
    /// A port on top of any bounded, non-blocking `send`.
    pub fn new(send: impl Fn(M) -> Result<(), Rejected<M>> + Send + Sync + 'static) -> Self {
        Self { send: Arc::new(send) }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// [`Rejected`] returns the message if the mailbox is full or the receiver gone.
    pub fn send(&self, message: M) -> Result<(), Rejected<M>> {
        (self.send)(message)
    }
}

impl<M: 'static> Port<M> {
    /// A port for another message type that is turned into this one's. A rejected message is handed back unconverted
    /// only if `T` can be cloned; that is why conversion happens before the mailbox is asked.
    pub fn map<T: Clone + 'static>(&self, into: impl Fn(T) -> M + Send + Sync + 'static) -> Port<T> {
        let inner = self.clone();
        Port::new(move |message: T| {
            inner.send(into(message.clone())).map_err(|rejected| match rejected {
                Rejected::Full(_) => Rejected::Full(message),
                Rejected::Closed(_) => Rejected::Closed(message),
            })
        })
    }
}

impl<M> Clone for Port<M> {
    fn clone(&self) -> Self {
        Self { send: Arc::clone(&self.send) }
    }
}

impl<M> fmt::Debug for Port<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port<{}>", std::any::type_name::<M>())
    }
}
