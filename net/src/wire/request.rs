//! Stand-in: a few requests.
use bytes::{Buf, Bytes};
use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Request, Write};

use super::WireError;

/// The first frame of a connection.
pub fn decode_connect(mut frame: Bytes) -> Result<ConnectRequest, WireError> {
    if frame.len() < 28 {
        return Err(WireError("the connect request is cut short".into()));
    }
    let protocol_version = frame.get_i32();
    let last_zxid_seen = frame.get_i64();
    let timeout_ms = frame.get_i32();
    let session = SessionId(frame.get_i64());
    let length = usize::try_from(frame.get_i32()).unwrap_or(0).min(frame.len());
    let password = frame.split_to(length);
    let read_only = frame.first().map(|byte| *byte != 0);
    let request =
        ConnectRequest { protocol_version, last_zxid_seen, timeout_ms, session, password, read_only };
    Ok(request)
}

/// Any other frame.
pub fn decode_request(mut frame: Bytes, _max: usize) -> Result<(Xid, Request), WireError> {
    if frame.len() < 8 {
        return Err(WireError("the request header is cut short".into()));
    }
    let xid = Xid(frame.get_i32());
    let request = match frame.get_i32() {
        11 => Request::Ping,
        -11 => Request::Write(Write::CloseSession),
        op => Request::Unknown(op),
    };
    Ok((xid, request))
}
