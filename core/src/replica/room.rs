//! Who is short of room on its disk, and what follows from it.
//!
//! Invariant: no server decides by its own disk what an entry does. The leader refuses what would
//! store more, by a rule stamped on the txn, while no quorum has room for it; what makes room or
//! keeps sessions alive is always taken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Message, Output, Replica};
use crate::db::{Action, Rules};
use crate::id::ServerId;
use crate::raft::Role;
use crate::time::Instant;

/// A peer's word that it is short counts for so many upkeep intervals; it repeats it with each.
const WORD_INTERVALS: u32 = 4;
/// A leader that is short of room offers its place no more often than this: while it waits for the
/// other to take over, it takes no writes.
const OFFER_INTERVAL: Duration = Duration::from_secs(10);

/// What one server knows of room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// This server is short of it.
    is_short: bool,
    /// Peers that are, and until when their word counts.
    peers: BTreeMap<ServerId, Instant>,
    /// When this server last offered to let another lead.
    offered: Option<Instant>,
}

impl Room {
    /// Whether this server is short.
    pub(super) fn is_short(&self) -> bool {
        self.is_short
    }

    fn has(&self, server: ServerId, own: ServerId) -> bool {
        if server == own { !self.is_short } else { !self.peers.contains_key(&server) }
    }
}

impl Replica {
    /// This server's disk has come to be short of room, or is so no longer.
    pub(super) fn room_changed(&mut self, is_short: bool) {
        self.room.is_short = is_short;
        self.room.offered = None;
        self.look_after_room();
    }

    /// `peer` is short of room.
    pub(super) fn peer_is_short(&mut self, peer: ServerId) {
        let until = self.word_lasts();
        self.room.peers.insert(peer, until);
    }

    fn word_lasts(&self) -> Instant {
        self.now.instant + self.config.upkeep_interval * WORD_INTERVALS
    }

    /// Lets the leader know, or another lead, if this server is short of room.
    pub(super) fn look_after_room(&mut self) {
        let now = self.now.instant;
        let until = self.word_lasts();
        for (peer, word) in &mut self.room.peers {
            // Of one that is not heard its last word holds.
            if !self.links.contains(peer) {
                *word = until;
            }
        }
        self.room.peers.retain(|_, word| *word > now);
        if !self.room.is_short {
            return;
        }
        if self.raft.role() != Role::Leader {
            if let Some(to) = self.raft.leader() {
                self.outputs.push_back(Output::Send { to, message: Message::ShortOfRoom });
            }
            return;
        }
        let is_due = self.room.offered.is_none_or(|at| at + OFFER_INTERVAL <= now);
        if let Some(to) = self.roomiest().filter(|_| is_due) {
            self.room.offered = Some(now);
            self.raft.transfer(now, to).expect("it leads");
        }
    }

    /// The voter that may lead, has room, and whose log is most advanced.
    fn roomiest(&self) -> Option<ServerId> {
        let own = self.config.raft.id;
        let membership = self.raft.membership();
        self.raft
            .progress()
            .into_iter()
            .filter(|peer| peer.is_connected && membership.may_lead(peer.peer))
            .filter(|peer| self.room.has(peer.peer, own))
            // Of equals the one with the lowest id, so that the choice is the same each time.
            .max_by_key(|peer| (peer.persisted, peer.received, std::cmp::Reverse(peer.peer)))
            .map(|peer| peer.peer)
    }

    /// Whether a quorum has room for more.
    pub(super) fn has_room(&self) -> bool {
        let own = self.config.raft.id;
        // This is asked of every write.
        let nobody_is_short = !self.room.is_short && self.room.peers.is_empty();
        nobody_is_short || self.raft.membership().is_quorum(|server| self.room.has(server, own))
    }

    /// The rules by which `action` is to be applied. What is to be refused for want of room loses
    /// what it would have stored: it must not fill the log either.
    pub(super) fn rules_for(&self, action: &mut Action) -> Rules {
        let no_room = action.stores() && !self.has_room();
        if no_room {
            action.strip();
            return Rules { no_room, ..self.config.rules };
        }
        self.config.rules
    }
}
