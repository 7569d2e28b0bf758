//! Clients' requests: ZooKeeper's own bytes, round trips, and what is malformed.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use zokor_core::proto::open_acl;

use super::*;
use crate::wire::frame::split_frame;
use crate::wire::samples::{self, bytes_of, hex};

const LIMIT: usize = 1 << 20;

/// The content of the one frame in `bytes`.
fn content(bytes: &[u8]) -> Bytes {
    let mut buffer = BytesMut::from(bytes);
    let frame = split_frame(&mut buffer, LIMIT).expect("a good length").expect("a whole frame");
    assert!(buffer.is_empty(), "more than one frame");
    frame
}

fn decode(digits: &str) -> Request {
    decode_request(hex(digits), LIMIT).expect("the header is whole").1
}

/// Checks a captured frame in both directions.
fn check_capture(digits: &str, xid: i32, request: &Request) {
    let decoded = decode_request(content(&hex(digits)), LIMIT).expect("the header is whole");
    assert_eq!(&decoded, &(Xid(xid), request.clone()));
    assert_eq!(bytes_of(|out| encode_request(out, Xid(xid), request)), hex(digits));
}

#[test]
fn a_captured_create_decodes() {
    check_capture(
        "00000033 00000001 00000001 00000002 2f76 00000002 6869 00000001 0000001f 00000005
         776f726c64 00000006 616e796f6e65 00000000",
        1,
        &Request::Write(Write::Create(Create {
            path: "/v".into(),
            data: Some(Bytes::from_static(b"hi")),
            acl: open_acl(),
            flags: 0,
            ttl_ms: -1,
            kind: CreateKind::Create,
        })),
    );
}

#[test]
fn a_captured_get_data_decodes() {
    let read = Read::GetData { path: "/v".into(), watch: true };
    check_capture("0000000f 00000002 00000004 00000002 2f76 01", 2, &Request::Read(read));
}

#[test]
fn a_captured_ping_decodes() {
    check_capture("00000008 fffffffe 0000000b", -2, &Request::Ping);
}

#[test]
fn captured_multis_decode() {
    let create = Write::Create(Create {
        path: "/v/a".into(),
        data: Some(Bytes::new()),
        acl: open_acl(),
        flags: 0,
        ttl_ms: -1,
        kind: CreateKind::Create,
    });
    let check = |version| Write::Check { path: "/v".into(), version };
    check_capture(
        "00000058 00000003 0000000e 00000001 00 ffffffff 00000004 2f762f61 00000000 00000001
         0000001f 00000005 776f726c64 00000006 616e796f6e65 00000000 0000000d 00 ffffffff 00000002
         2f76 00000007 ffffffff 01 ffffffff",
        3,
        &Request::Write(Write::multi(vec![create, check(7)])),
    );
    let data = Some(Bytes::from_static(b"x"));
    let set = Write::SetData { path: "/v".into(), data, version: 0 };
    check_capture(
        "0000003c 00000004 0000000e 0000000d 00 ffffffff 00000002 2f76 00000000 00000005 00
         ffffffff 00000002 2f76 00000001 78 00000000 ffffffff 01 ffffffff",
        4,
        &Request::Write(Write::multi(vec![check(0), set])),
    );
}

#[test]
fn a_connect_request_may_lack_its_last_byte_and_its_password() {
    let fields = "00000000 0000000000000018 00002710 0000000000000000";
    let request = |password: Bytes, read_only| ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0x18,
        timeout_ms: 10_000,
        session: SessionId(0),
        password,
        read_only,
    };
    let zeroes = format!("{fields} 00000010 {}", "00".repeat(16));
    let password = Bytes::from_static(&[0; 16]);
    assert_eq!(decode_connect(hex(&zeroes)), Ok(request(password.clone(), None)));
    assert_eq!(decode_connect(hex(&format!("{zeroes} 01"))), Ok(request(password, Some(true))));
    for absent in ["ffffffff", "00000000"] {
        let bytes = hex(&format!("{fields} {absent} 00"));
        assert_eq!(decode_connect(bytes), Ok(request(Bytes::new(), Some(false))));
    }
}

#[test]
fn a_cut_connect_request_is_an_error() {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 1,
        timeout_ms: 2,
        session: SessionId(3),
        password: Bytes::from_static(&[4; 16]),
        read_only: Some(true),
    };
    let whole = content(&bytes_of(|out| encode_connect(out, &request)));
    assert_eq!(whole.len(), 45);
    for length in 0..44 {
        assert!(decode_connect(whole.slice(..length)).is_err(), "at {length}");
    }
    assert_eq!(decode_connect(whole.slice(..44)).expect("whole").read_only, None);
}

#[test]
fn a_cut_header_is_an_error_and_a_cut_record_is_malformed() {
    let path = || Text::from("/a");
    let write = Write::Create(Create {
        path: path(),
        data: None,
        acl: open_acl(),
        flags: 5,
        ttl_ms: 9,
        kind: CreateKind::Ttl,
    });
    let rewatch = Rewatch { persistent: vec![path()], ..Rewatch::default() };
    let packet = AuthPacket { scheme: "digest".into(), auth: Some(Bytes::from_static(b"a:b")) };
    let requests = [
        Request::Write(Write::multi(vec![
            write.clone(),
            Write::Delete { path: path(), version: 1 },
        ])),
        Request::Write(write),
        Request::Write(Write::SetData { path: path(), data: None, version: 1 }),
        Request::Write(Write::SetAcl { path: path(), acl: open_acl(), version: 1 }),
        Request::Read(Read::Exists { path: path(), watch: true }),
        Request::Read(Read::Multi(vec![Read::GetData { path: path(), watch: false }])),
        Request::Read(Read::RemoveWatches { path: path(), kind: WatcherType::Any }),
        Request::Sync(path()),
        Request::Auth(packet),
        Request::Sasl(SaslToken(Bytes::from_static(b"token"))),
        Request::SetWatches(rewatch),
        Request::Reconfig(Reconfig {
            leaving: Some("3".into()),
            version: 7,
            ..Reconfig::default()
        }),
    ];
    for request in requests {
        let whole = content(&bytes_of(|out| encode_request(out, Xid(7), &request)));
        for length in 0..whole.len() {
            let decoded = decode_request(whole.slice(..length), LIMIT);
            match length {
                0..8 => assert!(decoded.is_err(), "{request:?} at {length}"),
                _ => assert_eq!(decoded, Ok((Xid(7), Request::Malformed)), "at {length}"),
            }
        }
        let longer: Bytes = whole.iter().copied().chain([1, 2, 3]).collect();
        assert_eq!(decode_request(longer, LIMIT), Ok((Xid(7), request)), "trailing bytes");
    }
}

#[test]
fn opcodes_that_are_not_for_clients_are_unknown() {
    for op in [-1, -10, 0, 10, 13, 20, 23, 99, 108, i32::MAX, i32::MIN] {
        let request = decode_request(hex(&format!("00000001 {op:08x}")), LIMIT);
        assert_eq!(request, Ok((Xid(1), Request::Unknown(op))));
    }
}

#[test]
fn requests_of_a_header_alone_ignore_what_follows() {
    assert_eq!(decode("00000001 fffffff5"), Request::Write(Write::CloseSession));
    assert_eq!(decode("00000001 fffffff5 ff"), Request::Write(Write::CloseSession));
    assert_eq!(decode("00000001 0000006b"), Request::Read(Read::WhoAmI));
    assert_eq!(decode("00000001 0000000b 0102"), Request::Ping);
}

#[test]
fn null_is_refused_where_a_path_must_be_and_accepted_elsewhere() {
    assert_eq!(decode("00000001 00000004 ffffffff 00"), Request::Malformed);
    assert_eq!(decode("00000001 00000009 ffffffff"), Request::Malformed);
    assert_eq!(
        decode("00000001 00000065 0000000000000000 ffffffff 00000000 00000000"),
        Request::Malformed,
        "a null list of watches"
    );
    let prefix = Text::new();
    assert_eq!(decode("00000001 00000067 ffffffff"), Request::Read(Read::GetEphemerals { prefix }));
    assert_eq!(
        decode("00000001 00000007 00000002 2f61 ffffffff 00000003"),
        Request::Write(Write::SetAcl { path: "/a".into(), acl: [].into(), version: 3 })
    );
    assert_eq!(
        decode("00000001 00000064 00000000 ffffffff ffffffff"),
        Request::Auth(AuthPacket { scheme: Text::new(), auth: None })
    );
    let nothing = Request::Sasl(SaslToken(Bytes::new()));
    assert_eq!(decode("00000001 00000066 ffffffff"), nothing);
    assert_eq!(decode("00000001 00000066 00000000"), nothing);
}

#[test]
fn a_null_path_is_left_to_the_rules_for_paths_where_they_are_asked_first() {
    let (path, version) = (Text::new(), 3);
    assert_eq!(
        decode("00000001 00000005 ffffffff 00000000 00000003"),
        Request::Write(Write::SetData { path: path.clone(), data: Some(Bytes::new()), version })
    );
    assert_eq!(
        decode("00000001 00000007 ffffffff 00000000 00000003"),
        Request::Write(Write::SetAcl { path, acl: [].into(), version })
    );
    let delete = decode("00000001 00000002 ffffffff 00000003");
    assert_eq!(delete, Request::Malformed, "delete asks for the parent first");
    assert_eq!(
        decode(
            "00000001 0000000e 00000005 00 ffffffff ffffffff 00000000 00000003 ffffffff 01 ffffffff"
        ),
        Request::Malformed,
        "a multi asks for the parents of all its paths first"
    );
}

#[test]
fn modes_and_types_of_watches_are_checked() {
    for (digits, mode) in [("00000000", WatchMode::Persistent), ("00000001", WatchMode::Recursive)]
    {
        assert_eq!(
            decode(&format!("00000001 0000006a 00000002 2f61 {digits}")),
            Request::Read(Read::AddWatch { path: "/a".into(), mode })
        );
    }
    assert_eq!(decode("00000001 0000006a 00000002 2f61 00000002"), Request::Malformed);
    assert_eq!(decode("00000001 00000011 00000002 2f61 00000000"), Request::Malformed);
    assert_eq!(decode("00000001 00000012 00000002 2f61 00000006"), Request::Malformed);
    let kind = WatcherType::Recursive;
    assert_eq!(
        decode("00000001 00000012 00000002 2f61 00000005"),
        Request::Read(Read::RemoveWatches { path: "/a".into(), kind })
    );
}

#[test]
fn a_string_may_be_as_long_as_the_limit() {
    let bytes = hex("00000001 00000009 00000003 2f6162");
    let sync = Request::Sync("/ab".into());
    assert_eq!(decode_request(bytes.clone(), 4), Ok((Xid(1), sync.clone())));
    assert_eq!(decode_request(bytes.clone(), 3), Ok((Xid(1), sync)));
    assert_eq!(decode_request(bytes, 2), Ok((Xid(1), Request::Malformed)));
}

/// A multi of one operation: its type, then its record.
fn multi(outer: i32, op: i32, record: &str) -> Request {
    decode(&format!("00000001 {outer:08x} {op:08x} 00 ffffffff {record} ffffffff 01 ffffffff"))
}

#[test]
fn in_a_multi_the_flags_decide_the_kind_of_a_create() {
    use CreateKind::{Container, Create as Plain, Create2, Ttl};
    let kinds = |op: i32| -> Vec<Option<CreateKind>> {
        let ttl = if op == 21 { "0000000000000009" } else { "" };
        let flags = [0, 1, 2, 3, 4, 5, 6, 7, -1];
        let records = flags.map(|flags| format!("00000001 2f 00000000 00000000 {flags:08x} {ttl}"));
        let made = records.iter().map(|record| match multi(14, op, record) {
            Request::Write(Write::Multi(writes)) => match &writes[..] {
                [Write::Create(create)] => {
                    assert_eq!(create.ttl_ms, if create.kind == Ttl { 9 } else { -1 });
                    Some(create.kind)
                }
                other => panic!("{other:?}"),
            },
            Request::Malformed => None,
            other => panic!("{other:?}"),
        });
        made.collect()
    };
    let (plain, container) = (Some(Plain), Some(Container));
    let untouched = [plain, plain, plain, plain, container, None, None, None, None];
    assert_eq!(kinds(1), untouched);
    assert_eq!(kinds(19), untouched);
    let two = Some(Create2);
    assert_eq!(kinds(15), [two, two, two, two, container, None, None, None, None]);
    let ttl = Some(Ttl);
    assert_eq!(kinds(21), [plain, plain, plain, plain, plain, ttl, ttl, plain, plain]);
}

#[test]
fn a_multi_holds_only_what_belongs_in_it() {
    let path_version = "00000002 2f61 00000001";
    let path_watch = "00000002 2f61 01";
    assert_eq!(
        multi(14, 13, path_version),
        Request::Write(Write::multi(vec![Write::Check { path: "/a".into(), version: 1 }]))
    );
    for (op, watch) in [(4, false), (8, false)] {
        let path = Text::from("/a");
        let read = match op {
            4 => Read::GetData { path, watch },
            _ => Read::GetChildren { path, watch, with_stat: false },
        };
        assert_eq!(multi(22, op, path_watch), Request::Read(Read::Multi(vec![read])));
        assert_eq!(multi(14, op, path_watch), Request::Malformed, "a read among writes");
    }
    assert_eq!(multi(22, 2, path_version), Request::Malformed, "a write among reads");
    assert_eq!(multi(22, 3, path_watch), Request::Malformed, "exists");
    assert_eq!(multi(22, 12, path_watch), Request::Malformed, "getChildren2");
    assert_eq!(multi(14, -11, ""), Request::Malformed, "closeSession");
    let set_acl = "00000002 2f61 00000000 00000001";
    assert_eq!(multi(14, 7, set_acl), Request::Malformed, "setACL");
    let nested = "ffffffff 01 ffffffff";
    assert_eq!(multi(14, 14, nested), Request::Malformed, "a multi");
    assert_eq!(multi(22, 22, nested), Request::Malformed, "a multi of reads");
    let null_acl = "00000002 2f61 00000000 ffffffff 00000000";
    assert_eq!(multi(14, 1, null_acl), Request::Malformed, "a null acl");
}

#[test]
fn an_empty_multi_is_legal_and_one_without_an_end_is_not() {
    let end = "ffffffff 01 ffffffff";
    assert_eq!(decode(&format!("00000001 0000000e {end}")), Request::Write(Write::multi(vec![])));
    assert_eq!(decode(&format!("00000001 00000016 {end}")), Request::Read(Read::Multi(vec![])));
    assert_eq!(decode("00000001 0000000e"), Request::Malformed);
}

#[test]
fn deep_nesting_is_refused_at_the_first_level() {
    let level = "0000000e 00 ffffffff".repeat(50_000);
    assert_eq!(decode(&format!("00000001 0000000e {level}")), Request::Malformed);
}

fn read() -> impl Strategy<Value = Read> {
    use samples::text;
    let kind = || {
        prop_oneof![
            Just(WatcherType::Children),
            Just(WatcherType::Data),
            Just(WatcherType::Any),
            Just(WatcherType::Persistent),
            Just(WatcherType::Recursive),
        ]
    };
    let mode = prop_oneof![Just(WatchMode::Persistent), Just(WatchMode::Recursive)];
    let in_multi = prop_oneof![
        text().prop_map(|path| Read::GetData { path, watch: false }),
        text().prop_map(|path| Read::GetChildren { path, watch: false, with_stat: false }),
    ];
    prop_oneof![
        (text(), any::<bool>()).prop_map(|(path, watch)| Read::Exists { path, watch }),
        (text(), any::<bool>()).prop_map(|(path, watch)| Read::GetData { path, watch }),
        text().prop_map(|path| Read::GetAcl { path }),
        (text(), any::<bool>(), any::<bool>())
            .prop_map(|(path, watch, with_stat)| { Read::GetChildren { path, watch, with_stat } }),
        text().prop_map(|prefix| Read::GetEphemerals { prefix }),
        text().prop_map(|path| Read::CountDescendants { path }),
        vec(in_multi, 0..4).prop_map(Read::Multi),
        (text(), mode).prop_map(|(path, mode)| Read::AddWatch { path, mode }),
        (text(), kind()).prop_map(|(path, kind)| Read::CheckWatches { path, kind }),
        (text(), kind()).prop_map(|(path, kind)| Read::RemoveWatches { path, kind }),
        Just(Read::WhoAmI),
    ]
}

/// A write as a request can carry it: in a multi, every create is of the kind that its flags say.
fn write() -> impl Strategy<Value = Write> {
    samples::write().prop_map(|mut write| {
        if let Write::Multi(writes) = &mut write {
            writes.change(|write| {
                if let Write::Create(create) = write {
                    (create.flags, create.kind, create.ttl_ms) = (0, CreateKind::Create2, -1);
                }
            });
        }
        write
    })
}

fn request() -> impl Strategy<Value = Request> {
    use samples::{data, text};
    let texts = || vec(text(), 0..3);
    let rewatch = (any::<i64>(), texts(), texts(), texts(), texts(), texts()).prop_map(
        |(relative_zxid, data, exist, child, persistent, recursive)| Rewatch {
            relative_zxid,
            data,
            exist,
            child,
            persistent,
            recursive,
        },
    );
    prop_oneof![
        6 => write().prop_map(Request::Write),
        6 => read().prop_map(Request::Read),
        1 => text().prop_map(Request::Sync),
        1 => Just(Request::Ping),
        1 => (text(), data())
            .prop_map(|(scheme, auth)| Request::Auth(AuthPacket { scheme, auth })),
        1 => data().prop_map(|token| Request::Sasl(SaslToken(token.unwrap_or_default()))),
        2 => rewatch.prop_map(Request::SetWatches),
        1 => Just(Request::Malformed),
    ]
}

proptest! {
    #[test]
    fn every_request_comes_back(xid: i32, request in request()) {
        let bytes = bytes_of(|out| encode_request(out, Xid(xid), &request));
        let decoded = decode_request(content(&bytes), LIMIT);
        prop_assert_eq!(decoded, Ok((Xid(xid), request)));
    }

    #[test]
    fn every_connect_request_comes_back(
        numbers: (i32, i64, i32, i64),
        password: Vec<u8>,
        read_only in option::of(any::<bool>()),
    ) {
        let request = ConnectRequest {
            protocol_version: numbers.0,
            last_zxid_seen: numbers.1,
            timeout_ms: numbers.2,
            session: SessionId(numbers.3),
            password: Bytes::from(password),
            read_only,
        };
        let bytes = bytes_of(|out| encode_connect(out, &request));
        prop_assert_eq!(decode_connect(content(&bytes)), Ok(request));
    }

    #[test]
    fn any_bytes_behind_a_header_decode_to_something(op in -12i32..110, body: Vec<u8>) {
        let header = [1i32.to_be_bytes(), op.to_be_bytes()].concat();
        let bytes = Bytes::from([header, body].concat());
        prop_assert!(decode_request(bytes, LIMIT).is_ok());
    }
}

#[test]
fn the_open_acl_of_a_client_is_known_by_its_bytes() {
    let acl = open_acl();
    let (path, data, kind) = ("/a".into(), None, CreateKind::Create);
    let create = Create { path, data, acl, flags: 0, ttl_ms: -1, kind };
    let request = Request::Write(Write::Create(create));
    let bytes = content(&bytes_of(|out| encode_request(out, Xid(7), &request)));
    let (_, decoded) = decode_request(bytes, LIMIT).expect("it is whole");
    let Request::Write(Write::Create(Create { acl, .. })) = decoded else { panic!("{decoded:?}") };
    assert!(std::sync::Arc::ptr_eq(&acl, &crate::wire::shared_open_acl()));
}
