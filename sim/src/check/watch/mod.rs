//! Watches: what was promised to a connection is told to it once, in order, and before anything
//! that shows the change (ZooKeeper, programmer's guide: watches). V1-V8, a file each.

pub mod before_reply;
pub mod cause;
pub mod once;
pub mod order;
pub mod owed;
pub mod persistent;
pub mod removal;
pub mod rewatch;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use zokor_core::id::ConnId;
use zokor_core::proto::{ErrorCode, Event, EventKind, Identities, Read, Request, Response, Zxid};

use self::table::Table;
use super::Verdict;
use super::write::Writes;
use super::write::order::Asked;
use crate::model::{Change, Model, acl};

/// An event that a connection is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Of the change.
    pub zxid: Zxid,
    /// What it says.
    pub kind: EventKind,
    /// Of which path.
    pub path: String,
    /// Whether a watch that stays is among its causes.
    pub stays: bool,
    /// Whether it has to come: if the connection proved who it is at about that time, nobody can
    /// say whether it was allowed to hear of it.
    pub certain: bool,
}

impl Owed {
    fn is(&self, zxid: Zxid, event: &Event) -> bool {
        (self.zxid, self.kind, self.path.as_str()) == (zxid, event.kind, &*event.path)
    }
}

/// The watches of one connection, and the events that it is owed.
#[derive(Debug)]
pub struct Watching {
    conn: ConnId,
    table: Table,
    /// Changes up to this index are taken into account.
    index: usize,
    owed: Vec<Owed>,
    /// What was told of the last change that anything was told of.
    told: Vec<Owed>,
    /// Events without a zxid, as `setWatches` makes them.
    replayed: BTreeSet<(EventKind, String)>,
    /// Paths whose watches the client took away.
    removed: BTreeSet<String>,
    /// The session has ended, by its client's wish.
    ended: bool,
    /// What the connection had proven before the last answer, and what it has by now.
    identities: (Identities, Identities),
    /// Rare states that it came to, by the names of their probes.
    met: Vec<&'static str>,
}

impl Watching {
    /// A connection that has no watches.
    pub fn new(conn: ConnId, identities: Identities) -> Self {
        Watching {
            conn,
            table: Table::default(),
            index: 0,
            owed: Vec::new(),
            told: Vec::new(),
            replayed: BTreeSet::new(),
            removed: BTreeSet::new(),
            ended: false,
            identities: (identities.clone(), identities),
            met: Vec::new(),
        }
    }

    /// Takes the names of the rare states that it came to.
    pub fn take_met(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.met)
    }

    /// The connection has proven more. It shows no zxid, so when it did is known only roughly.
    pub fn proved(&mut self, identities: Identities) {
        self.identities.1 = identities;
    }

    /// How many watches it has, as its server counts them.
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// A reply goes out.
    ///
    /// # Errors
    /// If an event that it is owed did not go out before it, or the answer is about watches and
    /// wrong.
    pub fn replied(
        &mut self,
        asked: &Asked,
        zxid: Zxid,
        result: &Result<Response, ErrorCode>,
        model: &Model,
    ) -> Verdict {
        let Some(index) = model.index_of(zxid) else {
            return Ok(());
        };
        self.advance(index, model);
        self.identities.0 = self.identities.1.clone();
        self.owed.retain(|owed| owed.certain);
        if Writes::closes(&asked.request) {
            // What the end itself does is not owed to the session that ends.
            self.owed.retain(|owed| owed.zxid < zxid);
            self.ended = true;
        }
        persistent::none_missing(zxid, &self.owed)?;
        before_reply::none_missing(zxid, &self.owed)?;
        self.owed.clear();
        if let Request::SetWatches(rewatch) = &*asked.request {
            let state = &model.step(index).state;
            let found = std::mem::take(&mut self.replayed);
            rewatch::told(rewatch, found, state, &mut self.table)?;
            if rewatch::has_path_of_several_kinds(rewatch) {
                self.met.push("several kinds of watches on one path set again");
            }
        }
        cause::none_replayed(&self.replayed)?;
        match &*asked.request {
            Request::Read(read) => self.register(read, result),
            _ => Ok(()),
        }
    }

    /// An event goes out.
    ///
    /// # Errors
    /// If it is not owed, or an earlier one is missing.
    pub fn notified(&mut self, zxid: Zxid, event: &Event, model: &Model) -> Verdict {
        removal::none_after_the_end(self.conn, self.ended, event)?;
        if zxid.0 == -1 {
            // A path in two lists may be told twice, as ZooKeeper does.
            self.replayed.insert((event.kind, event.path.to_string()));
            return Ok(());
        }
        let index = model.index_of(zxid);
        cause::committed(zxid, event, index)?;
        let index = index.expect("just seen");
        if index > self.index {
            self.advance(index - 1, model);
            self.owed.retain(|owed| owed.certain);
            order::none_missing(zxid, event, &self.owed)?;
            // An event goes out as soon as the change is made, so it was made just now.
            self.identities.0 = self.identities.1.clone();
            self.advance(index, model);
            self.told.clear();
        }
        let Some(place) = self.owed.iter().position(|owed| owed.is(zxid, event)) else {
            once::not_told_before(zxid, event, &self.told)?;
            removal::not_removed(zxid, event, &self.removed)?;
            return cause::is_owed(zxid, event, &self.owed);
        };
        let owed = self.owed.remove(place);
        self.told.push(owed);
        Ok(())
    }

    /// The run ends; the server has applied the entry at `index`.
    ///
    /// # Errors
    /// If an event is missing.
    pub fn finished(&mut self, index: usize, model: &Model) -> Verdict {
        self.advance(index, model);
        self.owed.retain(|owed| owed.certain);
        owed::none_missing(self.conn, &self.owed)
    }

    fn advance(&mut self, index: usize, model: &Model) {
        while self.index < index {
            self.index += 1;
            let step = model.step(self.index);
            for change in &step.changes {
                self.fire(step.zxid, change);
            }
        }
    }

    fn fire(&mut self, zxid: Zxid, change: &Change) {
        for due in self.table.fire(change) {
            let list = if due.of_parent { &change.parent_acl } else { &change.acl };
            let may = |identities| acl::may(list, acl::READ, identities);
            // More identities never see less.
            if may(&self.identities.1) {
                let (kind, path, stays) = (due.kind, due.path.to_owned(), due.stays);
                let certain = may(&self.identities.0);
                self.owed.push(Owed { zxid, kind, path, stays, certain });
            } else {
                self.met.push(if due.stays {
                    "event of a lasting watch withheld by an ACL"
                } else if due.kind == EventKind::Created {
                    "event of a creation withheld by an ACL"
                } else {
                    // Whoever set it could read the znode then.
                    "ACL closed between a watch and its event"
                });
            }
        }
    }

    fn register(&mut self, read: &Read, result: &Result<Response, ErrorCode>) -> Verdict {
        match read {
            Read::Exists { path, watch: true }
                if matches!(result, Ok(_) | Err(ErrorCode::NoNode)) =>
            {
                self.table.watch_data(path);
            }
            Read::GetData { path, watch: true } if result.is_ok() => self.table.watch_data(path),
            Read::GetChildren { path, watch: true, .. } if result.is_ok() => {
                self.table.watch_children(path);
            }
            Read::AddWatch { path, mode } => {
                persistent::added(read, result)?;
                self.table.add(path, *mode);
                self.removed.remove(&**path);
            }
            Read::CheckWatches { path, kind } => {
                return removal::answered(read, result, self.table.has(path, *kind));
            }
            Read::RemoveWatches { path, kind } => {
                removal::answered(read, result, self.table.remove(path, *kind))?;
                if result.is_ok() {
                    self.met.push(removal::probe(*kind));
                }
                self.removed.insert(path.to_string());
            }
            _ => {}
        }
        Ok(())
    }
}
