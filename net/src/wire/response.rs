//! What a client hears, to bytes and back.
//!
//! Invariant: everything is appended as whole frames, and an error has a header and no body, but
//! for a login by SASL that failed.

use bytes::{Bytes, BytesMut};
use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{
    ConnectResponse, CreateKind, ErrorCode, Event, EventKind, OpResult, Read, Request, Response,
    SaslToken, SharedData, Write, Zxid,
};

use super::frame::{LONGEST, append_frame, append_frame_within};
use super::jute::{Reader, Writer};
use super::{WireError, opcode};

/// The xid of every watch event.
pub const EVENT_XID: Xid = Xid(-1);

/// What stands before the body of every frame that answers a request or tells of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's xid; [`EVENT_XID`] for an event.
    pub xid: Xid,
    /// What the server has applied, or the write's own zxid.
    pub zxid: Zxid,
    /// 0, or an error's number; then no body follows.
    pub error: i32,
}

/// Appends the answer to a connect request.
pub fn encode_connected(out: &mut BytesMut, response: &ConnectResponse) {
    let fits = append_frame(out, |out| {
        let mut writer = Writer::new(out);
        writer.int(0);
        writer.int(response.timeout_ms);
        writer.long(response.session.0);
        writer.buffer(Some(&response.password));
        if let Some(read_only) = response.read_only {
            writer.bool(read_only);
        }
    });
    assert!(fits, "a connect response has at most 37 bytes");
}

/// Appends the answer to a request. An answer that no frame can hold (2 GiB, a znode with tens of
/// millions of children) is replaced by a `MarshallingError`.
pub fn encode_reply(
    out: &mut BytesMut,
    xid: Xid,
    zxid: Zxid,
    result: &Result<Response, ErrorCode>,
) {
    encode_reply_within(out, LONGEST, ReplyHeader { xid, zxid, error: 0 }, result);
}

fn encode_reply_within(
    out: &mut BytesMut,
    limit: usize,
    header: ReplyHeader,
    result: &Result<Response, ErrorCode>,
) {
    let failed = |error: ErrorCode| ReplyHeader { error: error.code(), ..header };
    let fits = append_frame_within(out, limit, |out| {
        let mut writer = Writer::new(out);
        match result {
            Ok(response @ Response::SaslRefused(error)) => {
                encode_header(&mut writer, failed(*error));
                encode_response(&mut writer, response);
            }
            Ok(response) => {
                encode_header(&mut writer, header);
                encode_response(&mut writer, response);
            }
            Err(error) => encode_header(&mut writer, failed(*error)),
        }
    });
    if !fits {
        let header = failed(ErrorCode::MarshallingError);
        let fits = append_frame(out, |out| encode_header(&mut Writer::new(out), header));
        assert!(fits, "a header has 16 bytes");
    }
}

/// Appends the news that a watch has fired.
pub fn encode_event(out: &mut BytesMut, zxid: Zxid, event: &Event) {
    /// Of no use to the client, which knows better: "connected".
    const STATE: i32 = 3;
    let fits = append_frame(out, |out| {
        let mut writer = Writer::new(out);
        encode_header(&mut writer, ReplyHeader { xid: EVENT_XID, zxid, error: 0 });
        writer.int(event.kind as i32);
        writer.int(STATE);
        writer.text(&event.path);
    });
    assert!(fits, "a path came in a frame, and fits one");
}

/// The answer to a connect request, for clients of our own.
///
/// # Errors
/// If a field is cut, or the password has not 16 bytes.
pub fn decode_connected(frame: Bytes) -> Result<ConnectResponse, WireError> {
    let mut reader = whole(frame);
    reader.int("protocol version")?;
    let timeout_ms = reader.int("session timeout")?;
    let session = SessionId(reader.long("session")?);
    let offset = reader.offset();
    let password = reader.buffer("password")?.unwrap_or_default();
    let length = password.len() as i64;
    let password = <[u8; 16]>::try_from(&password[..]);
    Ok(ConnectResponse {
        timeout_ms,
        session,
        password: password.map_err(|_| WireError::Length {
            what: "password",
            offset,
            length,
            limit: 16,
        })?,
        read_only: match reader.left() {
            0 => None,
            _ => Some(reader.bool("read only")?),
        },
    })
}

/// The header of any later frame, and what follows it: an event's if the xid is [`EVENT_XID`].
///
/// # Errors
/// If the header is cut.
pub fn decode_reply_header(frame: Bytes) -> Result<(ReplyHeader, Bytes), WireError> {
    let mut reader = whole(frame);
    let header = ReplyHeader {
        xid: Xid(reader.int("xid")?),
        zxid: Zxid(reader.long("zxid")?),
        error: reader.int("error")?,
    };
    Ok((header, reader.into_rest()))
}

/// The event in the body of a frame whose xid is [`EVENT_XID`].
///
/// # Errors
/// If a field is cut or the kind is unknown.
pub fn decode_event(body: Bytes) -> Result<Event, WireError> {
    let mut reader = whole(body);
    let kind = match reader.int("event type")? {
        1 => EventKind::Created,
        2 => EventKind::Deleted,
        3 => EventKind::DataChanged,
        4 => EventKind::ChildrenChanged,
        kind => {
            let found = i64::from(kind);
            return Err(WireError::Value { what: "event type", offset: 0, found });
        }
    };
    reader.int("state")?;
    Ok(Event { kind, path: reader.text("path")? })
}

/// The answer to `request` in the body of a frame whose header has no error.
///
/// # Errors
/// If the body is cut, or the server answered something else.
pub fn decode_response(request: &Request, body: Bytes) -> Result<Response, WireError> {
    let mut reader = whole(body);
    match request {
        Request::Write(write) => decode_write_response(&mut reader, write),
        Request::Read(read) => decode_read_response(&mut reader, read),
        Request::Reconfig(_) => Ok(Response::Data(data(&mut reader)?, reader.stat()?)),
        Request::Sync(_) => Ok(Response::Sync(reader.text("path")?)),
        Request::Sasl(_) => Ok(Response::Sasl(reader.buffer("token")?.map(SaslToken))),
        Request::Ping
        | Request::Auth(_)
        | Request::SetWatches(_)
        | Request::Unknown(_)
        | Request::Throttled
        | Request::Malformed => Ok(Response::Empty),
    }
}

/// The error of this number; `None` for 0 and for numbers that this server never sends.
pub fn error_of(code: i32) -> Option<ErrorCode> {
    ErrorCode::ALL.into_iter().find(|error| error.code() == code)
}

fn encode_header(writer: &mut Writer<'_>, header: ReplyHeader) {
    writer.int(header.xid.0);
    writer.long(header.zxid.0);
    writer.int(header.error);
}

fn encode_response(writer: &mut Writer<'_>, response: &Response) {
    match response {
        Response::Empty => {}
        Response::Path(path) | Response::Sync(path) => writer.text(path),
        Response::PathStat(path, stat) => {
            writer.text(path);
            writer.stat(stat);
        }
        Response::Stat(stat) => writer.stat(stat),
        Response::Data(data, stat) => {
            writer.buffer(data.as_deref());
            writer.stat(stat);
        }
        Response::Acl(acl, stat) => {
            writer.acl(acl);
            writer.stat(stat);
        }
        Response::Names(names) => writer.names(names),
        Response::NamesStat(names, stat) => {
            writer.names(names);
            writer.stat(stat);
        }
        Response::Count(count) => writer.int(*count),
        Response::Multi(results) => {
            for result in results {
                encode_result(writer, result);
            }
            result_header(writer, opcode::ERROR, true, -1);
        }
        Response::WatchAdded => writer.int(0),
        Response::Sasl(token) => writer.buffer(token.as_ref().map(|token| &token.0[..])),
        Response::SaslRefused(_) => writer.buffer(None),
        Response::Identities(ids) => {
            writer.length(ids.len());
            for id in ids {
                writer.id(id);
            }
        }
    }
}

fn encode_result(writer: &mut Writer<'_>, result: &OpResult) {
    match result {
        OpResult::Create(path) => {
            result_header(writer, opcode::CREATE, false, 0);
            writer.text(path);
        }
        OpResult::Create2(path, stat) => {
            result_header(writer, opcode::CREATE2, false, 0);
            writer.text(path);
            writer.stat(stat);
        }
        OpResult::Delete => result_header(writer, opcode::DELETE, false, 0),
        OpResult::SetData(stat) => {
            result_header(writer, opcode::SET_DATA, false, 0);
            writer.stat(stat);
        }
        OpResult::Check => result_header(writer, opcode::CHECK, false, 0),
        OpResult::Names(names) => {
            result_header(writer, opcode::GET_CHILDREN, false, 0);
            writer.names(names);
        }
        OpResult::Data(data, stat) => {
            result_header(writer, opcode::GET_DATA, false, 0);
            writer.buffer(data.as_deref());
            writer.stat(stat);
        }
        OpResult::Error(error) => {
            let code = error.map_or(0, ErrorCode::code);
            result_header(writer, opcode::ERROR, false, code);
            writer.int(code);
        }
    }
}

fn result_header(writer: &mut Writer<'_>, op: i32, done: bool, error: i32) {
    writer.int(op);
    writer.bool(done);
    writer.int(error);
}

fn decode_write_response(reader: &mut Reader, write: &Write) -> Result<Response, WireError> {
    match write {
        Write::Create(create) => match create.kind {
            CreateKind::Create => Ok(Response::Path(reader.text("path")?)),
            CreateKind::Create2 | CreateKind::Container | CreateKind::Ttl => {
                Ok(Response::PathStat(reader.text("path")?, reader.stat()?))
            }
        },
        Write::SetData { .. } | Write::SetAcl { .. } => Ok(Response::Stat(reader.stat()?)),
        Write::Multi(_) => Ok(Response::Multi(decode_results(reader)?)),
        Write::Delete { .. } | Write::Check { .. } | Write::CloseSession => Ok(Response::Empty),
    }
}

fn data(reader: &mut Reader) -> Result<Option<SharedData>, WireError> {
    Ok(reader.buffer("data")?.map(SharedData::from))
}

fn decode_read_response(reader: &mut Reader, read: &Read) -> Result<Response, WireError> {
    match read {
        Read::Exists { .. } => Ok(Response::Stat(reader.stat()?)),
        Read::GetData { .. } => Ok(Response::Data(data(reader)?, reader.stat()?)),
        Read::GetAcl { .. } => Ok(Response::Acl(reader.acl()?.unwrap_or_default(), reader.stat()?)),
        Read::GetChildren { with_stat: false, .. } | Read::GetEphemerals { .. } => {
            Ok(Response::Names(reader.names("names")?))
        }
        Read::GetChildren { with_stat: true, .. } => {
            Ok(Response::NamesStat(reader.names("names")?, reader.stat()?))
        }
        Read::CountDescendants { .. } => Ok(Response::Count(reader.int("count")?)),
        Read::Multi(_) => Ok(Response::Multi(decode_results(reader)?)),
        Read::AddWatch { .. } => {
            reader.int("error")?;
            Ok(Response::WatchAdded)
        }
        Read::CheckWatches { .. } | Read::RemoveWatches { .. } => Ok(Response::Empty),
        Read::WhoAmI => {
            const MIN_SIZE: usize = 8;
            let ids = reader.vector("identities", MIN_SIZE, Reader::id)?;
            Ok(Response::Identities(ids.unwrap_or_default()))
        }
    }
}

fn decode_results(reader: &mut Reader) -> Result<Vec<OpResult>, WireError> {
    let mut results = Vec::new();
    loop {
        let offset = reader.offset();
        let op = reader.int("result type")?;
        let done = reader.bool("end of results")?;
        reader.int("result error")?;
        if done {
            return Ok(results);
        }
        results.push(match op {
            opcode::CREATE => OpResult::Create(reader.text("path")?),
            opcode::CREATE2 => OpResult::Create2(reader.text("path")?, reader.stat()?),
            opcode::DELETE => OpResult::Delete,
            opcode::SET_DATA => OpResult::SetData(reader.stat()?),
            opcode::CHECK => OpResult::Check,
            opcode::GET_CHILDREN => OpResult::Names(reader.names("names")?),
            opcode::GET_DATA => OpResult::Data(data(reader)?, reader.stat()?),
            opcode::ERROR => OpResult::Error(decode_error(reader)?),
            op => {
                let found = i64::from(op);
                return Err(WireError::Value { what: "result type", offset, found });
            }
        });
    }
}

fn decode_error(reader: &mut Reader) -> Result<Option<ErrorCode>, WireError> {
    let offset = reader.offset();
    match reader.int("error")? {
        0 => Ok(None),
        code => match error_of(code) {
            Some(error) => Ok(Some(error)),
            None => Err(WireError::Value { what: "error", offset, found: i64::from(code) }),
        },
    }
}

/// A server's answer has no limit but its frame's.
fn whole(bytes: Bytes) -> Reader {
    let limit = bytes.len();
    Reader::new(bytes, limit)
}

#[cfg(test)]
mod tests;
