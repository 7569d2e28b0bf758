//! The bytes of log entries: round trips, golden bytes, and what is refused.

use proptest::prelude::*;
use zokor_core::db::{ImageNode, RestoreStep, RestoredSession, StoredStat};
use zokor_core::proto::{Id, Identities, Text, open_acl};

use super::*;
use crate::wire::samples::{self, bytes_of, hex};

fn entry(term: u64, index: u64, payload: Payload<Txn>) -> Entry<Txn> {
    Entry { id: EntryId { term: Term(term), index: Index(index) }, payload }
}

fn command(action: Action) -> Entry<Txn> {
    let rules = Rules::default();
    entry(3, 300, Payload::Command(Txn { time: WallTime(1_000), rules, action }))
}

fn write(write: Write) -> Entry<Txn> {
    command(Action::Write { author: author(), write })
}

/// The seventh in the lane that server 3 took up at 5.
fn local(work: LocalWork) -> Entry<Txn> {
    let lane = Lane { server: ServerId(3), token: Token(5), sequence: Sequence(7) };
    command(Action::Local { lane, author: author(), work })
}

fn author() -> Author {
    Author {
        session: SessionId(0x0100_0000_0000_0001),
        token: Token(5),
        sequence: Sequence(6),
        identities: Identities::from(vec![Id::new("ip", "::1")]),
    }
}

fn create(kind: CreateKind) -> Write {
    Write::Create(Create {
        path: "/v".into(),
        data: Some(Bytes::from_static(b"hi")),
        acl: open_acl(),
        flags: 2,
        ttl_ms: -1,
        kind,
    })
}

/// The head of `command`, and the author of `write`.
const HEAD: &str = "01 03 ac02 01 d00f";
const AUTHOR: &str = "0100000000000001 0a 06 01 02 6970 03 3a3a31";

/// An entry of every kind, and its bytes. They may never change while the version is 1.
fn golden() -> Vec<(Entry<Txn>, String)> {
    let path = || Text::from("/v");
    let acl = "01 3e 05 776f726c64 06 616e796f6e65";
    let created = format!("02 2f76 03 6869 {acl} 04 01");
    let set = Write::SetData { path: path(), data: None, version: -1 };
    let check = Write::Check { path: path(), version: 7 };
    let delete = Write::Delete { path: path(), version: 0 };
    let Write::Create(Create { acl: open, .. }) = create(CreateKind::Create) else {
        unreachable!("it is a create");
    };
    let set_acl = Write::SetAcl { path: path(), acl: open, version: 1 };
    let servers = |ids: &[u64]| ids.iter().copied().map(ServerId).collect();
    let membership =
        Membership { outgoing: servers(&[1]), ..Membership::of_voters(servers(&[1, 2, 300])) };
    let groups = |text: &str| Groups::from_lines(text);
    let grouped = Membership {
        groups: groups("group.1=2\ngroup.7=1:300\nweight.1=0\nweight.300=129"),
        ..membership.clone()
    };
    let regrouped = Membership { outgoing_groups: groups("group.0=1"), ..membership.clone() };
    let (session, password, nonce) = (SessionId(-2), [7; 16], Nonce(9));
    let sevens = "07".repeat(16);
    let members = vec![Member { id: ServerId(1), line: Text::from("a:1") }];
    let ensemble = Ensemble { members, ..Ensemble::default() };
    let in_groups = Ensemble { groups: groups("group.2=1\nweight.1=3"), ..ensemble.clone() };
    let rules = Rules { extended_types: true, enforce_quota: true, ..Rules::default() };
    let action = Action::Expire { session, token: Token(4) };
    let ruled = Txn { time: WallTime(1_000), rules, action };
    let of_write = |bytes: &str| format!("{HEAD} 01 {AUTHOR} {bytes}");
    let of_action = |bytes: &str| format!("{HEAD} {bytes}");
    vec![
        (entry(1, 1, Payload::Blank), "01 01 01 00".to_owned()),
        (
            entry(2, 128, Payload::Membership(membership)),
            "01 02 8001 02 03 01 02 ac02 01 01 00".to_owned(),
        ),
        (
            entry(2, 128, Payload::Membership(grouped)),
            "01 02 8001 04 03 01 02 ac02 01 01 00  02 01 01 02 01 07 02 01 00 ac02 8101 00"
                .to_owned(),
        ),
        (
            entry(2, 128, Payload::Membership(regrouped)),
            "01 02 8001 04 03 01 02 ac02 01 01 00  00 01 00 01 01 01".to_owned(),
        ),
        (write(create(CreateKind::Create)), of_write(&format!("01 {created}"))),
        (write(create(CreateKind::Create2)), of_write(&format!("0f {created}"))),
        (write(create(CreateKind::Container)), of_write(&format!("13 {created}"))),
        (write(create(CreateKind::Ttl)), of_write(&format!("15 {created}"))),
        (write(delete.clone()), of_write("02 02 2f76 00")),
        (write(set.clone()), of_write("05 02 2f76 00 01")),
        (write(set_acl), of_write(&format!("07 02 2f76 {acl} 02"))),
        (write(check.clone()), of_write("0d 02 2f76 0e")),
        (write(Write::CloseSession), of_write("f5")),
        (
            write(Write::multi(vec![check.clone(), set, delete])),
            of_write("0e 03 0d 02 2f76 0e 05 02 2f76 00 01 02 02 2f76 00"),
        ),
        (
            command(Action::Open { session, password, timeout_ms: 64, nonce }),
            of_action(&format!("02 fffffffffffffffe {sevens} 8001 0000000000000009")),
        ),
        (
            command(Action::Attach {
                session,
                password,
                timeout_ms: 64,
                replaces: Token(4),
                nonce,
            }),
            of_action(&format!("03 fffffffffffffffe {sevens} 8001 08 0000000000000009")),
        ),
        (command(Action::Expire { session, token: Token(4) }), of_action("04 fffffffffffffffe 08")),
        (command(Action::Reap { path: path(), unused_ms: 0 }), of_action("05 02 2f76")),
        (command(Action::Reap { path: path(), unused_ms: 64 }), of_action("07 02 2f76 8001")),
        (
            entry(3, 300, Payload::Command(ruled)),
            "01 03 ac02 03 05 d00f 04 fffffffffffffffe 08".to_owned(),
        ),
        (command(Action::Describe { ensemble }), of_action("06 01 01 03 613a31")),
        (
            command(Action::Describe { ensemble: in_groups }),
            of_action("0b 01 01 03 613a31 01 02 01 01 03"),
        ),
        (
            command(Action::Enroll {
                server: ServerId(3),
                first: session,
                replaces: Token(4),
                nonce,
            }),
            of_action("08 03 fffffffffffffffe 08 0000000000000009"),
        ),
        (local(LocalWork::Write(check)), of_action(&format!("09 03 0a 07 {AUTHOR} 0d 02 2f76 0e"))),
        (
            local(LocalWork::Upgrade { password, timeout_ms: 64 }),
            of_action(&format!("0a 03 0a 07 {AUTHOR} {sevens} 8001")),
        ),
    ]
    .into_iter()
    .chain(restores())
    .collect()
}

/// The entries of a restore.
fn restores() -> Vec<(Entry<Txn>, String)> {
    let (token, number) = (Token(5), Sequence(7));
    let session = RestoredSession { id: SessionId(-2), password: [7; 16], timeout_ms: 64 };
    let acl = vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }];
    let stat = StoredStat {
        czxid: 1,
        mzxid: 2,
        ctime: 3,
        mtime: 4,
        version: 5,
        cversion: 6,
        aversion: 7,
        ephemeral_owner: 8,
        pzxid: 9,
    };
    let (path, data) = (Text::from("/v"), Some(Bytes::from_static(b"hi")));
    let znode = ImageNode { path, data, acl: acl.into(), stat };
    let piece = RestoreStep::Piece { sessions: vec![session], znodes: vec![znode] };
    let end = RestoreStep::End { n_sessions: 1, n_znodes: 300, digest: 9 };
    let sessions = format!("01 fffffffffffffffe {} 8001", "07".repeat(16));
    let znodes =
        "01 02 2f76 03 6869 01 3e 05 776f726c64 06 616e796f6e65 02 04 06 08 0a 0c 0e 10 12";
    vec![
        (
            command(Action::BeginRestore { replaces: Token(4), nonce: Nonce(9) }),
            format!("{HEAD} 0c 08 0000000000000009"),
        ),
        (
            command(Action::Restore { token, number, step: piece }),
            format!("{HEAD} 0d 0a 07 {sessions} {znodes}"),
        ),
        (
            command(Action::Restore { token, number, step: end }),
            format!("{HEAD} 0e 0a 07 01 ac02 0000000000000009"),
        ),
        (command(Action::AbandonRestore { token, number }), format!("{HEAD} 0f 0a 07")),
    ]
}

#[test]
fn the_bytes_of_version_1_are_fixed() {
    for (entry, digits) in golden() {
        assert_eq!(bytes_of(|out| encode_entry(&entry, out)), hex(&digits), "{entry:?}");
        assert_eq!(decode_entry(hex(&digits)), Ok(entry));
    }
}

#[test]
fn the_example_in_the_document_is_true() {
    let document = include_str!("../ENTRY.md");
    let example = document.split("```").nth(1).expect("there is one example");
    let digits = example.lines().filter_map(|line| line.split("  ").next());
    let bytes = hex(&digits.collect::<String>());
    assert_eq!(bytes.len(), 50, "as the document says");
    assert_eq!(decode_entry(bytes), Ok(write(create(CreateKind::Create))));
}

#[test]
fn an_entry_that_is_cut_or_goes_on_is_an_error() {
    for (entry, digits) in golden() {
        let whole = hex(&digits);
        for length in 0..whole.len() {
            assert!(decode_entry(whole.slice(..length)).is_err(), "{entry:?} at {length}");
        }
        let longer: Bytes = whole.iter().copied().chain([0]).collect();
        let offset = whole.len();
        assert_eq!(
            decode_entry(longer),
            Err(WireError::Trailing { what: "entry", offset, left: 1 })
        );
    }
}

#[test]
fn another_version_is_refused_before_anything_is_read() {
    for version in [0, 2, 255] {
        let error = WireError::Version { what: "entry", found: version, known: 1 };
        let bytes = Bytes::from(vec![u8::try_from(version).expect("small"), 0xff]);
        assert_eq!(decode_entry(bytes), Err(error));
    }
}

#[test]
fn unknown_kinds_are_refused() {
    let of_write = |bytes: &str| decode_entry(hex(&format!("{HEAD} 01 {AUTHOR} {bytes}")));
    assert!(matches!(decode_entry(hex("01 01 01 05")), Err(WireError::Value { .. })));
    assert!(matches!(decode_entry(hex(&format!("{HEAD} 10"))), Err(WireError::Value { .. })));
    for bytes in ["00", "03", "ff", "80"] {
        assert!(matches!(of_write(bytes), Err(WireError::Value { .. })), "{bytes}");
    }
}

#[test]
fn rules_that_say_nothing_or_are_unknown_are_refused() {
    for bits in ["00", "10", "ff"] {
        let entry = decode_entry(hex(&format!("01 03 ac02 03 {bits} d00f 05 02 2f76")));
        assert!(matches!(entry, Err(WireError::Value { what: "rules", .. })), "{bits}");
    }
    let reap = decode_entry(hex(&format!("{HEAD} 07 02 2f76 00")));
    assert!(matches!(reap, Err(WireError::Value { what: "time unused", .. })));
}

#[test]
fn a_multi_holds_no_multi_no_set_acl_and_no_close() {
    let of_write = |bytes: &str| decode_entry(hex(&format!("{HEAD} 01 {AUTHOR} {bytes}")));
    assert!(of_write("0e 01 0d 02 2f76 0e").is_ok());
    for inner in ["0e 00 00 00", "07 02 2f76 00 02", "f5 00 00"] {
        let error = of_write(&format!("0e 01 {inner}"));
        assert!(matches!(error, Err(WireError::Value { what: "kind of write", .. })), "{inner}");
    }
}

#[test]
fn servers_of_a_membership_ascend() {
    for servers in ["02 02 01", "02 01 01"] {
        let error = Err(WireError::Misplaced { what: "server" });
        assert_eq!(decode_entry(hex(&format!("01 02 03 02 {servers} 00 00"))), error);
    }
}

#[test]
fn groups_have_one_encoding() {
    let of = |groups: &str| decode_entry(hex(&format!("01 02 03 04 02 01 02 00 00 {groups}")));
    assert!(of("01 01 02 01 01 02 00 00").is_ok());
    assert!(of("02 01 01 01 01 02 01 02 01 00").is_ok());
    let most = "01 01 01 01 ffffffffffffffff7f";
    assert!(of(&format!("{most} 00")).is_ok());
    for (groups, what) in [
        ("00 00", "groups"),
        ("01 01 00 00 00 00", "group"),
        ("02 02 01 01 01 01 01 02 01 00", "group"),
        ("02 01 01 01 01 01 01 02 01 00", "group"),
        ("02 01 01 01 01 02 01 01 01 00", "server of a group"),
        ("01 01 02 02 01 01 01 00", "server of a group"),
        ("01 01 02 01 01 01 01 00", "server of a group"),
        ("01 01 01 01 80808080808080808001 00", "server of a group"),
        ("01 80808080808080808001 01 01 01 00", "group"),
    ] {
        assert_eq!(of(groups), Err(WireError::Misplaced { what }), "{groups}");
    }
    let described = decode_entry(hex(&format!("{HEAD} 0b 01 01 03 613a31 00")));
    assert_eq!(described, Err(WireError::Misplaced { what: "groups" }));
}

#[test]
fn data_is_a_slice_of_the_record() {
    let bytes = bytes_of(|out| encode_entry(&write(create(CreateKind::Create)), out));
    let decoded = decode_entry(bytes.clone()).expect("it was encoded");
    let Payload::Command(Txn {
        action: Action::Write { write: Write::Create(create), .. }, ..
    }) = decoded.payload
    else {
        panic!("{decoded:?}");
    };
    let data = create.data.expect("it has data");
    assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
}

proptest! {
    #[test]
    fn every_entry_comes_back(entry in samples::entry()) {
        let bytes = bytes_of(|out| encode_entry(&entry, out));
        prop_assert_eq!(decode_entry(bytes), Ok(entry));
    }

    /// Batches are cut by weight, and a frame that is too long could never be passed on.
    #[test]
    fn no_entry_has_more_bytes_than_its_command_weighs(entry in samples::entry()) {
        let bytes = bytes_of(|out| encode_entry(&entry, out));
        if let Payload::Command(txn) = &entry.payload {
            prop_assert!(bytes.len() <= txn.size_bytes());
        }
    }

    #[test]
    fn every_action_comes_back(action in samples::action()) {
        let bytes = bytes_of(|out| encode_action(&action, out));
        prop_assert_eq!(decode_action(bytes), Ok(action));
    }

    #[test]
    fn a_flipped_entry_is_refused_or_has_those_very_bytes(
        entry in samples::entry(),
        at: prop::sample::Index,
        to: u8,
    ) {
        let mut bytes = bytes_of(|out| encode_entry(&entry, out)).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(other) = decode_entry(Bytes::from(bytes.clone())) {
            prop_assert_eq!(bytes_of(|out| encode_entry(&other, out)), bytes);
        }
    }
}

#[test]
fn the_open_acl_is_known_by_its_bytes_and_no_other_is_taken_for_it() {
    let entry =
        |bits, name: &str| Acl { permissions: Permissions(bits), id: Id::new("world", name) };
    let lists = [
        vec![entry(31, "anyone")],
        vec![entry(30, "anyone")],
        vec![entry(31, "anyones")],
        vec![entry(31, "anyone"), entry(31, "anyone")],
        vec![],
    ];
    for (n, list) in lists.iter().enumerate() {
        let mut out = BytesMut::new();
        put_acl(&mut out, list);
        let mut reader = Reader::new(out.freeze());
        let taken = take_acl(&mut reader).unwrap();
        reader.finish("acl").unwrap();
        assert_eq!(taken[..], list[..]);
        assert_eq!(std::sync::Arc::ptr_eq(&taken, &shared_open_acl()), n == 0, "{list:?}");
    }
}
