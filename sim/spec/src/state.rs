//! The whole ensemble, and the transition function.
//!
//! Every branch on the kind of action is taken here; the rules stand in [`crate::election`],
//! [`crate::replication`], [`crate::storage`] and [`crate::reading`].

use crate::action::{Action, Broken};
use crate::log::{Log, Membership, Servers};
use crate::said::Said;
use crate::server::Server;

/// Why an action is not allowed, in a few words.
pub type Refusal = &'static str;

/// The ensemble at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// Who votes before an entry says otherwise.
    pub initial: Membership,
    /// The servers.
    pub servers: Vec<Server>,
    /// What was said.
    pub said: Said,
}

impl State {
    /// `count` servers that have just started, with empty disks, in the membership `initial`.
    pub fn new(count: usize, initial: Membership) -> Self {
        assert!(count <= 64, "a set of servers has room for 64");
        let server = Server { up: true, ..Server::default() };
        State { initial, servers: vec![server; count], said: Said::default() }
    }

    /// Takes one action, by the rules but for the one that is `broken`.
    ///
    /// # Errors
    /// If the rules do not allow it; then nothing has changed.
    pub fn take(&mut self, action: &Action, broken: Option<Broken>) -> Result<(), Refusal> {
        if let Some(server) = action.server() {
            let wants_up = !matches!(action, Action::Restart { .. });
            let state = self.servers.get(server).ok_or("there is no such server")?;
            ensure(state.up == wants_up, "a server acts only while it runs")?;
        }
        match *action {
            Action::Campaign { server, term } => self.campaign(server, term),
            Action::Request { server, term, last } => self.request(server, term, last, broken),
            Action::Vote { server, term, to } => self.vote(server, term, to, broken),
            Action::Grant { server, term, to } => self.grant(server, term, to, broken),
            Action::Adopt { server, term } => self.adopt(server, term),
            Action::Win { server } => self.win(server, broken),
            Action::StepDown { server } => self.step_down(server),
            Action::Propose { server, change } => self.propose(server, change, broken),
            Action::Offer { server, term, last, commit } => self.offer(server, term, last, commit),
            Action::Accept { server, term, previous, upto } => {
                self.accept(server, term, (previous, upto), broken)
            }
            Action::Form { server } => self.form(server),
            Action::Acknowledge { server, term, received, durable } => {
                self.acknowledge(server, term, (received, durable), broken)
            }
            Action::Commit { server, upto } => self.commit(server, upto, broken),
            Action::Learn { server, term, upto } => self.learn(server, term, upto),
            Action::Flush { server, ref writes } => self.flush(server, writes),
            Action::Sync { server, writes } => self.sync(server, writes),
            Action::Crash { server, writes, snapshot } => self.crash(server, writes, snapshot),
            Action::Restart { server } => self.restart(server, broken),
            Action::Checkpoint { server, upto, term } => self.checkpoint(server, upto, term),
            Action::Checkpointed { server } => self.checkpointed(server),
            Action::Install { server, upto } => self.install(server, upto),
            Action::Ask => self.ask(),
            Action::Begin { server, round } => self.begin(server, round),
            Action::Answer { server, term, round } => self.answer(server, term, round),
            Action::Readable { server, ask, index } => self.readable(server, ask, index, broken),
        }
    }

    /// The membership that `log` puts in force.
    pub(crate) fn membership(&self, log: &Log) -> Membership {
        log.membership(self.initial, log.len()).1
    }

    /// The servers of which `holds` is true.
    pub(crate) fn those(&self, holds: impl Fn(usize) -> bool) -> Servers {
        Servers::of((0..self.servers.len()).filter(|&server| holds(server)))
    }

    /// Whether all that `server` has in memory was handed to its disk.
    pub fn is_flushed(&self, server: usize) -> bool {
        let Server { asked, .. } = &self.servers[server];
        *asked == self.servers[server].tip()
    }
}

/// An error unless `holds`.
pub(crate) fn ensure(holds: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(otherwise) }
}
