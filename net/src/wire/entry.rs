//! Entries of the log as bytes: the body of a log record and of an append between servers. An entry
//! is encoded once, and the same bytes go to the disk and to every peer. `ENTRY.md` beside this
//! file describes each byte; change both in one commit.
//!
//! Invariant: an entry has one encoding. What decodes encodes to the same bytes again, so that
//! equal logs are equal bytes.

mod author;
mod restore;

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use zokor_core::db::{Action, Author, Lane, LocalWork, Rules, Txn};
use zokor_core::groups::Groups;
use zokor_core::id::{Nonce, Sequence, ServerId, SessionId, Token};
use zokor_core::proto::{Acl, AclList, Create, CreateKind, Ensemble, Member, Permissions, Write};
use zokor_core::raft::{Entry, EntryId, Index, Membership, Payload, Term};
use zokor_core::time::WallTime;

use super::compact::{
    Reader, put_count, put_fixed, put_optional_buffer, put_signed, put_text, put_varint,
};
use super::groups::{has_groups, put_groups, put_groups_of, take_groups, take_groups_of};
use super::{WireError, opcode, shared_open_acl};
use author::{put_author, put_id, take_author, take_id};

/// The first byte of every entry and action.
pub const VERSION: u8 = 1;

/// Appends an entry.
pub fn encode_entry(entry: &Entry<Txn>, out: &mut BytesMut) {
    out.put_u8(VERSION);
    put_varint(out, entry.id.term.0);
    put_varint(out, entry.id.index.0);
    match &entry.payload {
        Payload::Blank => out.put_u8(BLANK),
        Payload::Command(txn) => {
            // Most ensembles have no rules but the default ones.
            if txn.rules == Rules::default() {
                out.put_u8(COMMAND);
            } else {
                out.put_u8(RULED);
                out.put_u8(txn.rules.bits());
            }
            put_signed(out, txn.time.0);
            put_action(out, &txn.action);
        }
        Payload::Membership(membership) => {
            // Most ensembles decide by majority.
            let has_groups = has_groups(membership);
            out.put_u8(if has_groups { GROUPED } else { MEMBERSHIP });
            put_servers(out, &membership.voters);
            put_servers(out, &membership.outgoing);
            put_servers(out, &membership.learners);
            if has_groups {
                put_groups_of(out, membership);
            }
        }
    }
}

/// The entry that `bytes` hold. Its data and texts are slices of them.
///
/// # Errors
/// If the version is another, anything is cut or out of its range, or bytes are left.
pub fn decode_entry(bytes: Bytes) -> Result<Entry<Txn>, WireError> {
    let mut reader = Reader::new(bytes);
    check_version(&mut reader, "entry")?;
    let term = Term(reader.varint("term")?);
    let index = Index(reader.varint("index")?);
    let offset = reader.offset();
    let payload = match reader.byte("kind of entry")? {
        BLANK => Payload::Blank,
        COMMAND => Payload::Command(take_txn(&mut reader, Rules::default())?),
        RULED => {
            let offset = reader.offset();
            let bits = reader.byte("rules")?;
            let rules = Rules::from_bits(bits).filter(|&rules| rules != Rules::default());
            let rules = rules.ok_or_else(|| unknown("rules", offset, bits))?;
            Payload::Command(take_txn(&mut reader, rules)?)
        }
        MEMBERSHIP => Payload::Membership(take_membership(&mut reader)?),
        GROUPED => {
            let membership = take_membership(&mut reader)?;
            Payload::Membership(take_groups_of(&mut reader, membership)?)
        }
        kind => return Err(unknown("kind of entry", offset, kind)),
    };
    reader.finish("entry")?;
    Ok(Entry { id: EntryId { term, index }, payload })
}

/// A membership that decides by majority.
fn take_membership(reader: &mut Reader) -> Result<Membership, WireError> {
    let voters = take_servers(reader)?;
    let outgoing = take_servers(reader)?;
    let learners = take_servers(reader)?;
    Ok(Membership { outgoing, learners, ..Membership::of_voters(voters) })
}

fn take_txn(reader: &mut Reader, rules: Rules) -> Result<Txn, WireError> {
    let time = WallTime(reader.signed("time")?);
    Ok(Txn { time, rules, action: take_action(reader)? })
}

/// Appends an action by itself, as one server asks another to propose it.
pub fn encode_action(action: &Action, out: &mut BytesMut) {
    out.put_u8(VERSION);
    put_action(out, action);
}

/// The action that `bytes` hold.
///
/// # Errors
/// As for an entry.
pub fn decode_action(bytes: Bytes) -> Result<Action, WireError> {
    let mut reader = Reader::new(bytes);
    check_version(&mut reader, "action")?;
    let action = take_action(&mut reader)?;
    reader.finish("action")?;
    Ok(action)
}

/// Appends an ACL: shared with the encoding of images.
pub(super) fn put_acl(out: &mut BytesMut, acl: &[Acl]) {
    put_count(out, acl.len());
    for entry in acl {
        put_signed(out, i64::from(entry.permissions.0));
        put_id(out, &entry.id);
    }
}

/// An ACL. That of nearly all creates is recognised by its bytes, and costs nothing but a look at
/// them.
pub(super) fn take_acl(reader: &mut Reader) -> Result<AclList, WireError> {
    const OPEN: &[u8] = b"\x01\x3e\x05world\x06anyone";
    const MIN_SIZE: usize = 3;
    if reader.skip(OPEN) {
        return Ok(shared_open_acl());
    }
    let count = reader.count("acl", MIN_SIZE)?;
    let mut acl = Vec::with_capacity(count);
    for _ in 0..count {
        let permissions = Permissions(reader.signed32("permissions")?);
        acl.push(Acl { permissions, id: take_id(reader)? });
    }
    Ok(acl.into())
}

fn put_action(out: &mut BytesMut, action: &Action) {
    match action {
        Action::Write { author, write } => {
            out.put_u8(WRITE);
            put_author(out, author);
            put_write(out, write);
        }
        Action::Open { session, password, timeout_ms, nonce } => {
            out.put_u8(OPEN);
            put_fixed(out, session.0 as u64);
            out.put_slice(password);
            put_signed(out, i64::from(*timeout_ms));
            put_fixed(out, nonce.0);
        }
        Action::Attach { session, password, timeout_ms, replaces, nonce } => {
            out.put_u8(ATTACH);
            put_fixed(out, session.0 as u64);
            out.put_slice(password);
            put_signed(out, i64::from(*timeout_ms));
            put_signed(out, replaces.0);
            put_fixed(out, nonce.0);
        }
        Action::Expire { session, token } => {
            out.put_u8(EXPIRE);
            put_fixed(out, session.0 as u64);
            put_signed(out, token.0);
        }
        Action::Reap { path, unused_ms: 0 } => {
            out.put_u8(REAP);
            put_text(out, path);
        }
        Action::Reap { path, unused_ms } => {
            out.put_u8(REAP_UNUSED);
            put_text(out, path);
            put_signed(out, *unused_ms);
        }
        Action::Describe { ensemble } => {
            let has_groups = !ensemble.groups.is_empty();
            out.put_u8(if has_groups { DESCRIBE_GROUPED } else { DESCRIBE });
            put_members(out, &ensemble.members);
            if has_groups {
                put_groups(out, &ensemble.groups);
            }
        }
        Action::Enroll { server, first, replaces, nonce } => {
            out.put_u8(ENROLL);
            put_varint(out, server.0);
            put_fixed(out, first.0 as u64);
            put_signed(out, replaces.0);
            put_fixed(out, nonce.0);
        }
        Action::Local { lane, author, work } => {
            put_local(out, lane, author, work);
        }
        Action::BeginRestore { .. } | Action::Restore { .. } | Action::AbandonRestore { .. } => {
            restore::put(out, action);
        }
    }
}

fn put_local(out: &mut BytesMut, lane: &Lane, author: &Author, work: &LocalWork) {
    out.put_u8(match work {
        LocalWork::Write(_) => LOCAL_WRITE,
        LocalWork::Upgrade { .. } => UPGRADE,
    });
    put_varint(out, lane.server.0);
    put_signed(out, lane.token.0);
    put_varint(out, lane.sequence.0);
    put_author(out, author);
    match work {
        LocalWork::Write(write) => put_write(out, write),
        LocalWork::Upgrade { password, timeout_ms } => {
            out.put_slice(password);
            put_signed(out, i64::from(*timeout_ms));
        }
    }
}

fn take_action(reader: &mut Reader) -> Result<Action, WireError> {
    let offset = reader.offset();
    Ok(match reader.byte("kind of action")? {
        WRITE => Action::Write { author: take_author(reader)?, write: take_write(reader)? },
        OPEN => Action::Open {
            session: SessionId(reader.fixed("session")? as i64),
            password: reader.array("password")?,
            timeout_ms: reader.signed32("session timeout")?,
            nonce: Nonce(reader.fixed("nonce")?),
        },
        ATTACH => Action::Attach {
            session: SessionId(reader.fixed("session")? as i64),
            password: reader.array("password")?,
            timeout_ms: reader.signed32("session timeout")?,
            replaces: Token(reader.signed("replaced token")?),
            nonce: Nonce(reader.fixed("nonce")?),
        },
        EXPIRE => Action::Expire {
            session: SessionId(reader.fixed("session")? as i64),
            token: Token(reader.signed("token")?),
        },
        REAP => Action::Reap { path: reader.text("path")?, unused_ms: 0 },
        REAP_UNUSED => {
            let path = reader.text("path")?;
            let offset = reader.offset();
            match reader.signed("time unused")? {
                0 => return Err(unknown("time unused", offset, 0)),
                unused_ms => Action::Reap { path, unused_ms },
            }
        }
        DESCRIBE => {
            let (members, groups) = (take_members(reader)?, Groups::none());
            Action::Describe { ensemble: Ensemble { members, groups } }
        }
        DESCRIBE_GROUPED => {
            let (members, groups) = (take_members(reader)?, take_groups(reader)?);
            if groups.is_empty() {
                return Err(WireError::Misplaced { what: "groups" });
            }
            Action::Describe { ensemble: Ensemble { members, groups } }
        }
        ENROLL => Action::Enroll {
            server: ServerId(reader.varint("server")?),
            first: SessionId(reader.fixed("session")? as i64),
            replaces: Token(reader.signed("replaced token")?),
            nonce: Nonce(reader.fixed("nonce")?),
        },
        LOCAL_WRITE => {
            let (lane, author) = (take_lane(reader)?, take_author(reader)?);
            Action::Local { lane, author, work: LocalWork::Write(take_write(reader)?) }
        }
        UPGRADE => {
            let (lane, author) = (take_lane(reader)?, take_author(reader)?);
            let password = reader.array("password")?;
            let timeout_ms = reader.signed32("session timeout")?;
            Action::Local { lane, author, work: LocalWork::Upgrade { password, timeout_ms } }
        }
        BEGIN_RESTORE => restore::take(restore::Kind::Begin, reader)?,
        RESTORE_PIECE => restore::take(restore::Kind::Piece, reader)?,
        RESTORE_END => restore::take(restore::Kind::End, reader)?,
        ABANDON_RESTORE => restore::take(restore::Kind::Abandon, reader)?,
        kind => return Err(unknown("kind of action", offset, kind)),
    })
}

fn take_lane(reader: &mut Reader) -> Result<Lane, WireError> {
    Ok(Lane {
        server: ServerId(reader.varint("server")?),
        token: Token(reader.signed("token")?),
        sequence: Sequence(reader.varint("sequence")?),
    })
}

/// A write, by the opcode that it has on the client's wire, as one signed byte.
fn put_write(out: &mut BytesMut, write: &Write) {
    let Write::Multi(writes) = write else {
        return put_single_write(out, write);
    };
    out.put_i8(MULTI);
    put_count(out, writes.len());
    for write in writes {
        assert!(may_stand_in_multi(write), "only creates, deletes, setData and checks");
        put_single_write(out, write);
    }
}

fn take_write(reader: &mut Reader) -> Result<Write, WireError> {
    const MIN_SIZE: usize = 3;
    let op = reader.byte("kind of write")? as i8;
    if op != MULTI {
        return take_single_write(reader, op);
    }
    let count = reader.count("multi", MIN_SIZE)?;
    let mut writes = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = reader.offset();
        let op = reader.byte("kind of write")? as i8;
        let write = take_single_write(reader, op)?;
        if !may_stand_in_multi(&write) {
            return Err(unknown("kind of write", offset, op as u8));
        }
        writes.push(write);
    }
    Ok(Write::multi(writes))
}

fn put_single_write(out: &mut BytesMut, write: &Write) {
    match write {
        Write::Create(create) => {
            out.put_i8(create_op(create.kind));
            put_text(out, &create.path);
            put_optional_buffer(out, create.data.as_deref());
            put_acl(out, &create.acl);
            put_signed(out, i64::from(create.flags));
            put_signed(out, create.ttl_ms);
        }
        Write::Delete { path, version } => {
            out.put_i8(DELETE);
            put_text(out, path);
            put_signed(out, i64::from(*version));
        }
        Write::SetData { path, data, version } => {
            out.put_i8(SET_DATA);
            put_text(out, path);
            put_optional_buffer(out, data.as_deref());
            put_signed(out, i64::from(*version));
        }
        Write::SetAcl { path, acl, version } => {
            out.put_i8(SET_ACL);
            put_text(out, path);
            put_acl(out, acl);
            put_signed(out, i64::from(*version));
        }
        Write::Check { path, version } => {
            out.put_i8(CHECK);
            put_text(out, path);
            put_signed(out, i64::from(*version));
        }
        Write::CloseSession => out.put_i8(CLOSE_SESSION),
        Write::Multi(_) => unreachable!("a multi is no single write"),
    }
}

fn take_single_write(reader: &mut Reader, op: i8) -> Result<Write, WireError> {
    let offset = reader.offset() - 1;
    Ok(match op {
        CREATE => Write::Create(take_create(reader, CreateKind::Create)?),
        CREATE2 => Write::Create(take_create(reader, CreateKind::Create2)?),
        CREATE_CONTAINER => Write::Create(take_create(reader, CreateKind::Container)?),
        CREATE_TTL => Write::Create(take_create(reader, CreateKind::Ttl)?),
        DELETE => {
            Write::Delete { path: reader.text("path")?, version: reader.signed32("version")? }
        }
        SET_DATA => Write::SetData {
            path: reader.text("path")?,
            data: reader.optional_buffer("data")?,
            version: reader.signed32("version")?,
        },
        SET_ACL => Write::SetAcl {
            path: reader.text("path")?,
            acl: take_acl(reader)?,
            version: reader.signed32("version")?,
        },
        CHECK => Write::Check { path: reader.text("path")?, version: reader.signed32("version")? },
        CLOSE_SESSION => Write::CloseSession,
        _ => return Err(unknown("kind of write", offset, op as u8)),
    })
}

fn take_create(reader: &mut Reader, kind: CreateKind) -> Result<Create, WireError> {
    Ok(Create {
        path: reader.text("path")?,
        data: reader.optional_buffer("data")?,
        acl: take_acl(reader)?,
        flags: reader.signed32("flags")?,
        ttl_ms: reader.signed("ttl")?,
        kind,
    })
}

fn may_stand_in_multi(write: &Write) -> bool {
    match write {
        Write::Create(_) | Write::Delete { .. } | Write::SetData { .. } | Write::Check { .. } => {
            true
        }
        Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => false,
    }
}

fn put_servers(out: &mut BytesMut, servers: &BTreeSet<ServerId>) {
    put_count(out, servers.len());
    for server in servers {
        put_varint(out, server.0);
    }
}

/// Servers, each once, ascending.
fn take_servers(reader: &mut Reader) -> Result<BTreeSet<ServerId>, WireError> {
    let count = reader.count("servers", 1)?;
    let mut servers = BTreeSet::new();
    for _ in 0..count {
        let server = ServerId(reader.varint("server")?);
        if servers.last().is_some_and(|&last| server <= last) {
            return Err(WireError::Misplaced { what: "server" });
        }
        servers.insert(server);
    }
    Ok(servers)
}

fn put_members(out: &mut BytesMut, members: &[Member]) {
    put_count(out, members.len());
    for member in members {
        put_varint(out, member.id.0);
        put_text(out, &member.line);
    }
}

fn take_members(reader: &mut Reader) -> Result<Vec<Member>, WireError> {
    const MIN_SIZE: usize = 2;
    let count = reader.count("members", MIN_SIZE)?;
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let id = ServerId(reader.varint("server")?);
        members.push(Member { id, line: reader.text("server line")? });
    }
    Ok(members)
}

fn check_version(reader: &mut Reader, what: &'static str) -> Result<(), WireError> {
    match reader.byte(what)? {
        VERSION => Ok(()),
        found => {
            let (found, known) = (u32::from(found), u32::from(VERSION));
            Err(WireError::Version { what, found, known })
        }
    }
}

fn unknown(what: &'static str, offset: usize, found: u8) -> WireError {
    WireError::Value { what, offset, found: i64::from(found) }
}

fn create_op(kind: CreateKind) -> i8 {
    match kind {
        CreateKind::Create => CREATE,
        CreateKind::Create2 => CREATE2,
        CreateKind::Container => CREATE_CONTAINER,
        CreateKind::Ttl => CREATE_TTL,
    }
}

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;
const RULED: u8 = 3;
const GROUPED: u8 = 4;

const WRITE: u8 = 1;
const OPEN: u8 = 2;
const ATTACH: u8 = 3;
const EXPIRE: u8 = 4;
const REAP: u8 = 5;
const DESCRIBE: u8 = 6;
const REAP_UNUSED: u8 = 7;
const ENROLL: u8 = 8;
const LOCAL_WRITE: u8 = 9;
const UPGRADE: u8 = 10;
const DESCRIBE_GROUPED: u8 = 11;
const BEGIN_RESTORE: u8 = 12;
const RESTORE_PIECE: u8 = 13;
const RESTORE_END: u8 = 14;
const ABANDON_RESTORE: u8 = 15;

const CREATE: i8 = opcode::CREATE as i8;
const DELETE: i8 = opcode::DELETE as i8;
const SET_DATA: i8 = opcode::SET_DATA as i8;
const SET_ACL: i8 = opcode::SET_ACL as i8;
const CHECK: i8 = opcode::CHECK as i8;
const MULTI: i8 = opcode::MULTI as i8;
const CREATE2: i8 = opcode::CREATE2 as i8;
const CREATE_CONTAINER: i8 = opcode::CREATE_CONTAINER as i8;
const CREATE_TTL: i8 = opcode::CREATE_TTL as i8;
const CLOSE_SESSION: i8 = opcode::CLOSE_SESSION as i8;

#[cfg(test)]
mod tests;
