//! The doors that strangers' bytes come through. Each function feeds one of them, and panics if the
//! decoder breaks a promise: that it is total, and that what it accepted encodes again.
//!
//! The same file is a module of `net/tests/corpus.rs`, where plain tests run the saved corpus.

use bytes::{Bytes, BytesMut};
use zokor_core::auth::{AuthConfig, Call, Exchange, PeerAuth, Secret};
use zokor_core::db::{Image, ImageError};
use zokor_core::id::ServerId;
use zokor_core::proto::{Acl, CreateKind, Id, Permissions, Read, Request, WatchMode, Write};
use zokor_core::tree::acl::{fix_up, mask};
use zokor_core::tree::{permits, shown};
use zokor_net::wire::WireError;
use zokor_net::wire::entry::{decode_action, decode_entry, encode_action, encode_entry};
use zokor_net::wire::frame::{Opening, split_frame};
use zokor_net::wire::image::{ImageDecoder, ImageEncoder};
use zokor_net::wire::login::{Login, decode_login, encode_login};
use zokor_net::wire::peer::{
    MessageDecoder, Spoken, decode_hello, encode_hello, encode_message, encode_part_held,
};
use zokor_net::wire::request::{decode_connect, decode_request, encode_connect, encode_request};
use zokor_net::wire::response::{
    decode_connected, decode_event, decode_reply_header, decode_response, encode_connected,
    encode_event,
};

/// The frames and strings that the targets accept: small, so that limits are met often.
const LIMIT: usize = 4096;

/// What a stranger sends first: frames, of which the first is a connect request.
pub fn connect(bytes: &[u8]) {
    if let Some(&first) = bytes.first_chunk::<4>() {
        let _ = Opening::of(first);
    }
    let mut buffer = BytesMut::from(bytes);
    let Ok(Some(frame)) = split_frame(&mut buffer, LIMIT) else {
        return;
    };
    let Ok(request) = decode_connect(frame) else {
        return;
    };
    let again = content(|out| encode_connect(out, &request));
    assert_eq!(decode_connect(again), Ok(request));
}

/// The content of a client's later frame.
pub fn request(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let Ok((xid, request)) = decode_request(frame, LIMIT) else {
        assert!(bytes.len() < 8, "a whole header always decodes");
        return;
    };
    if let Request::Write(Write::Check { .. }) = request {
        panic!("a check stands in multis only");
    }
    let again = content(|out| encode_request(out, xid, &request));
    let limit = again.len();
    let (xid_again, request_again) = decode_request(again, limit).expect("the header is whole");
    assert_eq!(xid_again, xid);
    if is_sent_as_it_is(&request) {
        assert_eq!(request_again, request);
    }
}

/// What a server answers, to each request that a client of our own may have sent.
pub fn response(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    if let Ok(connected) = decode_connected(frame.clone()) {
        let again = content(|out| encode_connected(out, &connected));
        assert_eq!(decode_connected(again), Ok(connected));
    }
    let Ok((header, body)) = decode_reply_header(frame) else {
        assert!(bytes.len() < 16, "a whole header always decodes");
        return;
    };
    if let Ok(event) = decode_event(body.clone()) {
        let again = content(|out| encode_event(out, header.zxid, &event));
        let (_, again) = decode_reply_header(again).expect("the header is whole");
        assert_eq!(decode_event(again), Ok(event));
    }
    for request in asked() {
        let _ = decode_response(&request, body.clone());
    }
}

/// Credentials, and the identity that an ACL names: scheme and rest, cut at the first byte 0.
pub fn identity(bytes: &[u8]) {
    let at = bytes.iter().position(|&byte| byte == 0);
    let (scheme, rest) = bytes.split_at(at.unwrap_or(bytes.len()));
    let scheme = String::from_utf8_lossy(scheme).into_owned();
    let rest = rest.get(1..);
    let offered = AuthConfig { key: true, ..AuthConfig::default() };
    let proven = offered.authenticate(&scheme, rest, || None).unwrap_or_default();
    for shown in proven.iter().filter_map(|id| Some((shown(id)?, id))) {
        assert!(shown.0.id.len() <= shown.1.id.len(), "no more is shown than there is");
    }
    let named = String::from_utf8_lossy(rest.unwrap_or_default()).into_owned();
    let named = Id { scheme: scheme.into(), id: named.into() };
    let acl = [Acl { permissions: Permissions::ALL, id: named.clone() }];
    let Ok(fixed) = fix_up(&acl.into(), &proven) else {
        return;
    };
    assert!(fix_up(&fixed, &proven).is_ok(), "what is stored could be sent");
    let _ = permits(&fixed, Permissions::READ, &[named]);
    assert_eq!(mask(&fixed).len(), fixed.len());
}

/// One request for each form that an answer can have.
fn asked() -> Vec<Request> {
    let path = || "/a".into();
    let watch = false;
    let reads = [
        Read::Exists { path: path(), watch },
        Read::GetData { path: path(), watch },
        Read::GetAcl { path: path() },
        Read::GetChildren { path: path(), watch, with_stat: false },
        Read::GetChildren { path: path(), watch, with_stat: true },
        Read::CountDescendants { path: path() },
        Read::Multi(Vec::new()),
        Read::AddWatch { path: path(), mode: WatchMode::Persistent },
        Read::WhoAmI,
    ];
    let data = None;
    let writes = [Write::SetData { path: path(), data, version: 1 }, Write::multi(Vec::new())];
    let writes = writes.into_iter().map(Request::Write);
    let reads = reads.into_iter().map(Request::Read);
    reads.chain(writes).chain([Request::Sync(path())]).collect()
}

/// Frames of a peer, one behind the other; a hello is tried as well.
pub fn peer_message(bytes: &[u8]) {
    if let Ok(hello) = decode_hello(Bytes::copy_from_slice(bytes)) {
        assert_eq!(content(|out| encode_hello(&hello, out)), bytes);
    }
    let mut buffer = BytesMut::from(bytes);
    let mut decoder = MessageDecoder::new();
    while let Ok(Some(frame)) = split_frame(&mut buffer, 1 << 20) {
        let message = match decoder.feed(sealed(&frame)) {
            Ok(Some(Spoken::Message(message))) => message,
            Ok(Some(Spoken::Begins)) if decoder.begin(None).is_ok() => continue,
            Ok(Some(Spoken::Holds(part))) => {
                let again = decoder.feed(content(|out| encode_part_held(&part, out)));
                assert!(matches!(again, Ok(Some(Spoken::Holds(again))) if again == part));
                continue;
            }
            Ok(None) => continue,
            Ok(Some(Spoken::Begins)) | Err(_) => return,
        };
        let mut out = BytesMut::new();
        let frames = encode_message(&message, &mut out);
        let mut again = MessageDecoder::new();
        let mut decoded = None;
        for frame in frames.into_iter().flatten() {
            out.extend_from_slice(&frame);
        }
        while let Ok(Some(frame)) = split_frame(&mut out, usize::MAX) {
            decoded = again.feed(frame).expect("what was accepted encodes again");
            again.begin(None).expect("it is whole");
        }
        let Some(Spoken::Message(decoded)) = decoded else { panic!("{decoded:?}") };
        assert_eq!(format!("{decoded:?}"), format!("{message:?}"));
    }
}

/// What comes between two hellos: as it is, and with the right checksum in place of its last four
/// bytes, which a fuzzer would not find. Its token is answered, or judged.
pub fn login(bytes: &[u8]) {
    let body = &bytes[..bytes.len().saturating_sub(4)];
    let sealed = [body, &crc32c::crc32c(body).to_be_bytes()].concat();
    for frame in [Bytes::copy_from_slice(bytes), Bytes::from(sealed)] {
        let Ok(login) = decode_login(&frame) else { continue };
        assert_eq!(content(|out| encode_login(&login, out)), frame, "it has one encoding");
        let (peers, call) = passwords();
        match login {
            Login::Challenge(token) => {
                if let Ok(answer) = peers.answer(&call, &token, [2; 30]) {
                    assert!(answer.token.len() < 2 * token.len() + 1_000, "it is bounded");
                }
            }
            Login::Answer(token) => {
                let (mechanism, mut exchange) = (peers.mechanism(&call), Exchange::default());
                exchange.take(&mechanism, b"", || [1; 30]).expect("a challenge comes first");
                let judged = exchange.take(&mechanism, &token, || [1; 30]).is_ok();
                let again = exchange.take(&mechanism, &token, || [1; 30]);
                assert!(again.is_err(), "after {judged} there is no second answer");
            }
            Login::Proven(_) | Login::Refused(_) => {}
        }
    }
}

/// Two servers with a password.
pub fn passwords() -> (PeerAuth, Call) {
    let password = Secret::new("secret");
    let users = [("peer".to_owned(), password.clone())].into();
    let call = Call { from: ServerId(1), to: ServerId(2), ensemble: 3 };
    (PeerAuth { users, user: "peer".to_owned(), password, asks: true, demands: true }, call)
}

/// An entry of the log, or an action by itself.
pub fn entry(bytes: &[u8]) {
    let mut out = BytesMut::new();
    if let Ok(entry) = decode_entry(Bytes::copy_from_slice(bytes)) {
        encode_entry(&entry, &mut out);
        assert_eq!(out, bytes, "an entry has one encoding");
    }
    out.clear();
    if let Ok(action) = decode_action(Bytes::copy_from_slice(bytes)) {
        encode_action(&action, &mut out);
        assert_eq!(out, bytes, "an action has one encoding");
    }
}

/// An image in one chunk. Its digest is set right, which a fuzzer would not find.
pub fn image(bytes: &[u8]) {
    let image = match decode_image([Bytes::copy_from_slice(bytes)]) {
        Ok(image) => image,
        Err(WireError::Image(ImageError::Digest { found, .. })) => {
            let start = bytes.len() - 8;
            let right = [&bytes[..start], &found.to_be_bytes()].concat();
            decode_image([Bytes::from(right)]).expect("only the digest was wrong")
        }
        Err(_) => return,
    };
    let again = decode_image(ImageEncoder::new(&image)).expect("it encodes again");
    assert!(image.nodes().eq(again.nodes()), "other znodes");
    assert!(image.sessions().eq(again.sessions()), "other sessions");
    assert_eq!(image.last_session_ids(), again.last_session_ids());
}

fn decode_image(chunks: impl IntoIterator<Item = Bytes>) -> Result<Image, WireError> {
    let mut decoder = ImageDecoder::new();
    for chunk in chunks {
        decoder.chunk(chunk)?;
    }
    decoder.finish()
}

/// In a multi a create by `createTTL` may come with any flags, and is a plain create then; there is
/// no other way to send that.
fn is_sent_as_it_is(request: &Request) -> bool {
    let Request::Write(Write::Multi(writes)) = request else {
        return true;
    };
    writes.iter().all(|write| match write {
        Write::Create(create) => {
            create.kind != CreateKind::Create || (0..4).contains(&create.flags)
        }
        _ => true,
    })
}

/// The content of the one frame that `encode` appends.
fn content(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    let frame = split_frame(&mut out, usize::MAX).expect("a good length").expect("whole");
    assert!(out.is_empty(), "one frame");
    frame
}

/// The frame with its checksum set right, which a fuzzer would not find.
fn sealed(frame: &[u8]) -> Bytes {
    let Some((_, rest)) = frame.split_at_checked(4) else {
        return Bytes::copy_from_slice(frame);
    };
    let checksum = crc32c::crc32c(rest).to_be_bytes();
    Bytes::from([&checksum[..], rest].concat())
}
