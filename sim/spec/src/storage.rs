//! Disks: writes in order, power cuts, restarts and snapshots.
//!
//! Invariant: a power cut leaves what was durable and a prefix of what was under way; a server that
//! starts knows nothing else.

use crate::action::Broken;
use crate::log::{Id, Log, Term};
use crate::server::{Role, Server, Tip, Write};
use crate::state::{Refusal, State, ensure};

impl State {
    /// Hands `writes` to the disk, which must bring it to what is in memory.
    pub(crate) fn flush(&mut self, server: usize, writes: &[Write]) -> Result<(), Refusal> {
        let state = &self.servers[server];
        let mut tip = state.asked;
        for write in writes {
            match *write {
                Write::Hard(term, vote) => {
                    ensure(term >= tip.term, "a durable term never falls")?;
                    (tip.term, tip.vote) = (term, vote);
                }
                Write::Reset(len) => {
                    ensure(len <= state.disk.snapshot.len(), "a log begins after a snapshot")?;
                    tip.last = state.log.prefix(len.min(state.log.len())).last();
                }
                Write::Cut(index) => {
                    let term = state.log.term_at(index).ok_or("what is kept is in the log")?;
                    ensure(index < tip.last.index, "there is nothing to cut off")?;
                    tip.last = Id { term, index };
                }
                Write::Append(entry) => {
                    let index = tip.last.index + 1;
                    ensure(state.log.entry(index) == Some(entry), "what is written is in the log")?;
                    tip.last = Id { term: entry.term, index };
                }
            }
        }
        let Tip { term, vote, last } = state.tip();
        ensure((tip.term, tip.vote) == (term, vote), "term and vote are written")?;
        ensure(tip.last == last, "the whole log is written")?;
        let state = &mut self.servers[server];
        state.pending.extend(writes);
        state.asked = tip;
        Ok(())
    }

    /// The disk has done its oldest writes.
    pub(crate) fn sync(&mut self, server: usize, writes: usize) -> Result<(), Refusal> {
        let state = &mut self.servers[server];
        ensure(writes <= state.pending.len(), "only what was asked for is done")?;
        for write in state.pending.drain(..writes) {
            state.disk.make(write);
        }
        Ok(())
    }

    /// The power is cut.
    pub(crate) fn crash(
        &mut self,
        server: usize,
        writes: usize,
        snapshot: bool,
    ) -> Result<(), Refusal> {
        ensure(!snapshot || self.servers[server].checkpoint.is_some(), "no snapshot is written")?;
        self.sync(server, writes)?;
        if snapshot {
            self.checkpointed(server)?;
        }
        let disk = std::mem::take(&mut self.servers[server].disk);
        self.servers[server] = Server { disk, ..Server::default() };
        Ok(())
    }

    /// Starts with what is on the disk. The log goes on after the snapshot if it holds the
    /// snapshot's last entry; else it is older, or in conflict, and goes.
    pub(crate) fn restart(&mut self, server: usize, broken: Option<Broken>) -> Result<(), Refusal> {
        let state = &mut self.servers[server];
        let disk = &mut state.disk;
        let covered = disk.snapshot.len();
        if !disk.log.agrees(&disk.snapshot, covered) {
            disk.log = disk.snapshot.clone();
        }
        let log = disk.log.clone();
        // A snapshot of a later term may be durable before that term is; in that there was no vote.
        let snapshot_term = disk.snapshot.last().term;
        let (term, vote) = match disk.term < snapshot_term {
            true => (snapshot_term, None),
            false => (disk.term, disk.vote),
        };
        let asked = Tip { term: disk.term, vote: disk.vote, last: log.last() };
        let commit = if broken == Some(Broken::CommitAtRestart) { log.len() } else { covered };
        let disk = std::mem::take(disk);
        let role = Role::Follower;
        let fresh = Server::default();
        *state = Server { up: true, term, vote, role, log, commit, asked, disk, ..fresh };
        let log = state.log.clone();
        if log.last().term > term {
            self.said.violates("a term is durable before an entry of it");
        }
        self.said.agree(&log, 0, commit, term);
        Ok(())
    }

    /// Begins to write a snapshot. It holds what is agreed on; its own, what is applied and so
    /// durable.
    pub(crate) fn checkpoint(
        &mut self,
        server: usize,
        upto: usize,
        term: Option<Term>,
    ) -> Result<(), Refusal> {
        let state = &self.servers[server];
        ensure(state.checkpoint.is_none(), "one snapshot at a time")?;
        let snapshot: Log = match term {
            None => {
                ensure(upto <= state.commit, "a snapshot holds what is agreed on")?;
                ensure(state.disk.holds(&state.log, upto), "what is applied is durable")?;
                state.log.prefix(upto)
            }
            Some(term) => {
                let ledger = self.said.ledgers.get(&term).ok_or("nobody leads that term")?;
                ensure(upto <= ledger.commit, "a snapshot holds what is agreed on")?;
                ledger.log.prefix(upto)
            }
        };
        self.servers[server].checkpoint = Some(snapshot);
        Ok(())
    }

    /// The snapshot is written; the longest one counts.
    pub(crate) fn checkpointed(&mut self, server: usize) -> Result<(), Refusal> {
        let state = &mut self.servers[server];
        let snapshot = state.checkpoint.take().ok_or("no snapshot is being written")?;
        if snapshot.len() >= state.disk.snapshot.len() {
            state.disk.snapshot = snapshot;
        }
        Ok(())
    }

    /// Puts a snapshot in force: the log gives way unless it has the snapshot's last entry.
    pub(crate) fn install(&mut self, server: usize, upto: usize) -> Result<(), Refusal> {
        let state = &self.servers[server];
        let snapshot = &state.disk.snapshot;
        ensure(upto <= snapshot.len(), "a snapshot is durable before it is in force")?;
        let keeps = state.commit >= upto || state.log.agrees(snapshot, upto);
        let log = if keeps { state.log.clone() } else { snapshot.prefix(upto) };
        let (before, commit, term) = (state.commit, state.commit.max(upto), state.term);
        self.said.agree(&log, before, commit, term);
        let state = &mut self.servers[server];
        state.log = log;
        state.commit = commit;
        Ok(())
    }
}
