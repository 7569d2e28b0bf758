//! Watches: a one-shot watch fires exactly once, for the first matching change, before any reply
//! that shows the change, and never without one (ZooKeeper: `DataTree`, programmer's guide; V1-V4,
//! V6, V8).

use std::collections::BTreeSet;

use zokor_core::proto::{ErrorCode, Event, EventKind, Read, Request, Response, Rewatch, Zxid};

use super::write::Writes;
use super::{Verdict, must};
use crate::model::{Change, ChangeKind, Model, State};

/// The watches of one connection, and the events that it is owed.
#[derive(Debug, Default)]
pub struct Watching {
    data: BTreeSet<String>,
    child: BTreeSet<String>,
    /// Changes up to this index are taken into account.
    index: usize,
    owed: Vec<(Zxid, EventKind, String)>,
    /// Events without a zxid, as `setWatches` makes them.
    replayed: BTreeSet<(EventKind, String)>,
}

impl Watching {
    /// A reply goes out.
    ///
    /// # Errors
    /// If an event that it is owed did not go out before it.
    pub fn replied(
        &mut self,
        request: &Request,
        zxid: Zxid,
        result: &Result<Response, ErrorCode>,
        model: &Model,
    ) -> Verdict {
        let Some(index) = model.index_of(zxid) else {
            return Ok(());
        };
        self.advance(index, model);
        // Nothing is owed to a session that ends.
        if Writes::closes(request) {
            return Ok(());
        }
        must("events before replies (V2)", self.owed.is_empty(), || {
            format!("a reply shows {zxid} before the events {:?}", self.owed)
        })?;
        let state = &model.step(index).state;
        if let Request::SetWatches(rewatch) = request {
            self.replay(rewatch, state)?;
        }
        must("no event without a cause (V4)", self.replayed.is_empty(), || {
            format!("events without a zxid: {:?}", self.replayed)
        })?;
        if let Request::Read(read) = request {
            self.register(read, result.is_ok());
        }
        Ok(())
    }

    /// An event goes out.
    ///
    /// # Errors
    /// If it is not owed, or an earlier one is missing.
    pub fn notified(&mut self, zxid: Zxid, event: &Event, model: &Model) -> Verdict {
        if zxid.0 == -1 {
            // A path in two lists may be told twice, as ZooKeeper does.
            self.replayed.insert((event.kind, event.path.to_string()));
            return Ok(());
        }
        let Some(index) = model.index_of(zxid) else {
            return must("no event without a cause (V4)", false, || {
                format!("{event:?} at {zxid}, which is not committed")
            });
        };
        if index > self.index {
            self.advance(index - 1, model);
            must("events in order (V3)", self.owed.is_empty(), || {
                format!("{event:?} at {zxid} comes before {:?}", self.owed)
            })?;
            self.advance(index, model);
        }
        let place = self.owed.iter().position(|(at, kind, path)| {
            (*at, *kind, path.as_str()) == (zxid, event.kind, &*event.path)
        });
        must("no event without a cause (V4)", place.is_some(), || {
            format!("{event:?} at {zxid} is not owed; owed is {:?}", self.owed)
        })?;
        self.owed.remove(place.expect("just seen"));
        Ok(())
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
        let path = change.path.as_str();
        let kind = match change.kind {
            ChangeKind::Created => EventKind::Created,
            ChangeKind::Deleted => EventKind::Deleted,
            ChangeKind::DataChanged => EventKind::DataChanged,
        };
        let by_data = self.data.remove(path);
        // A deletion is told once, even to a connection that watches data and children.
        let by_child = change.kind == ChangeKind::Deleted && self.child.remove(path);
        if by_data || by_child {
            self.owed.push((zxid, kind, path.to_owned()));
        }
        let parent = match path.rfind('/') {
            None | Some(0) => "/",
            Some(at) => &path[..at],
        };
        if change.kind != ChangeKind::DataChanged && self.child.remove(parent) {
            self.owed.push((zxid, EventKind::ChildrenChanged, parent.to_owned()));
        }
    }

    fn register(&mut self, read: &Read, found: bool) {
        match read {
            Read::Exists { path, watch: true } => {
                self.data.insert(path.to_string());
            }
            Read::GetData { path, watch: true } if found => {
                self.data.insert(path.to_string());
            }
            Read::GetChildren { path, watch: true, .. } if found => {
                self.child.insert(path.to_string());
            }
            _ => {}
        }
    }

    fn replay(&mut self, rewatch: &Rewatch, state: &State) -> Verdict {
        let mut expected = BTreeSet::new();
        let changed = |path: &str, by: fn(&zokor_core::proto::Stat) -> i64| {
            state.stat(path).map(|stat| by(&stat) > rewatch.relative_zxid)
        };
        for path in &rewatch.data {
            match changed(path, |stat| stat.mzxid) {
                None => drop(expected.insert((EventKind::Deleted, path.to_string()))),
                Some(true) => drop(expected.insert((EventKind::DataChanged, path.to_string()))),
                Some(false) => drop(self.data.insert(path.to_string())),
            }
        }
        for path in &rewatch.exist {
            match state.stat(path) {
                Some(_) => drop(expected.insert((EventKind::Created, path.to_string()))),
                None => drop(self.data.insert(path.to_string())),
            }
        }
        for path in &rewatch.child {
            match changed(path, |stat| stat.pzxid) {
                None => drop(expected.insert((EventKind::Deleted, path.to_string()))),
                Some(true) => drop(expected.insert((EventKind::ChildrenChanged, path.to_string()))),
                Some(false) => drop(self.child.insert(path.to_string())),
            }
        }
        let found = std::mem::take(&mut self.replayed);
        must("watches set again fire at once (V6)", found == expected, || {
            format!("{rewatch:?} makes {found:?}, should make {expected:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::db::{Action, Author, Txn};
    use zokor_core::id::{Nonce, Sequence, SessionId, Token};
    use zokor_core::proto::{Create, CreateKind, Write};
    use zokor_core::raft::{Entry, EntryId, Index, Payload, Term};
    use zokor_core::time::WallTime;

    use super::*;

    /// A blank, a session, `/a` created, `/b` created.
    fn model() -> Model {
        let session = SessionId(1 << 56);
        let open = Action::Open { session, password: [0; 16], timeout_ms: 1, nonce: Nonce(0) };
        let create = |path: &str, sequence| Action::Write {
            author: Author {
                session,
                token: Token((1 << 32) | 1),
                sequence: Sequence(sequence),
                identities: std::sync::Arc::from([]),
            },
            write: Write::Create(Create {
                path: path.into(),
                data: None,
                acl: Vec::new(),
                flags: 0,
                ttl_ms: -1,
                kind: CreateKind::Create,
            }),
        };
        let command = |action| Payload::Command(Txn { time: WallTime(0), action });
        let payloads =
            [Payload::Blank, command(open), command(create("/a", 1)), command(create("/b", 2))];
        let mut model = Model::new();
        for (n, payload) in payloads.into_iter().enumerate() {
            let id = EntryId { term: Term(1), index: Index(n as u64 + 1) };
            model.append(&Entry { id, payload });
        }
        model
    }

    fn zxid(counter: i64) -> Zxid {
        Zxid((1 << 32) | counter)
    }

    /// A connection that watched `/a` when it was missing.
    fn watching(model: &Model) -> Watching {
        let mut watching = Watching::default();
        let request = Request::Read(Read::Exists { path: "/a".into(), watch: true });
        watching.replied(&request, zxid(1), &Err(ErrorCode::NoNode), model).unwrap();
        watching
    }

    fn created(path: &str) -> Event {
        Event { kind: EventKind::Created, path: path.into() }
    }

    fn pong(watching: &mut Watching, at: i64, model: &Model) -> Verdict {
        watching.replied(&Request::Ping, zxid(at), &Ok(Response::Empty), model)
    }

    #[test]
    fn an_event_before_the_reply_is_right() {
        let model = model();
        let mut watching = watching(&model);
        assert!(watching.notified(zxid(2), &created("/a"), &model).is_ok());
        assert!(pong(&mut watching, 3, &model).is_ok());
    }

    #[test]
    fn a_reply_before_its_event_is_found() {
        let model = model();
        assert!(pong(&mut watching(&model), 2, &model).is_err());
    }

    #[test]
    fn an_event_twice_or_without_a_cause_is_found() {
        let model = model();
        assert!(watching(&model).notified(zxid(3), &created("/b"), &model).is_err());
        let mut twice = watching(&model);
        twice.notified(zxid(2), &created("/a"), &model).unwrap();
        assert!(twice.notified(zxid(2), &created("/a"), &model).is_err());
    }

    #[test]
    fn a_watch_set_again_must_fire_for_what_it_missed() {
        let model = model();
        let rewatch = Rewatch { exist: vec!["/a".into()], ..Rewatch::default() };
        let request = Request::SetWatches(rewatch);
        let mut silent = Watching::default();
        assert!(silent.replied(&request, zxid(2), &Ok(Response::Empty), &model).is_err());
        let mut right = Watching::default();
        right.notified(Zxid(-1), &created("/a"), &model).unwrap();
        assert!(right.replied(&request, zxid(2), &Ok(Response::Empty), &model).is_ok());
    }
}
