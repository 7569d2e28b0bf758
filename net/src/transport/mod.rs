//! Sockets: how bytes get in and out, to clients and to peers.
//!
//! Invariant: nothing here knows what a request means. A connection's task moves bytes and asks its
//! port, which belongs to the runtime, what to do next.

mod client;
mod codec;
mod complaints;
#[cfg(feature = "real-sockets")]
mod descriptors;
mod dial;
mod greeting;
mod inbox;
mod learn;
mod listen;
mod options;
mod outbox;
mod receive;
#[cfg(test)]
mod tests;

pub use client::{ClientPort, Turn, attend};
pub use codec::{Part, PartHeld, Written};
pub use complaints::Complaints;
#[cfg(feature = "real-sockets")]
pub use descriptors::room_for_clients;
pub use dial::{DialLimits, Dialer};
pub use greeting::{Credentials, TurnedAway};
pub use inbox::Inbox;
pub use learn::learn_ensemble;
pub use listen::{BindError, accept, bind};
#[cfg(feature = "real-sockets")]
pub use options::RealSockets;
pub use options::{PEER_GONE_AFTER, PlainSockets, SocketOptions};
pub(crate) use outbox::KEPT_FOR;
pub use outbox::Outbox;
pub use receive::{ReceiveLimits, Visitor, meet};

use tokio::sync::oneshot;
use zokor_core::id::ServerId;
use zokor_core::replica::Message;

/// What the links to peers tell their owner. Called by their tasks; must not block.
pub trait PeerPort: Send + Sync {
    /// The outgoing connection stands and was accepted: what is sent from now on may arrive.
    fn up(&self, peer: ServerId);

    /// The outgoing connection, which stood, has ended.
    fn down(&self, peer: ServerId);

    /// An incoming connection was accepted. It takes the place of any earlier one of `from`, whose
    /// [`Incoming::superseded`] ends thereby.
    fn incoming(&self, from: ServerId) -> Incoming;

    /// Messages came in, in order, and the entries in them stood there as `written`. `false` if a
    /// newer connection counts by now: nothing was taken.
    fn heard(
        &self,
        from: ServerId,
        number: u64,
        messages: Vec<Message>,
        written: Vec<Written>,
    ) -> bool;

    /// The incoming connection has ended.
    fn incoming_ended(&self, from: ServerId, number: u64);

    /// A connection has ended with a snapshot under way on it, of which so much has come.
    fn keep_part(&self, from: ServerId, part: Part);

    /// What was kept last of a snapshot of `from`, which is not kept any longer.
    fn take_part(&self, from: ServerId) -> Option<Part>;

    /// `from` keeps so much of a snapshot that was being sent to it.
    fn part_held(&self, from: ServerId, part: PartHeld);
}

/// One accepted connection of a peer.
#[derive(Debug)]
pub struct Incoming {
    /// Its number, never used before.
    pub number: u64,
    /// Resolves when a newer one took its place.
    pub superseded: oneshot::Receiver<()>,
}

/// Who this server is to its peers.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its id.
    pub id: ServerId,
    /// Names the ensemble: servers of another one are strangers.
    pub ensemble: u64,
}
