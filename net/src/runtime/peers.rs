//! What the server keeps of its peers, and what their links tell it.
//!
//! Invariants: a peer counts as up from `PeerUp` until its outgoing connection ends or its incoming
//! one does; of its incoming connections only the newest counts; a peer with several addresses that
//! answers nothing is looked for at the next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use zokor_core::Input;
use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::Body;
use zokor_core::replica::Message;
use zokor_core::time::{Instant, WallTime};

use super::facts::PeerFacts;
use super::shared::Shared;
use crate::transport::{Incoming, KEPT_FOR, Outbox, Part, PartHeld, PeerPort, Written};

/// All peers of one server.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<ServerId, Peer>,
    /// Those for whom the present pump has something.
    due: BTreeSet<ServerId>,
    last_number: u64,
    /// How long a peer with several addresses may answer nothing.
    gone_after: Duration,
}

#[derive(Debug, Default)]
struct Peer {
    outbox: Arc<Outbox>,
    /// Since when the outgoing connection stands, if it does.
    up_since: Option<Instant>,
    /// The newest incoming connection. Its task ends when the sender is dropped.
    incoming: Option<(u64, oneshot::Sender<()>)>,
    /// It can be reached in more than one way.
    has_ways: bool,
    /// When it said last that it repairs its log, or does not know yet whether it is new: it
    /// answers nothing else meanwhile, and says so again now and then.
    repairs_at: Option<Instant>,
    /// When it was asked something on the outgoing connection first since it was heard of last.
    unanswered_since: Option<Instant>,
    /// What is kept of a snapshot of it that broke off, and since when that is known here.
    part: Option<(Part, Option<Instant>)>,
    /// What is told of it; its queue, only the outbox knows.
    told: PeerFacts,
}

/// Who repairs its log asks again within so many times what a peer may leave unanswered.
const SEEKS_WITHIN: u32 = 4;

impl Peers {
    /// These peers, each with an empty outbox of its own.
    pub(super) fn new(ids: impl Iterator<Item = ServerId>, queue_bytes: usize) -> Self {
        let new = |id| {
            let outbox = Arc::new(Outbox::new(queue_bytes));
            let told = PeerFacts { id, ..PeerFacts::default() };
            (id, Peer { outbox, told, ..Peer::default() })
        };
        Peers { peers: ids.map(new).collect(), ..Peers::default() }
    }

    /// These have several addresses, and are looked for at the next if they answer nothing for
    /// `gone_after`.
    pub(super) fn with_ways(
        mut self,
        ids: impl Iterator<Item = ServerId>,
        gone_after: Duration,
    ) -> Self {
        self.gone_after = gone_after;
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.has_ways = true;
            }
        }
        self
    }

    pub(super) fn outbox(&self, peer: ServerId) -> Option<Arc<Outbox>> {
        self.peers.get(&peer).map(|peer| peer.outbox.clone())
    }

    /// Queues a message; it leaves with the next [`Peers::wake`]. `zxid` is what this server has
    /// applied, `written` the bytes of the message's entries, if these are known.
    pub(super) fn send(
        &mut self,
        now: Instant,
        to: ServerId,
        message: Message,
        zxid: Zxid,
        written: Option<&Written>,
    ) {
        if let Some(peer) = self.peers.get_mut(&to)
            && peer.up_since.is_some()
        {
            if peer.has_ways && body(&message).is_some_and(is_answered) {
                peer.unanswered_since.get_or_insert(now);
            }
            peer.told.sent += 1;
            peer.told.last_zxid = Some(zxid);
            peer.outbox.push(message, written);
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

    /// Wakes each link that has something to send, once.
    pub(super) fn wake(&mut self) {
        while let Some(id) = self.due.pop_first() {
            if let Some(peer) = self.peers.get(&id) {
                peer.outbox.wake();
            }
        }
    }

    /// Gives up connections to peers that no longer answer, and have other addresses. A way may be
    /// dead though both its ends are well: whatever forwards bytes may take them and keep them.
    pub(super) fn leave_dead_ways(&mut self, now: Instant) {
        let repairs = |peer: &Peer| {
            peer.repairs_at.is_some_and(|at| now.since(at) < SEEKS_WITHIN * self.gone_after)
        };
        for peer in self.peers.values_mut().filter(|peer| !repairs(peer)) {
            let is_overdue = |since: &mut Instant| now.since(*since) >= self.gone_after;
            if peer.unanswered_since.take_if(is_overdue).is_some() {
                peer.outbox.leave_way("it answers nothing, and may do so at another address");
            }
        }
    }

    /// A snapshot of `from` broke off, of which so much has come. The sender is told before it
    /// hears anything else over the next connection, or at once if one stands.
    fn keep_part(&mut self, from: ServerId, part: Part) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.outbox.push_held(&part.held());
            peer.part = Some((part, None));
            self.due.insert(from);
        }
    }

    fn tell_part(&mut self, to: ServerId) {
        if let Some(peer) = self.peers.get(&to)
            && let Some((part, _)) = &peer.part
        {
            peer.outbox.push_held(&part.held());
            self.due.insert(to);
        }
    }

    fn take_part(&mut self, from: ServerId) -> Option<Part> {
        let (part, _) = self.peers.get_mut(&from)?.part.take()?;
        Some(part)
    }

    fn part_held(&self, from: ServerId, part: PartHeld) {
        if let Some(peer) = self.peers.get(&from) {
            peer.outbox.held(part);
        }
    }

    /// Forgets snapshots that broke off long ago, on either side.
    pub(super) fn forget_parts(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.outbox.forget_old(now);
            peer.part.take_if(|(_, since)| now.since(*since.get_or_insert(now)) >= KEPT_FOR);
        }
    }

    /// No incoming connection counts any more.
    pub(super) fn end(&mut self) {
        for peer in self.peers.values_mut() {
            peer.incoming = None;
        }
    }

    /// Whether that is news.
    fn set_up(&mut self, now: Instant, peer: ServerId, up: bool) -> bool {
        let Some(peer) = self.peers.get_mut(&peer) else { return false };
        peer.unanswered_since = None;
        let since = up.then_some(now);
        std::mem::replace(&mut peer.up_since, since).is_some() != up
    }

    fn incoming(&mut self, now: Instant, from: ServerId) -> Incoming {
        let (replaced, superseded) = oneshot::channel();
        self.last_number += 1;
        let number = self.last_number;
        let gone_after = self.gone_after;
        if let Some(peer) = self.peers.get_mut(&from) {
            let former = peer.incoming.replace((number, replaced));
            // It has given up a connection that seemed well from here: the way back, if it is an
            // old one as well, is likely to be as dead.
            let is_old = peer.up_since.is_some_and(|since| now.since(since) >= gone_after);
            if former.is_some() && peer.has_ways && is_old {
                peer.outbox.leave_way("the peer has left the way by which it came");
            }
            peer.outbox.nudge();
        }
        Incoming { number, superseded }
    }

    /// Something has come from it.
    fn heard(&mut self, now: Instant, from: ServerId, messages: &[Message]) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.told.received += messages.len() as u64;
        for message in messages {
            if let Message::Forward(actions) = message {
                peer.told.requests += actions.len() as u64;
            }
        }
        if !peer.has_ways {
            return;
        }
        peer.unanswered_since = None;
        for body in messages.iter().filter_map(body) {
            match body {
                Body::Seek { .. } | Body::SeekState { .. } | Body::AskIfNew { .. } => {
                    peer.repairs_at = Some(now);
                }
                // Said by servers that repair and by others.
                Body::Found { .. } | Body::NotFound { .. } | Body::IfNew { .. } => {}
                _ => peer.repairs_at = None,
            }
        }
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
            peer.up_since = None;
            peer.unanswered_since = None;
            peer.outbox.break_link("the peer's own connection has ended");
        }
        true
    }
}

fn body(message: &Message) -> Option<&Body<Txn>> {
    match message {
        Message::Raft(message) => Some(&message.body),
        _ => None,
    }
}

/// Whether every server that is well answers this at once.
fn is_answered(body: &Body<Txn>) -> bool {
    matches!(body, Body::Heartbeat { .. } | Body::PreVote { .. })
}

impl PeerPort for Shared {
    fn up(&self, peer: ServerId) {
        self.input(|driver, now| {
            driver.peers.tell_part(peer);
            if driver.peers.set_up(now.instant, peer, true) {
                driver.machine.handle(now, Input::PeerUp { peer });
            }
        });
    }

    fn down(&self, peer: ServerId) {
        self.input(|driver, now| {
            if driver.peers.set_up(now.instant, peer, false) {
                driver.machine.handle(now, Input::PeerDown { peer });
            }
        });
    }

    fn incoming(&self, from: ServerId) -> Incoming {
        self.with(|driver, now| driver.peers.incoming(now.instant, from))
    }

    fn heard(
        &self,
        from: ServerId,
        number: u64,
        messages: Vec<Message>,
        written: Vec<Written>,
    ) -> bool {
        self.input(|driver, now| {
            let current = driver.peers.is_current(from, number);
            if current {
                driver.peers.heard(now.instant, from, &messages);
                driver.encoded.hear(written);
                for message in messages {
                    driver.machine.handle(now, Input::Message { from, message });
                }
            }
            current
        })
    }

    fn keep_part(&self, from: ServerId, part: Part) {
        self.input(|driver, _| driver.peers.keep_part(from, part));
    }

    fn take_part(&self, from: ServerId) -> Option<Part> {
        self.lock().peers.take_part(from)
    }

    fn part_held(&self, from: ServerId, part: PartHeld) {
        self.lock().peers.part_held(from, part);
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

#[cfg(test)]
mod tests {
    use zokor_core::raft::{self, Index, Term};

    use super::*;

    const GONE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    fn said(body: Body<Txn>) -> Message {
        Message::Raft(raft::Message { term: Term(1), body })
    }

    fn heartbeat() -> Message {
        said(Body::Heartbeat { commit: Index::ZERO, round: 1 })
    }

    fn answer() -> Message {
        said(Body::HeartbeatReply { round: 1, received: Index::ZERO, persisted: Index::ZERO })
    }

    /// Peer 2 has several addresses and peer 3 has one; both are connected.
    fn two() -> Peers {
        let peers = Peers::new([2, 3].map(ServerId).into_iter(), 1 << 20);
        let mut peers = peers.with_ways([ServerId(2)].into_iter(), GONE);
        for peer in [2, 3].map(ServerId) {
            assert!(peers.set_up(at(0), peer, true));
            peers.peers[&peer].outbox.open();
        }
        peers
    }

    fn is_left(peers: &mut Peers, now: Instant, peer: u64) -> bool {
        peers.leave_dead_ways(now);
        peers.peers[&ServerId(peer)].outbox.is_left()
    }

    #[test]
    fn a_peer_that_answers_nothing_is_looked_for_elsewhere_if_there_is_an_elsewhere() {
        let mut peers = two();
        for peer in [2, 3].map(ServerId) {
            peers.send(at(100), peer, heartbeat(), Zxid::ZERO, None);
            peers.send(at(2_000), peer, heartbeat(), Zxid::ZERO, None);
        }
        assert!(!is_left(&mut peers, at(2_099), 2));
        assert!(is_left(&mut peers, at(2_100), 2), "since the first that it left unanswered");
        assert!(!is_left(&mut peers, at(90_000), 3), "there is no other way");
    }

    #[test]
    fn whoever_says_anything_and_whoever_is_asked_nothing_is_left_alone() {
        let mut peers = two();
        assert!(!is_left(&mut peers, at(90_000), 2), "nothing was asked");
        peers.send(
            at(90_000),
            ServerId(2),
            said(Body::VoteReply { granted: true }),
            Zxid::ZERO,
            None,
        );
        peers.send(at(90_000), ServerId(2), Message::Heard(Vec::new()), Zxid::ZERO, None);
        assert!(!is_left(&mut peers, at(99_000), 2), "nobody answers that");
        peers.send(at(99_000), ServerId(2), heartbeat(), Zxid::ZERO, None);
        peers.heard(at(99_500), ServerId(2), &[answer()]);
        assert!(!is_left(&mut peers, at(105_000), 2));
    }

    #[test]
    fn a_peer_that_repairs_its_log_need_not_answer() {
        let mut peers = two();
        let seek = Body::Seek { after: raft::EntryId::default(), names: Vec::new() };
        peers.heard(at(50), ServerId(2), &[said(seek)]);
        peers.send(at(100), ServerId(2), heartbeat(), Zxid::ZERO, None);
        assert!(!is_left(&mut peers, at(6_000), 2));
        peers.heard(at(6_000), ServerId(2), &[answer()]);
        peers.send(at(6_000), ServerId(2), heartbeat(), Zxid::ZERO, None);
        assert!(is_left(&mut peers, at(8_000), 2));
    }

    #[test]
    fn a_peer_that_is_done_with_its_repair_and_says_nothing_any_more_is_left_in_the_end() {
        let mut peers = two();
        let state = Body::SeekState { after: raft::EntryId::default(), wants_leader: true };
        peers.heard(at(50), ServerId(2), &[said(state)]);
        peers.send(at(100), ServerId(2), heartbeat(), Zxid::ZERO, None);
        assert!(!is_left(&mut peers, at(8_049), 2));
        assert!(is_left(&mut peers, at(8_050), 2), "it would have asked again");
    }

    #[test]
    fn who_comes_by_another_way_is_gone_to_by_another_way() {
        for (standing, is_former_there, is_left) in
            [(5_000, true, true), (5_000, false, false), (1_000, true, false)]
        {
            let mut peers = two();
            let _former = is_former_there.then(|| peers.incoming(at(1), ServerId(2)));
            let _single = peers.incoming(at(1), ServerId(3));
            for peer in [2, 3].map(ServerId) {
                let _newer = peers.incoming(at(standing), peer);
            }
            assert_eq!(peers.peers[&ServerId(2)].outbox.is_left(), is_left, "{standing}");
            assert!(!peers.peers[&ServerId(3)].outbox.is_left());
        }
    }
}
