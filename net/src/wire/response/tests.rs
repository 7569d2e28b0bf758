//! What clients hear: ZooKeeper's own bytes, and round trips.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use zokor_core::proto::{Create, Names, Stat, Text};

use super::*;
use crate::wire::frame::split_frame;
use crate::wire::samples::{self, bytes_of, hex};

/// The content of the one frame in `bytes`.
fn content(bytes: &[u8]) -> Bytes {
    let mut buffer = BytesMut::from(bytes);
    let frame = split_frame(&mut buffer, 1 << 20).expect("a good length").expect("a whole frame");
    assert!(buffer.is_empty(), "more than one frame");
    frame
}

fn check_reply(digits: &str, xid: i32, zxid: i64, result: &Result<Response, ErrorCode>) {
    assert_eq!(bytes_of(|out| encode_reply(out, Xid(xid), Zxid(zxid), result)), hex(digits));
}

/// The stat of `/v` after its creation at the time of the capture.
fn stat() -> Stat {
    Stat {
        czxid: 0x18,
        mzxid: 0x18,
        ctime: 0x01a2_0926_60d5,
        mtime: 0x01a2_0926_60d5,
        data_length: 2,
        pzxid: 0x18,
        ..Stat::default()
    }
}

const STAT: &str = "0000000000000018 0000000000000018 000001a2092660d5 000001a2092660d5 00000000
    00000000 00000000 0000000000000000 00000002 00000000 0000000000000018";

#[test]
fn captured_connect_responses_are_what_we_send() {
    let password = |digits| hex(digits)[..].try_into().expect("16 bytes");
    let mut response = ConnectResponse {
        timeout_ms: 10_000,
        session: SessionId(0x0100_0040_f6a9_0000),
        password: password("fda2104d46e55536a34e1807ff35e649"),
        read_only: Some(false),
    };
    let with = hex("00000025 00000000 00002710 01000040f6a90000 00000010
        fda2104d46e55536a34e1807ff35e649 00");
    assert_eq!(bytes_of(|out| encode_connected(out, &response)), with);
    assert_eq!(decode_connected(content(&with)), Ok(response.clone()));
    response.session = SessionId(0x0100_0040_f6a9_0001);
    response.password = password("10c40a4de630357b98917f32d3befa16");
    response.read_only = None;
    let without = hex("00000024 00000000 00002710 01000040f6a90001 00000010
        10c40a4de630357b98917f32d3befa16");
    assert_eq!(bytes_of(|out| encode_connected(out, &response)), without);
    assert_eq!(decode_connected(content(&without)), Ok(response));
}

#[test]
fn a_captured_refusal_is_what_we_send() {
    let refused = ConnectResponse::refused(Some(false));
    let bytes = hex("00000025 00000000 00000000 0000000000000000 00000010
        00000000000000000000000000000000 00");
    assert_eq!(bytes_of(|out| encode_connected(out, &refused)), bytes);
}

#[test]
fn captured_replies_are_what_we_send() {
    let created = Ok(Response::Path("/v".into()));
    check_reply("00000016 00000001 0000000000000018 00000000 00000002 2f76", 1, 0x18, &created);
    let data = Ok(Response::Data(Some("hi".into()), stat()));
    let digits = format!("0000005a 00000002 0000000000000018 00000000 00000002 6869 {STAT}");
    check_reply(&digits, 2, 0x18, &data);
    let pong = Ok(Response::Empty);
    check_reply("00000010 fffffffe 000000000000001a 00000000", -2, 0x1a, &pong);
}

#[test]
fn captured_multi_replies_are_what_we_send() {
    let failed = Ok(Response::Multi(vec![
        OpResult::Error(None),
        OpResult::Error(Some(ErrorCode::BadVersion)),
    ]));
    check_reply(
        "00000033 00000003 0000000000000019 00000000 ffffffff 00 00000000 00000000 ffffffff 00
         ffffff99 ffffff99 ffffffff 01 ffffffff",
        3,
        0x19,
        &failed,
    );
    let done = Ok(Response::Multi(vec![OpResult::Check, OpResult::SetData(stat())]));
    let digits = format!(
        "0000006f 00000004 000000000000001a 00000000 0000000d 00 00000000 00000005 00 00000000
         {STAT} ffffffff 01 ffffffff"
    );
    check_reply(&digits, 4, 0x1a, &done);
}

#[test]
fn a_captured_event_is_what_we_send() {
    let event = Event { kind: EventKind::DataChanged, path: "/v".into() };
    let bytes = hex("0000001e ffffffff ffffffffffffffff 00000000 00000003 00000003 00000002 2f76");
    assert_eq!(bytes_of(|out| encode_event(out, Zxid(-1), &event)), bytes);
    let (header, body) = decode_reply_header(content(&bytes)).expect("whole");
    assert_eq!(header, ReplyHeader { xid: EVENT_XID, zxid: Zxid(-1), error: 0 });
    assert_eq!(decode_event(body), Ok(event));
}

#[test]
fn every_error_is_a_header_alone_and_comes_back() {
    for error in ErrorCode::ALL {
        let bytes = bytes_of(|out| encode_reply(out, Xid(5), Zxid(6), &Err(error)));
        let (header, body) = decode_reply_header(content(&bytes)).expect("whole");
        assert_eq!(header, ReplyHeader { xid: Xid(5), zxid: Zxid(6), error: error.code() });
        assert!(body.is_empty());
        assert_eq!(error_of(header.error), Some(error));
    }
    assert_eq!(error_of(0), None);
    assert_eq!(error_of(-126), None);
}

#[test]
fn a_refused_login_is_an_error_with_a_null_token() {
    let refused = Ok(Response::SaslRefused(ErrorCode::AuthFailed));
    let bytes = bytes_of(|out| encode_reply(out, Xid(1), Zxid(0), &refused));
    assert_eq!(bytes, hex("00000014 00000001 0000000000000000 ffffff8d ffffffff"));
    let unheard = Ok(Response::Sasl(None));
    let bytes = bytes_of(|out| encode_reply(out, Xid(1), Zxid(0), &unheard));
    assert_eq!(bytes, hex("00000014 00000001 0000000000000000 00000000 ffffffff"));
}

#[test]
fn an_answer_that_no_frame_can_hold_becomes_an_error() {
    let names = Ok(Response::Names(["a", "b"].into()));
    let header = ReplyHeader { xid: Xid(5), zxid: Zxid(6), error: 0 };
    let encoded = |limit| bytes_of(|out| encode_reply_within(out, limit, header, &names));
    let (whole, _) = decode_reply_header(content(&encoded(30))).expect("whole");
    assert_eq!(whole, header);
    let (cut, body) = decode_reply_header(content(&encoded(29))).expect("whole");
    assert_eq!(cut, ReplyHeader { error: ErrorCode::MarshallingError.code(), ..header });
    assert!(body.is_empty());
}

#[test]
fn null_data_stays_null() {
    let reply = Ok(Response::Data(None, Stat::default()));
    let bytes = bytes_of(|out| encode_reply(out, Xid(1), Zxid(1), &reply));
    assert_eq!(&bytes[20..24], b"\xff\xff\xff\xff");
}

#[test]
fn frames_stand_one_behind_the_other() {
    let mut out = BytesMut::new();
    encode_event(&mut out, Zxid(7), &Event { kind: EventKind::Created, path: "/a".into() });
    encode_reply(&mut out, Xid(1), Zxid(7), &Ok(Response::Empty));
    let first = split_frame(&mut out, 100).expect("good").expect("whole");
    let second = split_frame(&mut out, 100).expect("good").expect("whole");
    assert_eq!(decode_reply_header(first).expect("whole").0.xid, EVENT_XID);
    assert_eq!(decode_reply_header(second).expect("whole").0.xid, Xid(1));
    assert!(out.is_empty());
}

#[test]
fn a_cut_answer_is_an_error() {
    let get = Request::Read(Read::GetData { path: "/v".into(), watch: false });
    let multi = Request::Write(Write::multi(vec![]));
    let results = vec![
        OpResult::Create2("/a".into(), stat()),
        OpResult::Names(["b"].into()),
        OpResult::Error(Some(ErrorCode::NoNode)),
    ];
    let samples =
        [(get, Response::Data(Some("hi".into()), stat())), (multi, Response::Multi(results))];
    for (request, response) in samples {
        let reply = Ok(response.clone());
        let bytes = content(&bytes_of(|out| encode_reply(out, Xid(1), Zxid(1), &reply)));
        for length in 0..16 {
            assert!(decode_reply_header(bytes.slice(..length)).is_err(), "at {length}");
        }
        let body = bytes.slice(16..);
        for length in 0..body.len() {
            assert!(decode_response(&request, body.slice(..length)).is_err(), "at {length}");
        }
        assert_eq!(decode_response(&request, body), Ok(response));
    }
}

#[test]
fn a_password_of_another_length_is_an_error() {
    for length in [15, 17] {
        let digits =
            format!("00000000 00002710 0000000000000001 {length:08x} {}", "00".repeat(length));
        let error = decode_connected(hex(&digits));
        assert!(matches!(error, Err(WireError::Length { what: "password", .. })), "{length}");
    }
}

fn names() -> impl Strategy<Value = Names> {
    vec(samples::text(), 0..4).prop_map(|names| names.iter().collect())
}

fn result() -> impl Strategy<Value = OpResult> {
    use samples::{data, stat, text};
    let error = option::of((0..ErrorCode::ALL.len()).prop_map(|n| ErrorCode::ALL[n]));
    prop_oneof![
        text().prop_map(OpResult::Create),
        (text(), stat()).prop_map(|(path, stat)| OpResult::Create2(path, stat)),
        Just(OpResult::Delete),
        stat().prop_map(OpResult::SetData),
        Just(OpResult::Check),
        names().prop_map(OpResult::Names),
        (data(), stat()).prop_map(|(data, stat)| OpResult::Data(data.map(SharedData::from), stat)),
        error.prop_map(OpResult::Error),
    ]
}

fn create(kind: CreateKind) -> Request {
    Request::Write(Write::Create(Create {
        path: Text::new(),
        data: None,
        acl: [].into(),
        flags: 0,
        ttl_ms: -1,
        kind,
    }))
}

fn children(with_stat: bool) -> Request {
    Request::Read(Read::GetChildren { path: Text::new(), watch: false, with_stat })
}

/// A response, and a request that it answers.
fn exchange() -> impl Strategy<Value = (Request, Response)> {
    use samples::{acl, data, id, stat, text};
    let read = Request::Read;
    let path = Text::new;
    prop_oneof![
        Just((Request::Ping, Response::Empty)),
        text().prop_map(|path| (create(CreateKind::Create), Response::Path(path))),
        (text(), stat())
            .prop_map(|(path, stat)| (create(CreateKind::Ttl), Response::PathStat(path, stat))),
        stat().prop_map(move |stat| {
            (read(Read::Exists { path: path(), watch: false }), Response::Stat(stat))
        }),
        (data(), stat()).prop_map(move |(data, stat)| {
            (
                read(Read::GetData { path: path(), watch: false }),
                Response::Data(data.map(SharedData::from), stat),
            )
        }),
        (acl(), stat()).prop_map(move |(acl, stat)| {
            (read(Read::GetAcl { path: path() }), Response::Acl(acl, stat))
        }),
        names().prop_map(|names| (children(false), Response::Names(names))),
        (names(), stat())
            .prop_map(|(names, stat)| (children(true), Response::NamesStat(names, stat))),
        text().prop_map(move |answer| (Request::Sync(path()), Response::Sync(answer))),
        any::<i32>().prop_map(move |count| {
            (read(Read::CountDescendants { path: path() }), Response::Count(count))
        }),
        vec(result(), 0..5)
            .prop_map(|results| (Request::Write(Write::multi(vec![])), Response::Multi(results))),
        data().prop_map(|token| {
            let asked = Request::Sasl(SaslToken(Bytes::new()));
            (asked, Response::Sasl(token.map(SaslToken)))
        }),
        vec(id(), 0..3).prop_map(move |ids| (read(Read::WhoAmI), Response::Identities(ids))),
    ]
}

proptest! {
    #[test]
    fn every_response_comes_back(xid: i32, zxid: i64, (request, response) in exchange()) {
        let reply = Ok(response.clone());
        let bytes = bytes_of(|out| encode_reply(out, Xid(xid), Zxid(zxid), &reply));
        let (header, body) = decode_reply_header(content(&bytes)).expect("whole");
        prop_assert_eq!(header, ReplyHeader { xid: Xid(xid), zxid: Zxid(zxid), error: 0 });
        prop_assert_eq!(decode_response(&request, body), Ok(response));
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error((request, _) in exchange(), body: Vec<u8>) {
        let length = body.len();
        if let Ok(Response::Names(names)) = decode_response(&request, Bytes::from(body)) {
            prop_assert!(names.len() * 4 <= length);
        }
    }
}
