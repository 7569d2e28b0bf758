//! What a client sends, from bytes and back.
//!
//! Invariant: a request whose header is whole always decodes, if to [`Request::Malformed`] or
//! [`Request::Unknown`], so that the client hears of it and the order of replies holds. What is
//! accepted is what ZooKeeper accepts: trailing bytes are ignored, and values that the server is to
//! judge (flags, versions, paths) come through as they were sent.

use bytes::{Bytes, BytesMut};
use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{
    AuthPacket, ConnectRequest, Create, CreateKind, CreateMode, Read, Reconfig, Request, Rewatch,
    SaslToken, Text, WatchMode, WatcherType, Write,
};

use super::frame::append_frame;
use super::jute::{Reader, Writer};
use super::{WireError, opcode};

/// The request in the first frame of a connection.
///
/// # Errors
/// If a field is cut; there is no header by which the client could be told.
pub fn decode_connect(frame: Bytes) -> Result<ConnectRequest, WireError> {
    let limit = frame.len();
    let mut reader = Reader::new(frame, limit);
    Ok(ConnectRequest {
        protocol_version: reader.int("protocol version")?,
        last_zxid_seen: reader.long("last zxid seen")?,
        timeout_ms: reader.int("session timeout")?,
        session: SessionId(reader.long("session")?),
        password: reader.buffer("password")?.unwrap_or_default(),
        // Clients up to 3.3, and some of other languages, do not send it.
        read_only: match reader.left() {
            0 => None,
            _ => Some(reader.bool("read only")?),
        },
    })
}

/// The request in any further frame. `limit` bounds each string and buffer in it: ZooKeeper's
/// `jute.maxbuffer`, which bounds the frame, and its extra size.
///
/// # Errors
/// Only if the header is cut: there is no xid to answer to, and the connection must end.
pub fn decode_request(frame: Bytes, limit: usize) -> Result<(Xid, Request), WireError> {
    let mut reader = Reader::new(frame, limit);
    let xid = Xid(reader.int("xid")?);
    let op = reader.int("opcode")?;
    Ok((xid, decode_body(&mut reader, op).unwrap_or(Request::Malformed)))
}

/// Appends a connect request as one frame, for clients of our own.
pub fn encode_connect(out: &mut BytesMut, request: &ConnectRequest) {
    append_request(out, |writer| {
        writer.int(request.protocol_version);
        writer.long(request.last_zxid_seen);
        writer.int(request.timeout_ms);
        writer.long(request.session.0);
        writer.buffer(Some(&request.password));
        if let Some(read_only) = request.read_only {
            writer.bool(read_only);
        }
    });
}

/// Appends a request as one frame, for clients of our own. `Malformed` and `Throttled` become a
/// create without a record; a `Check` that stands alone is sent, though no server takes it.
pub fn encode_request(out: &mut BytesMut, xid: Xid, request: &Request) {
    append_request(out, |writer| {
        writer.int(xid.0);
        match request {
            Request::Write(write) => {
                writer.int(write_opcode(write));
                encode_write(writer, write);
            }
            Request::Read(read) => {
                writer.int(read_opcode(read));
                encode_read(writer, read);
            }
            Request::Sync(path) => {
                writer.int(opcode::SYNC);
                writer.text(path);
            }
            Request::Ping => writer.int(opcode::PING),
            Request::Auth(packet) => {
                writer.int(opcode::AUTH);
                writer.int(0);
                writer.text(&packet.scheme);
                writer.buffer(packet.auth.as_deref());
            }
            Request::Sasl(token) => {
                writer.int(opcode::SASL);
                writer.buffer(Some(&token.0));
            }
            Request::SetWatches(rewatch) => encode_rewatch(writer, rewatch),
            Request::Reconfig(asked) => {
                writer.int(opcode::RECONFIG);
                for text in [&asked.joining, &asked.leaving, &asked.members] {
                    writer.buffer(text.as_ref().map(|text| text.as_bytes().as_ref()));
                }
                writer.long(asked.version);
            }
            Request::Unknown(op) => writer.int(*op),
            Request::Malformed | Request::Throttled => writer.int(opcode::CREATE),
        }
    });
}

fn decode_body(reader: &mut Reader, op: i32) -> Result<Request, WireError> {
    let request = match op {
        opcode::CREATE
        | opcode::CREATE2
        | opcode::CREATE_CONTAINER
        | opcode::CREATE_TTL
        | opcode::DELETE => Request::Write(decode_write(reader, op)?),
        opcode::SET_DATA => {
            let path = validated_path(reader)?;
            Request::Write(decode_set_data(reader, path)?)
        }
        opcode::SET_ACL => Request::Write(Write::SetAcl {
            path: validated_path(reader)?,
            acl: reader.shared_acl()?.unwrap_or_default(),
            version: reader.int("version")?,
        }),
        opcode::MULTI => Request::Write(Write::multi(decode_multi(reader, decode_multi_write)?)),
        opcode::CLOSE_SESSION => Request::Write(Write::CloseSession),
        opcode::SYNC => Request::Sync(reader.text("path")?),
        opcode::PING => Request::Ping,
        opcode::AUTH => {
            reader.int("auth type")?;
            Request::Auth(AuthPacket {
                scheme: reader.string("scheme")?.unwrap_or_default(),
                auth: reader.buffer("auth")?,
            })
        }
        // Null is as good as empty.
        opcode::SASL => Request::Sasl(SaslToken(reader.buffer("token")?.unwrap_or_default())),
        opcode::SET_WATCHES | opcode::SET_WATCHES2 => {
            Request::SetWatches(decode_rewatch(reader, op == opcode::SET_WATCHES2)?)
        }
        opcode::RECONFIG => Request::Reconfig(Reconfig {
            joining: reader.string("joining servers")?,
            leaving: reader.string("leaving servers")?,
            members: reader.string("new members")?,
            version: reader.long("version of the present members")?,
        }),
        _ => match decode_read(reader, op)? {
            Some(read) => Request::Read(read),
            None => Request::Unknown(op),
        },
    };
    Ok(request)
}

/// The record of a write that may stand alone or in a multi.
fn decode_write(reader: &mut Reader, op: i32) -> Result<Write, WireError> {
    match op {
        opcode::CREATE => Ok(Write::Create(decode_create(reader, CreateKind::Create)?.0)),
        opcode::CREATE2 => Ok(Write::Create(decode_create(reader, CreateKind::Create2)?.0)),
        opcode::CREATE_CONTAINER => {
            Ok(Write::Create(decode_create(reader, CreateKind::Container)?.0))
        }
        opcode::CREATE_TTL => Ok(Write::Create(decode_create(reader, CreateKind::Ttl)?.0)),
        opcode::DELETE => {
            Ok(Write::Delete { path: reader.text("path")?, version: reader.int("version")? })
        }
        opcode::SET_DATA => {
            let path = reader.text("path")?;
            decode_set_data(reader, path)
        }
        _ => Err(wrong_op(reader, op)),
    }
}

/// What follows the path of a setData.
fn decode_set_data(reader: &mut Reader, path: Text) -> Result<Write, WireError> {
    Ok(Write::SetData { path, data: reader.buffer("data")?, version: reader.int("version")? })
}

/// The path of a write by itself that ZooKeeper judges by its rules for paths before anything else:
/// null is as bad a path as an empty one, not a record that cannot be read.
// zookeeper: PathUtils.validatePath. A multi looks up all its paths before that.
fn validated_path(reader: &mut Reader) -> Result<Text, WireError> {
    Ok(reader.string("path")?.unwrap_or_default())
}

/// A create, and whether its ACL was there; if it was not, it is empty.
fn decode_create(reader: &mut Reader, kind: CreateKind) -> Result<(Create, bool), WireError> {
    let path = reader.text("path")?;
    let data = reader.buffer("data")?;
    let acl = reader.shared_acl()?;
    let flags = reader.int("flags")?;
    let ttl_ms = match kind {
        CreateKind::Create | CreateKind::Create2 | CreateKind::Container => -1,
        CreateKind::Ttl => reader.long("ttl")?,
    };
    let has_acl = acl.is_some();
    let acl = acl.unwrap_or_default();
    Ok((Create { path, data, acl, flags, ttl_ms, kind }, has_acl))
}

/// The records of a multi: each behind a header, the last header says that it is the end.
fn decode_multi<T>(
    reader: &mut Reader,
    record: impl Fn(&mut Reader, i32) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut records = Vec::new();
    loop {
        let op = reader.int("operation type")?;
        let done = reader.bool("end of operations")?;
        reader.int("operation error")?;
        if done {
            return Ok(records);
        }
        records.push(record(reader, op)?);
    }
}

fn decode_multi_write(reader: &mut Reader, op: i32) -> Result<Write, WireError> {
    let kind = match op {
        opcode::CHECK => {
            return Ok(Write::Check {
                path: reader.text("path")?,
                version: reader.int("version")?,
            });
        }
        opcode::CREATE => CreateKind::Create,
        opcode::CREATE2 => CreateKind::Create2,
        opcode::CREATE_CONTAINER => CreateKind::Container,
        opcode::CREATE_TTL => CreateKind::Ttl,
        _ => return decode_write(reader, op),
    };
    let offset = reader.offset();
    let (mut create, has_acl) = decode_create(reader, kind)?;
    if !has_acl && kind != CreateKind::Ttl {
        return Err(WireError::Null { what: "acl", offset });
    }
    let Some(kind) = normal_kind(kind, create.flags) else {
        let found = i64::from(create.flags);
        return Err(WireError::Value { what: "flags", offset, found });
    };
    create.kind = kind;
    if kind != CreateKind::Ttl {
        create.ttl_ms = -1;
    }
    Ok(Write::Create(create))
}

/// In a multi the flags decide which operation a create is; `None` if they go with none.
// zookeeper: MultiOperationRecord.deserialize, Op.create.
fn normal_kind(kind: CreateKind, flags: i32) -> Option<CreateKind> {
    let mode = CreateMode::from_flags(flags);
    match (kind, mode) {
        (CreateKind::Ttl, Some(CreateMode::Ttl { .. })) => Some(CreateKind::Ttl),
        (CreateKind::Ttl, _) => Some(CreateKind::Create),
        (_, None | Some(CreateMode::Ttl { .. })) => None,
        (_, Some(CreateMode::Container)) => Some(CreateKind::Container),
        (CreateKind::Create2, _) => Some(CreateKind::Create2),
        (CreateKind::Create | CreateKind::Container, _) => Some(CreateKind::Create),
    }
}

/// The read that `op` stands for; `None` if it stands for none.
fn decode_read(reader: &mut Reader, op: i32) -> Result<Option<Read>, WireError> {
    let read = match op {
        opcode::EXISTS => Read::Exists { path: reader.text("path")?, watch: reader.bool("watch")? },
        opcode::GET_DATA => {
            Read::GetData { path: reader.text("path")?, watch: reader.bool("watch")? }
        }
        opcode::GET_ACL => Read::GetAcl { path: reader.text("path")? },
        opcode::GET_CHILDREN | opcode::GET_CHILDREN2 => Read::GetChildren {
            path: reader.text("path")?,
            watch: reader.bool("watch")?,
            with_stat: op == opcode::GET_CHILDREN2,
        },
        opcode::GET_EPHEMERALS => {
            Read::GetEphemerals { prefix: reader.string("prefix")?.unwrap_or_default() }
        }
        opcode::COUNT_DESCENDANTS => Read::CountDescendants { path: reader.text("path")? },
        opcode::MULTI_READ => Read::Multi(decode_multi(reader, decode_multi_read)?),
        opcode::ADD_WATCH => {
            Read::AddWatch { path: reader.text("path")?, mode: decode_watch_mode(reader)? }
        }
        opcode::CHECK_WATCHES => {
            Read::CheckWatches { path: reader.text("path")?, kind: decode_watcher_type(reader)? }
        }
        opcode::REMOVE_WATCHES => {
            Read::RemoveWatches { path: reader.text("path")?, kind: decode_watcher_type(reader)? }
        }
        opcode::WHO_AM_I => Read::WhoAmI,
        _ => return Ok(None),
    };
    Ok(Some(read))
}

/// Only these two, and neither sets a watch, whatever its flag says.
fn decode_multi_read(reader: &mut Reader, op: i32) -> Result<Read, WireError> {
    if op != opcode::GET_DATA && op != opcode::GET_CHILDREN {
        return Err(wrong_op(reader, op));
    }
    let path = reader.text("path")?;
    reader.bool("watch")?;
    if op == opcode::GET_DATA {
        return Ok(Read::GetData { path, watch: false });
    }
    Ok(Read::GetChildren { path, watch: false, with_stat: false })
}

fn decode_rewatch(reader: &mut Reader, has_persistent: bool) -> Result<Rewatch, WireError> {
    let mut rewatch = Rewatch {
        relative_zxid: reader.long("relative zxid")?,
        data: reader.texts("data watches")?,
        exist: reader.texts("exist watches")?,
        child: reader.texts("child watches")?,
        ..Rewatch::default()
    };
    if has_persistent {
        rewatch.persistent = reader.texts("persistent watches")?;
        rewatch.recursive = reader.texts("recursive watches")?;
    }
    Ok(rewatch)
}

fn decode_watch_mode(reader: &mut Reader) -> Result<WatchMode, WireError> {
    let offset = reader.offset();
    match reader.int("watch mode")? {
        0 => Ok(WatchMode::Persistent),
        1 => Ok(WatchMode::Recursive),
        mode => Err(WireError::Value { what: "watch mode", offset, found: i64::from(mode) }),
    }
}

fn decode_watcher_type(reader: &mut Reader) -> Result<WatcherType, WireError> {
    let offset = reader.offset();
    match reader.int("watcher type")? {
        1 => Ok(WatcherType::Children),
        2 => Ok(WatcherType::Data),
        3 => Ok(WatcherType::Any),
        4 => Ok(WatcherType::Persistent),
        5 => Ok(WatcherType::Recursive),
        kind => Err(WireError::Value { what: "watcher type", offset, found: i64::from(kind) }),
    }
}

fn wrong_op(reader: &Reader, op: i32) -> WireError {
    WireError::Value { what: "operation type", offset: reader.offset(), found: i64::from(op) }
}

/// A request is a frame that someone composed: it is never near the size that no frame can have.
fn append_request(out: &mut BytesMut, content: impl FnOnce(&mut Writer<'_>)) {
    let fits = append_frame(out, |out| content(&mut Writer::new(out)));
    assert!(fits, "a request of our own is longer than 2 GiB");
}

fn write_opcode(write: &Write) -> i32 {
    match write {
        Write::Create(create) => match create.kind {
            CreateKind::Create => opcode::CREATE,
            CreateKind::Create2 => opcode::CREATE2,
            CreateKind::Container => opcode::CREATE_CONTAINER,
            CreateKind::Ttl => opcode::CREATE_TTL,
        },
        Write::Delete { .. } => opcode::DELETE,
        Write::SetData { .. } => opcode::SET_DATA,
        Write::SetAcl { .. } => opcode::SET_ACL,
        Write::Check { .. } => opcode::CHECK,
        Write::Multi(_) => opcode::MULTI,
        Write::CloseSession => opcode::CLOSE_SESSION,
    }
}

fn encode_write(writer: &mut Writer<'_>, write: &Write) {
    match write {
        Write::Multi(writes) => {
            for write in writes {
                assert!(!matches!(write, Write::Multi(_)), "a multi holds no multi");
                operation_header(writer, write_opcode(write), false);
                encode_single_write(writer, write);
            }
            operation_header(writer, opcode::ERROR, true);
        }
        Write::Create(_)
        | Write::Delete { .. }
        | Write::SetData { .. }
        | Write::SetAcl { .. }
        | Write::Check { .. }
        | Write::CloseSession => encode_single_write(writer, write),
    }
}

/// The record of a write that is no multi.
fn encode_single_write(writer: &mut Writer<'_>, write: &Write) {
    match write {
        Write::Create(create) => {
            writer.text(&create.path);
            writer.buffer(create.data.as_deref());
            writer.acl(&create.acl);
            writer.int(create.flags);
            if create.kind == CreateKind::Ttl {
                writer.long(create.ttl_ms);
            }
        }
        Write::Delete { path, version } | Write::Check { path, version } => {
            writer.text(path);
            writer.int(*version);
        }
        Write::SetData { path, data, version } => {
            writer.text(path);
            writer.buffer(data.as_deref());
            writer.int(*version);
        }
        Write::SetAcl { path, acl, version } => {
            writer.text(path);
            writer.acl(acl);
            writer.int(*version);
        }
        Write::Multi(_) | Write::CloseSession => {}
    }
}

fn read_opcode(read: &Read) -> i32 {
    match read {
        Read::Exists { .. } => opcode::EXISTS,
        Read::GetData { .. } => opcode::GET_DATA,
        Read::GetAcl { .. } => opcode::GET_ACL,
        Read::GetChildren { with_stat: false, .. } => opcode::GET_CHILDREN,
        Read::GetChildren { with_stat: true, .. } => opcode::GET_CHILDREN2,
        Read::GetEphemerals { .. } => opcode::GET_EPHEMERALS,
        Read::CountDescendants { .. } => opcode::COUNT_DESCENDANTS,
        Read::Multi(_) => opcode::MULTI_READ,
        Read::AddWatch { .. } => opcode::ADD_WATCH,
        Read::CheckWatches { .. } => opcode::CHECK_WATCHES,
        Read::RemoveWatches { .. } => opcode::REMOVE_WATCHES,
        Read::WhoAmI => opcode::WHO_AM_I,
    }
}

fn encode_read(writer: &mut Writer<'_>, read: &Read) {
    match read {
        Read::Exists { path, watch }
        | Read::GetData { path, watch }
        | Read::GetChildren { path, watch, .. } => {
            writer.text(path);
            writer.bool(*watch);
        }
        Read::GetAcl { path } | Read::CountDescendants { path } => writer.text(path),
        Read::GetEphemerals { prefix } => writer.text(prefix),
        Read::Multi(reads) => {
            for read in reads {
                assert!(!matches!(read, Read::Multi(_)), "a multi holds no multi");
                operation_header(writer, read_opcode(read), false);
                encode_read(writer, read);
            }
            operation_header(writer, opcode::ERROR, true);
        }
        Read::AddWatch { path, mode } => {
            writer.text(path);
            writer.int(match mode {
                WatchMode::Persistent => 0,
                WatchMode::Recursive => 1,
            });
        }
        Read::CheckWatches { path, kind } | Read::RemoveWatches { path, kind } => {
            writer.text(path);
            writer.int(match kind {
                WatcherType::Children => 1,
                WatcherType::Data => 2,
                WatcherType::Any => 3,
                WatcherType::Persistent => 4,
                WatcherType::Recursive => 5,
            });
        }
        Read::WhoAmI => {}
    }
}

fn encode_rewatch(writer: &mut Writer<'_>, rewatch: &Rewatch) {
    let has_persistent = !rewatch.persistent.is_empty() || !rewatch.recursive.is_empty();
    writer.int(if has_persistent { opcode::SET_WATCHES2 } else { opcode::SET_WATCHES });
    writer.long(rewatch.relative_zxid);
    let lists: [&[Text]; 3] = [&rewatch.data, &rewatch.exist, &rewatch.child];
    for list in lists {
        writer.texts(list);
    }
    if has_persistent {
        writer.texts(&rewatch.persistent);
        writer.texts(&rewatch.recursive);
    }
}

fn operation_header(writer: &mut Writer<'_>, op: i32, done: bool) {
    writer.int(op);
    writer.bool(done);
    writer.int(-1);
}

#[cfg(test)]
mod tests;
