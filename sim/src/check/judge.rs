//! Everything that is judged of the log, entry by entry, and of all clients together.
//!
//! Invariant: entries come in the order of the log, each once, as they are first committed
//! anywhere.

use zokor_core::db::{Action, Txn};
use zokor_core::id::Token;
use zokor_core::proto::Write;
use zokor_core::raft::{Entry, Payload};
use zokor_core::time::WallTime;

use super::Verdict;
use super::linearizability::History;
use super::session::identity::Ids;
use super::session::local::Locals;
use super::session::moved::Moves;
use super::session::{after_end, end, owner};
use super::tree::numbers::Numbers;
use super::tree::{multi, reaping};
use super::write::Writes;
use crate::model::{Model, Outcome, State, Step};

/// What the checks of log and clients remember.
#[derive(Debug, Default)]
pub struct Judge {
    /// Writes, asked for and answered.
    pub writes: Writes,
    /// Numbers of sequential znodes.
    pub numbers: Numbers,
    /// What one order must explain.
    pub history: History,
    /// Sessions that one server knows.
    pub locals: Locals,
    ids: Ids,
    moves: Moves,
}

impl Judge {
    /// `entry` is committed; the model has taken it at `index`.
    ///
    /// # Errors
    /// If it does what no entry may do.
    pub fn committed(&mut self, entry: &Entry<Txn>, index: usize, model: &Model) -> Verdict {
        let (before, step) = (&model.step(index - 1).state, model.step(index));
        let zxid = step.zxid;
        let time = match &entry.payload {
            Payload::Command(txn) => txn.time,
            Payload::Blank | Payload::Membership(_) => WallTime(0),
        };
        match &step.outcome {
            Outcome::Opened(session) => {
                self.ids.opened(*session)?;
                self.moves.attached(*session, zxid);
            }
            Outcome::Upgraded(session) => {
                self.ids.opened(*session)?;
                self.moves.attached(*session, zxid);
                let before = step.state.sessions[session].sequence;
                self.writes.upgraded(*session, Token(zxid.0), before);
            }
            Outcome::Attached(session) => {
                after_end::acted(*session, zxid, model.ended(*session))?;
                self.moves.attached(*session, zxid);
            }
            Outcome::Answered { author, write, .. } => {
                let session = author.session;
                after_end::acted(session, zxid, model.ended(session))?;
                if is_local(entry) {
                    self.locals.acted(session, zxid)?;
                    self.moves.wrote_locally(session, author.token, zxid)?;
                    return self.took_effect(before, step, time);
                }
                self.moves.wrote(session, author.token, zxid)?;
                if **write == Write::CloseSession {
                    end::ended(session, before, step)?;
                }
            }
            Outcome::Expired(session) => end::ended(*session, before, step)?,
            Outcome::Restored { revived, .. } => {
                revived.iter().for_each(|session| self.moves.attached(*session, zxid));
                return self.writes.took_effect(&step.outcome, step.zxid).and(owner::at(step));
            }
            Outcome::Reaped(..) | Outcome::Nothing => {}
        }
        self.took_effect(before, step, time)
    }

    fn took_effect(&mut self, before: &State, step: &Step, time: WallTime) -> Verdict {
        self.writes.took_effect(&step.outcome, step.zxid)?;
        owner::at(step)?;
        multi::took_effect(before, step)?;
        reaping::took_effect(before, time, step)
    }
}

fn is_local(entry: &Entry<Txn>) -> bool {
    matches!(&entry.payload, Payload::Command(Txn { action: Action::Local { .. }, .. }))
}
