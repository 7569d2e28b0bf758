//! What is shown of a folder, as text and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zokor_core::db::{Action, LocalWork, RestoreStep, Txn};
use zokor_core::proto::{CreateKind, Write, Zxid};
use zokor_core::raft::{Entry, EntryId, Index, Payload};
use zokor_core::replica::{Snapshot, zxid_after};
use zokor_net::storage::{Error, Inspection, Record, RecordKind};

/// A folder's content with the zxids that follow from it.
pub(super) struct Shown<'a> {
    found: &'a Inspection,
    zxids: BTreeMap<EntryId, Zxid>,
}

impl<'a> Shown<'a> {
    /// Computes the zxids: they are read off the log, from a snapshot or from the beginning on.
    pub(super) fn new(found: &'a Inspection) -> Self {
        let mut zxids = BTreeMap::new();
        let first = found.entries.first().map_or(Index::ZERO, |entry| entry.id.index);
        let base = found
            .snapshots
            .iter()
            .map(|facts| (facts.meta.last.index, facts.zxid))
            .find(|(index, _)| index.next() >= first);
        let base = if first == Index(1) { Some((Index::ZERO, Zxid::ZERO)) } else { base };
        if let Some((index, mut zxid)) = base {
            for entry in found.entries.iter().filter(|entry| entry.id.index > index) {
                zxid = zxid_after(zxid, entry);
                zxids.insert(entry.id, zxid);
            }
        }
        Shown { found, zxids }
    }

    /// All of it as one object; the records only if asked for.
    pub(super) fn to_json(&self, with_records: bool) -> Value {
        let found = self.found;
        let segments = found.segments.iter().map(|segment| {
            json!({
                "file": segment.name, "bytes": segment.n_bytes, "next_index": segment.next.0,
                "term": segment.hard_state.term.0,
                "vote": segment.hard_state.vote.map(|vote| vote.0),
            })
        });
        let snapshots = found.snapshots.iter().map(|facts| {
            json!({
                "file": facts.name, "bytes": facts.n_bytes, "index": facts.meta.last.index.0,
                "term": facts.meta.last.term.0, "zxid": hex(facts.zxid),
                "znodes": facts.n_znodes, "sessions": facts.n_sessions,
                "digest": format!("{:016x}", facts.digest),
            })
        });
        let entries = &found.entries;
        let mut whole = json!({
            "server": found.server.0,
            "created_ms": found.created.0,
            "ensemble": format!("{:016x}", found.ensemble),
            "durable_batch": found.durable_batch,
            "first_index": entries.first().map(|entry| entry.id.index.0),
            "last_index": entries.last().map(|entry| entry.id.index.0),
            "torn_bytes": found.torn_bytes,
            "segments": segments.collect::<Vec<_>>(),
            "snapshots": snapshots.collect::<Vec<_>>(),
            "damage": found.damage.iter().map(damage).collect::<Vec<_>>(),
        });
        if with_records {
            whole["records"] = found.records.iter().map(|record| self.record(record)).collect();
        }
        whole
    }

    /// All of it as text; the records only if asked for.
    pub(super) fn print(&self, with_records: bool) {
        let found = self.found;
        println!("server       {}", found.server);
        println!("ensemble     {:016x}", found.ensemble);
        for segment in &found.segments {
            let (next, term) = (segment.next, segment.hard_state.term);
            println!("segment      {}, from index {next}, term {term}", segment.name);
        }
        for facts in &found.snapshots {
            println!(
                "snapshot     {}, index {} of term {}, zxid {}, {} znodes, {} sessions, digest \
                 {:016x}",
                facts.name,
                facts.meta.last.index,
                facts.meta.last.term,
                facts.zxid,
                facts.n_znodes,
                facts.n_sessions,
                facts.digest
            );
        }
        if with_records {
            println!("INDEX TERM ZXID SESSION KIND PATHS");
            for record in &found.records {
                let shown = self.record(record);
                let cell = |key: &str| match &shown[key] {
                    Value::Null => "-".to_owned(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let paths = shown["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
                let paths: Vec<String> = paths.iter().map(Value::to_string).collect();
                let keys = ["index", "term", "zxid", "session", "kind"];
                println!("{} {}", keys.map(cell).join(" "), paths.join(" "));
            }
        }
        if let (Some(first), Some(last)) = (found.entries.first(), found.entries.last()) {
            println!("log          index {} to {}", first.id.index, last.id.index);
        }
        println!("durable      {} batches are noted as such", found.durable_batch);
        if found.torn_bytes > 0 {
            println!("unfinished   {} bytes behind the log's end", found.torn_bytes);
        }
        for error in &found.damage {
            println!("DAMAGE       {error}");
        }
    }

    fn record(&self, record: &Record) -> Value {
        let mut shown = match &record.kind {
            RecordKind::Entry(entry) => {
                let mut shown = entry_of(entry);
                let zxid = self.zxids.get(&entry.id).map(|zxid| hex(*zxid));
                shown["zxid"] = json!(zxid);
                shown
            }
            RecordKind::Truncate(last) => json!({ "kind": "truncate", "index": last.0 }),
            RecordKind::Reset(last) => {
                json!({ "kind": "reset", "index": last.index.0, "term": last.term.0 })
            }
            RecordKind::HardState(state) => {
                let vote = state.vote.map(|vote| vote.0);
                json!({ "kind": "hard state", "term": state.term.0, "vote": vote })
            }
        };
        shown["file"] = json!(record.file);
        shown["offset"] = json!(record.offset);
        shown["batch"] = json!(record.batch);
        shown
    }
}

fn entry_of(entry: &Entry<Txn>) -> Value {
    let (kind, time, session, paths) = match &entry.payload {
        Payload::Blank => ("blank", None, None, Vec::new()),
        Payload::Membership(_) => ("membership", None, None, Vec::new()),
        Payload::Command(txn) => {
            let (kind, session, paths) = action(&txn.action);
            (kind, Some(txn.time.0), session, paths)
        }
    };
    json!({
        "index": entry.id.index.0, "term": entry.id.term.0, "kind": kind, "time_ms": time,
        "session": session.map(|session| format!("0x{session:x}")), "paths": paths,
    })
}

/// What an action is, whose it is, and which paths it is about.
fn action(action: &Action) -> (&'static str, Option<i64>, Vec<String>) {
    match action {
        Action::Write { author, write }
        | Action::Local { author, work: LocalWork::Write(write), .. } => {
            let mut paths = Vec::new();
            let kind = write_of(write, &mut paths);
            (kind, Some(author.session.0), paths)
        }
        Action::Open { session, .. } => ("open session", Some(session.0), Vec::new()),
        Action::Attach { session, .. } => ("attach session", Some(session.0), Vec::new()),
        Action::Expire { session, .. } => ("expire session", Some(session.0), Vec::new()),
        Action::Reap { path, .. } => ("reap", None, vec![path.to_string()]),
        Action::Enroll { .. } => ("enroll lane", None, Vec::new()),
        Action::Local { author, work: LocalWork::Upgrade { .. }, .. } => {
            ("upgrade session", Some(author.session.0), Vec::new())
        }
        Action::BeginRestore { .. } => ("begin restore", None, Vec::new()),
        Action::Restore { step: RestoreStep::Piece { znodes, .. }, .. } => {
            let paths = znodes.iter().map(|znode| znode.path.to_string());
            ("restore piece", None, paths.collect())
        }
        Action::Restore { step: RestoreStep::End { .. }, .. } => ("end restore", None, Vec::new()),
        Action::AbandonRestore { .. } => ("give up restore", None, Vec::new()),
        Action::Describe { .. } => ("describe ensemble", None, vec!["/zookeeper/config".into()]),
    }
}

fn write_of(write: &Write, paths: &mut Vec<String>) -> &'static str {
    let (kind, path) = match write {
        Write::Create(create) => {
            let kind = match create.kind {
                CreateKind::Create => "create",
                CreateKind::Create2 => "create2",
                CreateKind::Container => "createContainer",
                CreateKind::Ttl => "createTTL",
            };
            (kind, &create.path)
        }
        Write::Delete { path, .. } => ("delete", path),
        Write::SetData { path, .. } => ("setData", path),
        Write::SetAcl { path, .. } => ("setACL", path),
        Write::Check { path, .. } => ("check", path),
        Write::Multi(writes) => {
            // None of them is a multi.
            for write in writes {
                write_of(write, paths);
            }
            return "multi";
        }
        Write::CloseSession => return "closeSession",
    };
    paths.push(path.to_string());
    kind
}

/// Damage, with file and offset where they are known.
fn damage(error: &Error) -> Value {
    let (file, offset) = match error {
        Error::Damaged { file, offset, .. } => (Some(file), Some(*offset)),
        Error::SnapshotDamaged { file, .. }
        | Error::Newer { file, .. }
        | Error::SnapshotLost { file, .. } => (Some(file), None),
        _ => (None, None),
    };
    json!({ "file": file, "offset": offset, "what": error.to_string() })
}

/// A snapshot by itself.
pub(super) fn state_of(snapshot: &Snapshot) -> Value {
    json!({
        "index": snapshot.meta.last.index.0,
        "term": snapshot.meta.last.term.0,
        "zxid": hex(snapshot.zxid),
        "znodes": snapshot.image.node_count(),
        "sessions": snapshot.image.sessions().count(),
        "digest": format!("{:016x}", snapshot.image.digest()),
    })
}

/// Prints one as text.
pub(super) fn print_state(state: &Value) {
    for key in ["index", "term", "zxid", "znodes", "sessions", "digest"] {
        let value = state[key].as_str().map_or_else(|| state[key].to_string(), str::to_owned);
        println!("{key:<12} {value}");
    }
}

fn hex(zxid: Zxid) -> String {
    format!("0x{:x}", zxid.0)
}
