//! Stand-in: headers only.
use bytes::{BufMut, BytesMut};
use zokor_core::id::Xid;
use zokor_core::proto::{ConnectResponse, ErrorCode, Event, Response, Zxid};

fn header(out: &mut BytesMut, xid: i32, zxid: Zxid, error: i32) {
    out.put_i32(16);
    out.put_i32(xid);
    out.put_i64(zxid.0);
    out.put_i32(error);
}

/// A reply.
pub fn encode_reply(
    out: &mut BytesMut,
    xid: Xid,
    zxid: Zxid,
    result: &Result<Response, ErrorCode>,
) {
    header(out, xid.0, zxid, result.as_ref().err().map_or(0, |error| error.code()));
}

/// An event.
pub fn encode_event(out: &mut BytesMut, zxid: Zxid, event: &Event) {
    let path = event.path.as_bytes();
    out.put_i32(16 + 12 + path.len() as i32);
    out.put_i32(-1);
    out.put_i64(zxid.0);
    out.put_i32(0);
    out.put_i32(event.kind as i32);
    out.put_i32(3);
    out.put_i32(path.len() as i32);
    out.put_slice(path);
}

/// The answer to a connect request.
pub fn encode_connected(out: &mut BytesMut, response: &ConnectResponse) {
    out.put_i32(if response.read_only.is_some() { 37 } else { 36 });
    out.put_i32(0);
    out.put_i32(response.timeout_ms);
    out.put_i64(response.session.0);
    out.put_i32(16);
    out.put_slice(&response.password);
    if let Some(read_only) = response.read_only {
        out.put_u8(u8::from(read_only));
    }
}
