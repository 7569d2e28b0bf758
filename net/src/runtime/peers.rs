//! What the server keeps of its peers, and what their links tell it.
//!
//! Invariants: a peer counts as up from `PeerUp` until its outgoing connection ends or its incoming
//! one does; of its incoming connections only the newest counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use zokor_core::Input;
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::replica::Message;
use zokor_core::time::WallTime;

use super::facts::PeerFacts;
use super::shared::Shared;
use crate::transport::{Incoming, Outbox, PeerPort};

/// All peers of one server.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<ServerId, Peer>,
    /// Those for whom the present pump has something.
    due: BTreeSet<ServerId>,
    last_number: u64,
}

#[derive(Debug)]
struct Peer {
    outbox: Arc<Outbox>,
    /// Whether the outgoing connection stands.
    up: bool,
    /// The newest incoming connection. Its task ends when the sender is dropped.
    incoming: Option<(u64, oneshot::Sender<()>)>,
    /// What is told of it; its queue, only the outbox knows.
    told: PeerFacts,
}

impl Peers {
    /// These peers, each with an empty outbox of its own.
    pub(super) fn new(ids: impl Iterator<Item = ServerId>, queue_bytes: usize) -> Self {
        let new = |id| {
            let outbox = Arc::new(Outbox::new(queue_bytes));
            (
                id,
                Peer {
                    outbox,
                    up: false,
                    incoming: None,
                    told: PeerFacts { id, ..PeerFacts::default() },
                },
            )
        };
        Peers { peers: ids.map(new).collect(), ..Peers::default() }
    }

    pub(super) fn outbox(&self, peer: ServerId) -> Option<Arc<Outbox>> {
        self.peers.get(&peer).map(|peer| peer.outbox.clone())
    }

    /// Queues a message; it leaves with the next [`Peers::wake`]. `zxid` is what this server has
    /// applied.
    pub(super) fn send(&mut self, to: ServerId, message: Message, zxid: Zxid) {
        if let Some(peer) = self.peers.get_mut(&to)
            && peer.up
        {
            peer.told.sent += 1;
            peer.told.last_zxid = Some(zxid);
            peer.outbox.push(message);
            self.due.insert(to);
        }
    }

    /// What is known of one.
    pub(super) fn facts(&self, id: ServerId) -> Option<PeerFacts> {
        let peer = self.peers.get(&id)?;
        Some(PeerFacts { queued: peer.outbox.queued(), ..peer.told.clone() })
    }

    /// Begins to count anew.
    pub(super) fn reset(&mut self) {
        for peer in self.peers.values_mut() {
            let PeerFacts { id, met, .. } = peer.told;
            peer.told = PeerFacts { id, met, ..PeerFacts::default() };
        }
    }

    /// It has said who it is, over a connection of its own from `address`.
    pub(super) fn met(&mut self, id: ServerId, address: SocketAddr, at: WallTime) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.told.met = Some((address, at));
        }
    }

    /// What it said.
    fn note_heard(&mut self, from: ServerId, messages: &[Message]) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.told.received += messages.len() as u64;
        for message in messages {
            if let Message::Forward(actions) = message {
                peer.told.requests += actions.len() as u64;
            }
        }
    }

    /// Wakes each link that has something to send, once.
    pub(super) fn wake(&mut self) {
        while let Some(id) = self.due.pop_first() {
            if let Some(peer) = self.peers.get(&id) {
                peer.outbox.wake();
            }
        }
    }

    /// No incoming connection counts any more.
    pub(super) fn end(&mut self) {
        for peer in self.peers.values_mut() {
            peer.incoming = None;
        }
    }

    /// Whether that is news.
    fn set_up(&mut self, peer: ServerId, up: bool) -> bool {
        match self.peers.get_mut(&peer) {
            Some(peer) => std::mem::replace(&mut peer.up, up) != up,
            None => false,
        }
    }

    fn incoming(&mut self, from: ServerId) -> Incoming {
        let (replaced, superseded) = oneshot::channel();
        self.last_number += 1;
        let number = self.last_number;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.incoming = Some((number, replaced));
            peer.outbox.nudge();
        }
        Incoming { number, superseded }
    }

    fn is_current(&self, from: ServerId, number: u64) -> bool {
        let incoming = self.peers.get(&from).and_then(|peer| peer.incoming.as_ref());
        incoming.is_some_and(|(current, _)| *current == number)
    }

    /// Whether that was the one that counted. Its end takes the outgoing connection with it: a peer
    /// that is half gone is told so, and both begin anew.
    fn incoming_ended(&mut self, from: ServerId, number: u64) -> bool {
        if !self.is_current(from, number) {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.incoming = None;
            peer.up = false;
            peer.outbox.break_link("the peer's own connection has ended");
        }
        true
    }
}

impl PeerPort for Shared {
    fn up(&self, peer: ServerId) {
        self.input(|driver, now| {
            if driver.peers.set_up(peer, true) {
                driver.machine.handle(now, Input::PeerUp { peer });
            }
        });
    }

    fn down(&self, peer: ServerId) {
        self.input(|driver, now| {
            if driver.peers.set_up(peer, false) {
                driver.machine.handle(now, Input::PeerDown { peer });
            }
        });
    }

    fn incoming(&self, from: ServerId) -> Incoming {
        self.lock().peers.incoming(from)
    }

    fn heard(&self, from: ServerId, number: u64, messages: Vec<Message>) -> bool {
        self.input(|driver, now| {
            let current = driver.peers.is_current(from, number);
            if current {
                driver.peers.note_heard(from, &messages);
                for message in messages {
                    driver.machine.handle(now, Input::Message { from, message });
                }
            }
            current
        })
    }

    fn incoming_ended(&self, from: ServerId, number: u64) {
        // Also said of a peer that is down already: what came in since may have made the replica
        // trust in it again.
        self.input(|driver, now| {
            if driver.peers.incoming_ended(from, number) {
                driver.machine.handle(now, Input::PeerDown { peer: from });
            }
        });
    }
}
