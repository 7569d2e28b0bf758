//! A restore that an operator asked of this server, from its begin to its end.
//!
//! Invariant: what is not applied stays here and is sent again, in order, to every new leader; so
//! a restore survives elections, and each step enters the state once. Whoever asked for it is told
//! how it ended, once, unless this server ends before.

use std::time::Duration;

use crate::db::{Action, Prepared, RestoreError};
use crate::id::{Nonce, RestoreId, Sequence, Token};
use crate::proto::Zxid;
use crate::time::Instant;

/// Steps under way at a time: about four megabytes.
const WINDOW: usize = 8;
/// How often a beginning is tried anew that another came before.
const MAX_TRIES: u32 = 16;
/// With nothing applied for so long, the asker is told that it is not known how it ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How a restore that was asked for has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreEnd {
    /// The state is that of the snapshot, on every server as it comes to this zxid.
    Done {
        /// The zxid.
        zxid: Zxid,
    },
    /// The state is as it was.
    Failed(RestoreError),
    /// Another restore is under way. The state is not touched by this one.
    Busy,
    /// This server cannot tell whether it was done, or will be: there was no quorum for too long,
    /// or this server was too far behind. Ask again when it serves.
    Unknown,
}

/// What is wanted, and how far it has come.
#[derive(Debug)]
pub(super) struct Restoring {
    pub(super) id: RestoreId,
    prepared: Prepared,
    phase: Phase,
    /// When something of it was last applied here.
    pub(super) progressed: Instant,
}

#[derive(Debug)]
enum Phase {
    /// It is to begin.
    Asked { action: Action, nonce: Nonce, sent: Instant, tries: u32 },
    /// It has begun: so many steps are applied, and so many were sent.
    Begun { token: Token, n_applied: usize, n_sent: usize, sent: Instant },
}

impl Restoring {
    /// Asks for the beginning, after the last restore that is known.
    pub(super) fn new(
        id: RestoreId,
        prepared: Prepared,
        replaces: Token,
        nonce: Nonce,
        now: Instant,
    ) -> Self {
        let action = Action::BeginRestore { replaces, nonce };
        let phase = Phase::Asked { action, nonce, sent: now, tries: 1 };
        Restoring { id, prepared, phase, progressed: now }
    }

    /// What is sent first.
    pub(super) fn first_action(&self) -> Option<Action> {
        match &self.phase {
            Phase::Asked { action, .. } => Some(action.clone()),
            Phase::Begun { .. } => None,
        }
    }

    /// Whether this attempt is the one under way.
    pub(super) fn is_asked(&self, attempt: Nonce) -> bool {
        matches!(&self.phase, Phase::Asked { nonce, .. } if *nonce == attempt)
    }

    /// Whether this restore is the one that began at `token`.
    pub(super) fn is_of(&self, token: Token) -> bool {
        matches!(&self.phase, Phase::Begun { token: own, .. } if *own == token)
    }

    /// Whether it has begun, and has this step still to come.
    pub(super) fn waits_for(&self, token: Token, number: Sequence) -> bool {
        matches!(&self.phase, Phase::Begun { token: own, n_applied, .. }
            if *own == token && number.0 > *n_applied as u64)
    }

    /// Tries anew; `None` if it was tried often enough.
    pub(super) fn try_again(
        &mut self,
        replaces: Token,
        nonce: Nonce,
        now: Instant,
    ) -> Option<Action> {
        let Phase::Asked { tries, .. } = self.phase else { return None };
        if tries >= MAX_TRIES {
            return None;
        }
        let action = Action::BeginRestore { replaces, nonce };
        self.phase = Phase::Asked { action: action.clone(), nonce, sent: now, tries: tries + 1 };
        Some(action)
    }

    /// It has begun.
    pub(super) fn begun(&mut self, token: Token, now: Instant) {
        self.progressed = now;
        self.phase = Phase::Begun { token, n_applied: 0, n_sent: 0, sent: now };
    }

    /// Steps up to this one are applied.
    pub(super) fn applied(&mut self, number: Sequence, now: Instant) {
        if let Phase::Begun { n_applied, n_sent, .. } = &mut self.phase {
            let number = usize::try_from(number.0).unwrap_or(usize::MAX);
            *n_applied = (*n_applied).max(number.min(self.prepared.steps().len()));
            *n_sent = (*n_sent).max(*n_applied);
            self.progressed = now;
        }
    }

    /// The steps that may be sent now.
    pub(super) fn next(&mut self, now: Instant) -> Vec<Action> {
        let Phase::Begun { n_applied, n_sent, sent, .. } = &mut self.phase else {
            return Vec::new();
        };
        let from = *n_sent;
        *n_sent = (*n_applied + WINDOW).min(self.prepared.steps().len()).max(from);
        *sent = now;
        let upto = *n_sent;
        (from..upto).filter_map(|n| self.step(n)).collect()
    }

    /// Everything that was sent and is not applied, in order, if it was sent before `before`.
    pub(super) fn resend(&mut self, before: Instant, now: Instant) -> Vec<Action> {
        match &mut self.phase {
            Phase::Asked { action, sent, .. } if *sent <= before => {
                *sent = now;
                vec![action.clone()]
            }
            Phase::Begun { n_applied, n_sent, sent, .. } if *sent <= before => {
                *sent = now;
                let (from, upto) = (*n_applied, *n_sent);
                (from..upto).filter_map(|n| self.step(n)).collect()
            }
            Phase::Asked { .. } | Phase::Begun { .. } => Vec::new(),
        }
    }

    fn step(&self, n: usize) -> Option<Action> {
        let Phase::Begun { token, .. } = self.phase else { return None };
        let step = self.prepared.steps().get(n)?.clone();
        Some(Action::Restore { token, number: Sequence(n as u64 + 1), step })
    }
}
