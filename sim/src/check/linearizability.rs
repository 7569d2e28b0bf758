//! The cross-check: without a look at any zxid, one order explains what clients did to a znode and
//! were told (Wing and Gong, JPDC 1993; Lowe, "Testing for linearizability", 2017: with a memo).
//!
//! It guards against an error that server and zxid oracles share. Each znode is judged by itself.
//! Reads count only behind a `sync` of their connection, from its call on: other reads may show
//! what is past. What was never answered may happen at any time after its call, or never.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zokor_core::id::SessionId;
use zokor_core::proto::{CreateKind, ErrorCode, OpResult, Read, Request, Response, Write};

use super::write::order::Asked;
use super::{Verdict, must};
use crate::world::queue::Micros;

/// Runs with more clients are not judged.
pub const MOST_CLIENTS: usize = 8;
/// More operations on one znode are not judged.
const MOST_OPERATIONS: usize = 300;
/// More configurations are not tried.
const MOST_CONFIGURATIONS: usize = 50_000;

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Create(Option<Bytes>, Option<SessionId>),
    Delete(i32),
    Set(Option<Bytes>, i32),
    Check(i32),
    Read,
    /// The session ends: its ephemeral goes.
    End(SessionId),
}

/// What was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing.
    Unknown,
    /// It was done; the version, if it was told.
    Done(Option<i32>),
    /// The znode is not there.
    Missing,
    /// It is there already.
    Exists,
    /// It has another version.
    OtherVersion,
    /// It has children, so it is there.
    Full,
    /// It is there, with this version and perhaps this data.
    Shown(i32, Option<Option<Bytes>>),
}

/// One operation on one znode.
#[derive(Clone, Debug)]
struct Operation {
    call: Micros,
    /// `None` if it is open.
    back: Option<Micros>,
    act: Act,
    told: Told,
}

/// A znode, if it is there.
type State = Option<(Option<Bytes>, i32, Option<SessionId>)>;

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    Explained,
    Unexplained,
    GivenUp,
}

/// Everything that was done and told.
#[derive(Debug, Default)]
pub struct History {
    by_path: BTreeMap<String, Vec<Operation>>,
    /// When each session began, and what is known of its end.
    sessions: BTreeMap<SessionId, (Micros, Option<(Micros, Micros)>)>,
    /// Sequential znodes whose full names nobody was told.
    nameless: Vec<(String, Operation)>,
    /// Paths that go by themselves, or whose beginning does.
    reaped: Vec<String>,
}

impl History {
    /// A session was seen at `time`, perhaps for the first time.
    pub fn opened(&mut self, session: SessionId, time: Micros) {
        self.sessions.entry(session).or_insert((time, None));
    }

    /// A request was answered at `time` with `result`; the last `sync` of its connection that was
    /// answered by then was called at `synced`.
    pub fn replied(
        &mut self,
        session: SessionId,
        asked: &Asked,
        synced: Option<Micros>,
        (time, result): (Micros, &Result<Response, ErrorCode>),
    ) {
        let span = (asked.time, Some(time));
        match &*asked.request {
            Request::Write(Write::CloseSession) => {
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.1 = Some((asked.time, time));
                }
            }
            Request::Write(Write::Multi(writes)) => {
                if let Ok(Response::Multi(results)) = result {
                    let failed = results.iter().any(|part| matches!(part, OpResult::Error(_)));
                    for (write, part) in writes.iter().zip(results).filter(|_| !failed) {
                        self.done(session, span, write, part);
                    }
                }
            }
            Request::Write(write) => match result {
                Ok(response) => {
                    let part = match response {
                        Response::Path(path) => OpResult::Create(path.clone()),
                        Response::PathStat(path, stat) => OpResult::Create2(path.clone(), *stat),
                        Response::Stat(stat) => OpResult::SetData(*stat),
                        _ => OpResult::Delete,
                    };
                    self.done(session, span, write, &part);
                }
                Err(code) => self.failed(session, span, write, *code),
            },
            Request::Read(read) => {
                if let Some(synced) = synced {
                    self.read((synced.min(asked.time), Some(time)), read, result);
                }
            }
            _ => {}
        }
    }

    /// A request was never answered.
    pub fn unanswered(&mut self, session: SessionId, asked: &Asked) {
        let span = (asked.time, None);
        match &*asked.request {
            Request::Write(Write::Multi(writes)) => {
                writes.iter().for_each(|write| self.open(session, span, write));
            }
            Request::Write(write) => self.open(session, span, write),
            _ => {}
        }
    }

    /// Judges all znodes with few enough operations; returns how many could be.
    ///
    /// # Errors
    /// If no order explains what was told of one.
    pub fn judge(&self) -> Result<usize, super::Violation> {
        let mut judged = 0;
        for (path, operations) in &self.by_path {
            let gone = self.reaped.iter().any(|prefix| path.starts_with(prefix.as_str()));
            if gone || path == "/" || path.starts_with("/zookeeper") {
                continue;
            }
            let mut operations = operations.clone();
            operations.extend(self.nameless_at(path));
            operations.extend(self.ends(&operations));
            if operations.len() > MOST_OPERATIONS {
                continue;
            }
            operations.sort_by_key(|operation| operation.call);
            let search = search(&operations);
            explained(path, &operations, search)?;
            judged += usize::from(search == Search::Explained);
        }
        Ok(judged)
    }

    fn done(&mut self, session: SessionId, span: Span, write: &Write, part: &OpResult) {
        let version = match part {
            OpResult::Create2(_, stat) | OpResult::SetData(stat) => Some(stat.version),
            _ => None,
        };
        let path = match part {
            OpResult::Create(path) | OpResult::Create2(path, _) => Some(path.to_string()),
            _ => None,
        };
        self.push(session, span, write, path, Told::Done(version));
    }

    fn failed(&mut self, session: SessionId, span: Span, write: &Write, code: ErrorCode) {
        let creates = matches!(write, Write::Create(_));
        let sequential = matches!(write, Write::Create(create) if create.flags & 2 != 0);
        let told = match code {
            // Of a create, it is the parent that is missing.
            ErrorCode::NoNode if !creates => Told::Missing,
            ErrorCode::NodeExists if !sequential => Told::Exists,
            ErrorCode::BadVersion => Told::OtherVersion,
            ErrorCode::NotEmpty => Told::Full,
            _ => return,
        };
        self.push(session, span, write, None, told);
    }

    fn open(&mut self, session: SessionId, span: Span, write: &Write) {
        self.push(session, span, write, None, Told::Unknown);
    }

    fn push(
        &mut self,
        session: SessionId,
        (call, back): Span,
        write: &Write,
        name: Option<String>,
        told: Told,
    ) {
        let (path, act) = match write {
            Write::Create(create) => {
                let ephemeral = create.flags & 1 != 0 && create.flags < 4;
                let owner = ephemeral.then_some(session);
                let by_itself = matches!(create.kind, CreateKind::Container | CreateKind::Ttl);
                if by_itself || create.flags >= 4 {
                    self.reaped.push(create.path.to_string());
                }
                (&create.path, Act::Create(create.data.clone(), owner))
            }
            Write::Delete { path, version } => (path, Act::Delete(*version)),
            Write::SetData { path, data, version } => (path, Act::Set(data.clone(), *version)),
            Write::Check { path, version } => (path, Act::Check(*version)),
            Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => return,
        };
        let sequential = matches!(write, Write::Create(create) if matches!(create.flags, 2 | 3));
        let operation = Operation { call, back, act, told };
        match name {
            None if sequential => self.nameless.push((path.to_string(), operation)),
            name => {
                let path = name.unwrap_or_else(|| path.to_string());
                self.by_path.entry(path).or_default().push(operation);
            }
        }
    }

    fn read(&mut self, (call, back): Span, read: &Read, result: &Result<Response, ErrorCode>) {
        let (Read::Exists { path, .. } | Read::GetData { path, .. }) = read else { return };
        let told = match result {
            Ok(Response::Stat(stat)) => Told::Shown(stat.version, None),
            Ok(Response::Data(data, stat)) => {
                Told::Shown(stat.version, Some(data.clone().map(Bytes::from)))
            }
            Err(ErrorCode::NoNode) => Told::Missing,
            _ => return,
        };
        let operation = Operation { call, back, act: Act::Read, told };
        self.by_path.entry(path.to_string()).or_default().push(operation);
    }

    /// A znode whose name nobody was told may be this one.
    fn nameless_at(&self, path: &str) -> impl Iterator<Item = Operation> {
        let fits = |prefix: &str| {
            let digits = path.strip_prefix(prefix);
            digits.is_some_and(|d| d.len() >= 10 && d.bytes().all(|b| b.is_ascii_digit()))
        };
        let fitting = self.nameless.iter().filter(move |(prefix, _)| fits(prefix));
        fitting.map(|(_, operation)| operation.clone())
    }

    /// The ends of the sessions that may have owned it.
    fn ends(&self, operations: &[Operation]) -> Vec<Operation> {
        let owners: BTreeSet<SessionId> = operations
            .iter()
            .filter_map(|operation| match operation.act {
                Act::Create(_, owner) => owner,
                _ => None,
            })
            .collect();
        let end = |session: SessionId| {
            let (begun, ended) = self.sessions.get(&session).copied().unwrap_or_default();
            let (call, back) = ended.map_or((begun, None), |(call, back)| (call, Some(back)));
            let told = if back.is_some() { Told::Done(None) } else { Told::Unknown };
            Operation { call, back, act: Act::End(session), told }
        };
        owners.into_iter().map(end).collect()
    }
}

/// When an operation was called and came back.
type Span = (Micros, Option<Micros>);

fn explained(path: &str, operations: &[Operation], search: Search) -> Verdict {
    must("one order explains all (linearizability)", search != Search::Unexplained, || {
        format!("no order explains what was told of {path}: {operations:?}")
    })
}

/// Looks for an order of `operations`, which stand in the order of their calls.
fn search(operations: &[Operation]) -> Search {
    let mut seen: BTreeSet<(Vec<u64>, State)> = BTreeSet::new();
    let mut left = vec![(vec![0; operations.len() / 64 + 1], None)];
    while let Some((done, state)) = left.pop() {
        if seen.len() >= MOST_CONFIGURATIONS {
            return Search::GivenUp;
        }
        if !seen.insert((done.clone(), state.clone())) {
            continue;
        }
        let is_done = |n: usize| done[n / 64] >> (n % 64) & 1 == 1;
        let waiting = (0..operations.len()).filter(|&n| !is_done(n));
        let first_back = waiting.clone().filter_map(|n| operations[n].back).min();
        let Some(first_back) = first_back else {
            return Search::Explained;
        };
        // Whatever was called before the first of them came back may be next.
        let mut next: Vec<usize> =
            waiting.take_while(|&n| operations[n].call <= first_back).collect();
        // What came back first is tried first, what is open last.
        next.sort_by_key(|&n| std::cmp::Reverse(operations[n].back.unwrap_or(Micros::MAX)));
        for n in next {
            if let Some(after) = step(&state, &operations[n]) {
                let mut done = done.clone();
                done[n / 64] |= 1 << (n % 64);
                left.push((done, after));
            }
        }
    }
    Search::Unexplained
}

/// What the znode is after `operation`; `None` if it cannot be next. What is open and would change
/// nothing need not be next.
fn step(state: &State, operation: &Operation) -> Option<State> {
    let fits = |wanted: i32, found: i32| wanted == -1 || wanted == found;
    let same = || Some(state.clone());
    match (&operation.act, &operation.told, state) {
        (Act::Create(data, owner), Told::Done(version), None) => {
            version.is_none_or(|n| n == 0).then(|| Some((data.clone(), 0, *owner)))
        }
        (Act::Create(data, owner), Told::Unknown, None) => Some(Some((data.clone(), 0, *owner))),
        (Act::Create(..), Told::Exists, Some(_)) => same(),
        (Act::Delete(wanted), Told::Done(_) | Told::Unknown, Some((_, version, _)))
            if fits(*wanted, *version) =>
        {
            Some(None)
        }
        (Act::Set(data, wanted), Told::Done(told), Some((_, version, owner)))
            if fits(*wanted, *version) && told.is_none_or(|told| told == version + 1) =>
        {
            Some(Some((data.clone(), version + 1, *owner)))
        }
        (Act::Set(data, wanted), Told::Unknown, Some((_, version, owner)))
            if fits(*wanted, *version) =>
        {
            Some(Some((data.clone(), version + 1, *owner)))
        }
        (Act::Check(wanted), Told::Done(_), Some((_, version, _))) if fits(*wanted, *version) => {
            same()
        }
        (Act::Delete(_) | Act::Set(..) | Act::Check(_) | Act::Read, Told::Missing, None) => same(),
        (
            Act::Delete(wanted) | Act::Set(_, wanted) | Act::Check(wanted),
            Told::OtherVersion,
            Some((_, version, _)),
        ) if !fits(*wanted, *version) => same(),
        (Act::Delete(_), Told::Full, Some(_)) => same(),
        (Act::Read, Told::Shown(told, shown), Some((data, version, _)))
            if told == version && shown.as_ref().is_none_or(|shown| shown == data) =>
        {
            same()
        }
        (Act::End(session), _, Some((_, _, owner))) if *owner == Some(*session) => Some(None),
        (Act::End(_), Told::Done(_), _) => same(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
