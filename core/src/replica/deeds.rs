//! What clients of this server wished to change and what came of it, and what went with sessions
//! that ended: the ground of an audit.
//!
//! Invariants: nothing is noted unless the server is set to. A write is noted once, by the server
//! over whose connection it came, when it is applied, whether that connection still stands or not;
//! what goes with a session is noted by every server.
//! Source: `zookeeper: FinalRequestProcessor`, `DataTree.deleteNodes`.

use std::collections::BTreeMap;

use crate::db::{Action, Applied, ChangeKind, LocalWork, Outcome, Txn};
use crate::id::{SessionId, Token};
use crate::proto::{ErrorCode, Identities, Response, Text, Write};

/// One thing that was done, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A client of this server asked for a write.
    Write {
        /// Its session.
        session: SessionId,
        /// Who it was when it asked: its address first.
        identities: Identities,
        /// What it asked for; never the end of its session.
        write: Box<Write>,
        /// What it heard, or would have.
        result: Result<Response, ErrorCode>,
    },
    /// A client of this server asked for another membership.
    Reconfig {
        /// Its session.
        session: SessionId,
        /// Who it was when it asked: its address first.
        identities: Identities,
        /// Whether it got what it asked for.
        is_done: bool,
    },
    /// A session of whatever server was closed or has expired.
    Ended {
        /// Which.
        session: SessionId,
        /// The ephemeral znodes that went with it; not empty.
        deleted: Vec<Text>,
    },
}

/// What was noted since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    is_on: bool,
    /// The attachments that are, or were, those of a connection of this server, until their session
    /// ends or is attached anew.
    homes: BTreeMap<SessionId, Token>,
    list: Vec<Deed>,
}

impl Deeds {
    pub(super) fn new(is_on: bool) -> Self {
        Deeds { is_on, ..Deeds::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// A connection of this server speaks for the session, under this token of the log.
    pub(super) fn attached_here(&mut self, session: SessionId, token: Token) {
        if self.is_on {
            self.homes.insert(session, token);
        }
    }

    /// Another server's does, or one that has gone already.
    pub(super) fn attached_elsewhere(&mut self, session: SessionId) {
        self.homes.remove(&session);
    }

    /// The state has jumped: sessions whose attachment is in force no longer are not of here.
    pub(super) fn jumped(&mut self, token_of: impl Fn(SessionId) -> Option<Token>) {
        self.homes.retain(|session, token| token_of(*session) == Some(*token));
    }

    /// A txn was applied; `is_own_lane` says whether it is of a local session of this process.
    pub(super) fn applied(&mut self, txn: &Txn, applied: &Applied, is_own_lane: bool) {
        match (&txn.action, &applied.outcome) {
            (Action::Write { author, write: Write::CloseSession }, Outcome::Answered(Ok(_))) => {
                self.ended(author.session, applied);
            }
            (Action::Expire { session, .. }, Outcome::Expired(_)) => self.ended(*session, applied),
            (Action::Write { author, write }, Outcome::Answered(result))
                if self.homes.get(&author.session) == Some(&author.token) =>
            {
                self.wrote(author.session, &author.identities, write, result.clone());
            }
            (
                Action::Local { author, work: LocalWork::Write(write), .. },
                Outcome::Answered(result),
            ) if is_own_lane => {
                self.wrote(author.session, &author.identities, write, result.clone());
            }
            _ => {}
        }
    }

    /// A client asked for a write, and this came of it.
    pub(super) fn wrote(
        &mut self,
        session: SessionId,
        identities: &Identities,
        write: &Write,
        result: Result<Response, ErrorCode>,
    ) {
        if self.is_on && *write != Write::CloseSession {
            let (identities, write) = (identities.clone(), Box::new(write.clone()));
            self.list.push(Deed::Write { session, identities, write, result });
        }
    }

    /// A client asked for another membership.
    pub(super) fn reconfigured(
        &mut self,
        session: SessionId,
        identities: &Identities,
        is_done: bool,
    ) {
        if self.is_on {
            self.list.push(Deed::Reconfig { session, identities: identities.clone(), is_done });
        }
    }

    pub(super) fn take(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.list)
    }

    fn ended(&mut self, session: SessionId, applied: &Applied) {
        self.homes.remove(&session);
        let changes = applied.changes.iter();
        let deleted = changes.filter(|change| change.kind == ChangeKind::Deleted);
        let deleted: Vec<Text> = deleted.map(|change| change.path.clone()).collect();
        if !deleted.is_empty() {
            self.list.push(Deed::Ended { session, deleted });
        }
    }
}
