//! Runs the saved corpus of every fuzz target as plain tests, and keeps its seeds what the encoders
//! make: `UPDATE=1` writes them anew.

use bytes::{Bytes, BytesMut};
use zokor_core::auth::{Exchange, Step};
use zokor_core::db::{
    Action, Author, Image, ImageBuilder, ImageError, ImageNode, Lane, LocalWork, Rules, Txn,
};
use zokor_core::groups::Groups;
use zokor_core::id::{Nonce, Sequence, ServerId, SessionId, Token, Xid};
use zokor_core::proto::{
    Acl, AclList, AuthPacket, ConnectRequest, ConnectResponse, Create, CreateKind, Ensemble,
    ErrorCode, Event, EventKind, Id, Identities, Member, OpResult, Permissions, Read, Request,
    Response, Rewatch, SaslToken, SharedData, Stat, Write, Zxid,
};
use zokor_core::raft::{
    self, Body, Entry, EntryId, Index, Membership, Payload, SharedEntry, SnapshotMeta, Term,
};
use zokor_core::replica::{Comparison, Message, Snapshot};
use zokor_core::time::WallTime;
use zokor_net::wire::entry::{encode_action, encode_entry};
use zokor_net::wire::image::ImageEncoder;
use zokor_net::wire::login::{Login, Refusal, encode_login};
use zokor_net::wire::peer::{
    Hello, PartHeld, PartName, SnapshotFrames, encode_hello, encode_message, encode_part_held,
};
use zokor_net::wire::request::{encode_connect, encode_request};
use zokor_net::wire::response::{encode_connected, encode_event, encode_reply};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the file is a library of its own as well")]
mod doors;
#[path = "../../fuzz/saved/lib.rs"]
mod saved;

use saved::Seeds;

#[test]
fn connect_keeps_its_promises() {
    let request = |password: &'static [u8], read_only| ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0x18,
        timeout_ms: 10_000,
        session: SessionId(0x0100_0000_0000_0001),
        password: Bytes::from_static(password),
        read_only,
    };
    run("connect", doors::connect, |seeds| {
        let seed = |request| bytes_of(|out| encode_connect(out, &request));
        seeds.insert("usual", seed(request(&[7; 16], Some(false))));
        seeds.insert("old", seed(request(&[], None)));
        seeds.insert("word", b"ruok\n".to_vec());
        seeds.insert("http", b"GET / HTTP/1.1\r\n".to_vec());
        seeds.insert("tls", b"\x16\x03\x01\x02\0\x01".to_vec());
        seeds.insert("negative", b"\xff\xff\xff\xff".to_vec());
    });
}

#[test]
fn request_keeps_its_promises() {
    let packet = AuthPacket { scheme: "digest".into(), auth: Some(Bytes::from_static(b"a:b")) };
    let rewatch =
        Rewatch { data: vec!["/a".into()], recursive: vec!["/b".into()], ..Rewatch::default() };
    let reads = vec![
        Read::GetData { path: "/a".into(), watch: false },
        Read::GetChildren { path: "/b".into(), watch: false, with_stat: false },
    ];
    let delete = Write::Delete { path: "/a".into(), version: -1 };
    let check = Write::Check { path: "/a".into(), version: 1 };
    run("request", doors::request, |seeds| {
        // A target gets the content of a frame.
        let seed = |request| bytes_of(|out| encode_request(out, Xid(1), &request)).split_off(4);
        seeds.insert("create", seed(Request::Write(create())));
        seeds.insert("multi", seed(Request::Write(Write::multi(vec![create(), check, delete]))));
        seeds.insert("multi_read", seed(Request::Read(Read::Multi(reads))));
        seeds
            .insert("exists", seed(Request::Read(Read::Exists { path: "/a".into(), watch: true })));
        seeds.insert("auth", seed(Request::Auth(packet)));
        seeds.insert("sasl", seed(Request::Sasl(SaslToken(Bytes::from_static(b"a=\"b\"")))));
        seeds.insert("set_watches", seed(Request::SetWatches(rewatch)));
        seeds.insert("ping", seed(Request::Ping));
        seeds.insert("unknown", seed(Request::Unknown(20)));
        seeds.insert("malformed", seed(Request::Malformed));
    });
}

#[test]
fn response_keeps_its_promises() {
    let connected = ConnectResponse {
        timeout_ms: 4,
        session: SessionId(1),
        password: [7; 16],
        read_only: None,
    };
    let event = Event { kind: EventKind::DataChanged, path: "/a".into() };
    let data = || Some(Bytes::from_static(b"hi"));
    let results = vec![
        OpResult::Create("/a".into()),
        OpResult::Data(data().map(SharedData::from), Stat::default()),
        OpResult::Names(["b"].into()),
        OpResult::Error(Some(ErrorCode::NoNode)),
    ];
    let answers = [
        ("data", Ok(Response::Data(data().map(SharedData::from), Stat::default()))),
        ("names", Ok(Response::NamesStat(["b", "c"].into(), Stat::default()))),
        ("acl", Ok(Response::Acl(acl(), Stat::default()))),
        ("multi", Ok(Response::Multi(results))),
        ("who", Ok(Response::Identities(vec![Id::new("ip", "::1")]))),
        ("error", Err(ErrorCode::ThrottledOp)),
    ];
    run("response", doors::response, |seeds| {
        seeds.insert("connected", bytes_of(|out| encode_connected(out, &connected)).split_off(4));
        seeds.insert("event", bytes_of(|out| encode_event(out, Zxid(3), &event)).split_off(4));
        for (name, result) in answers {
            let bytes = bytes_of(|out| encode_reply(out, Xid(1), Zxid(2), &result));
            seeds.insert(name, bytes.clone().split_off(4));
        }
    });
}

#[test]
fn identity_keeps_its_promises() {
    run("identity", doors::identity, |seeds| {
        seeds.insert("digest", b"digest\0ada:secret:more".to_vec());
        seeds.insert("digest_id", b"digest\0ada:bjkZ9W+M82HUZ9xb8/Oy4cmJGfg=".to_vec());
        seeds.insert("ip", b"ip\x0010.0.0.1/24".to_vec());
        seeds.insert("ip6", b"ip\0fe80::1%2/64".to_vec());
        seeds.insert("world", b"world\0anyone".to_vec());
        seeds.insert("auth", b"auth\0".to_vec());
        seeds.insert("unknown", b"sasl".to_vec());
    });
}

#[test]
fn peer_message_keeps_its_promises() {
    let previous = EntryId { term: Term(2), index: Index(8) };
    let entries = vec![SharedEntry::new(entry())];
    let append = Body::Append { previous, commit: Index(7), entries };
    let append = Message::Raft(raft::Message { term: Term(3), body: append });
    let forward = Message::Forward(vec![Action::Reap { path: "/a".into(), unused_ms: 0 }, write()]);
    let heard = Message::Heard(vec![SessionId(1), SessionId(-2)]);
    let vote = Body::Vote { last: previous, transfer: true };
    let vote = Message::Raft(raft::Message { term: Term(3), body: vote });
    let meta = SnapshotMeta { last: previous, membership: Some((Index(1), membership())) };
    let snapshot = Snapshot { meta, zxid: Zxid(14), image: small_image() };
    let hello = Hello { from: ServerId(1), to: ServerId(2), fingerprint: 3, asks: false };
    run("peer_message", doors::peer_message, |seeds| {
        let seed = |message| bytes_of(|out| assert!(encode_message(&message, out).is_none()));
        seeds.insert("hello", bytes_of(|out| encode_hello(&hello, out)).split_off(4));
        let asking = Hello { asks: true, ..hello };
        seeds.insert("hello-asking", bytes_of(|out| encode_hello(&asking, out)).split_off(4));
        seeds.insert("append", seed(append));
        seeds.insert("forward", seed(forward));
        seeds.insert("heard", seed(heard));
        seeds.insert("short-of-room", seed(Message::ShortOfRoom));
        seeds.insert("compare", seed(Message::Compare(Comparison::WantState)));
        seeds.insert("vote", seed(vote));
        let name = PartName::of(&snapshot);
        let held = PartHeld { name, n_chunks: 2 };
        seeds.insert("part-held", bytes_of(|out| encode_part_held(&held, out)));
        seeds.insert("snapshot", SnapshotFrames::new(Term(4), &snapshot, 0).flatten().collect());
    });
}

#[test]
fn login_keeps_its_promises() {
    let (peers, call) = doors::passwords();
    let (mechanism, mut exchange) = (peers.mechanism(&call), Exchange::default());
    let Ok(Step::Challenge(challenge)) = exchange.take(&mechanism, b"", || [1; 30]) else {
        panic!("a challenge comes first");
    };
    let answer = peers.answer(&call, &challenge, [2; 30]).expect("it is a challenge").token;
    let Ok(Step::Proven { token: proven, .. }) = exchange.take(&mechanism, &answer, || [1; 30])
    else {
        panic!("it is the right answer");
    };
    run("login", doors::login, |seeds| {
        let seed = |login| bytes_of(|out| encode_login(&login, out)).split_off(4);
        seeds.insert("challenge", seed(Login::Challenge(challenge.into())));
        seeds.insert("answer", seed(Login::Answer(answer.into())));
        seeds.insert("proven", seed(Login::Proven(proven.into())));
        seeds.insert("not-offered", seed(Login::Refused(Refusal::NotOffered)));
        seeds.insert("wrong", seed(Login::Refused(Refusal::Wrong)));
    });
}

#[test]
fn entry_keeps_its_promises() {
    let id = EntryId { term: Term(3), index: Index(9) };
    let command = |action| {
        let txn = Txn { time: WallTime(1_000), rules: Rules::default(), action };
        bytes_of(|out| encode_entry(&Entry { id, payload: Payload::Command(txn) }, out))
    };
    let (session, password, nonce) = (SessionId(1), [7; 16], Nonce(5));
    let members = vec![Member { id: ServerId(1), line: "a:1:2;3".into() }];
    let multi = Write::multi(vec![create(), Write::Check { path: "/a".into(), version: 1 }]);
    run("entry", doors::entry, |seeds| {
        let plain = |payload| bytes_of(|out| encode_entry(&Entry { id, payload }, out));
        seeds.insert("blank", plain(Payload::Blank));
        seeds.insert("membership", plain(Payload::Membership(membership())));
        let grouped = Membership { groups: groups(), ..membership() };
        seeds.insert("membership_groups", plain(Payload::Membership(grouped)));
        seeds.insert("create", bytes_of(|out| encode_entry(&entry(), out)));
        seeds.insert("multi", command(Action::Write { author: author(), write: multi }));
        seeds.insert("open", command(Action::Open { session, password, timeout_ms: 4, nonce }));
        let replaces = Token(3);
        let attach = Action::Attach { session, password, timeout_ms: 4, replaces, nonce };
        seeds.insert("attach", command(attach));
        seeds.insert("expire", command(Action::Expire { session, token: Token(3) }));
        seeds.insert("reap", command(Action::Reap { path: "/a".into(), unused_ms: 0 }));
        let ensemble = Ensemble { members, ..Ensemble::default() };
        let in_groups = Ensemble { groups: groups(), ..ensemble.clone() };
        seeds.insert("describe", command(Action::Describe { ensemble }));
        seeds.insert("describe_groups", command(Action::Describe { ensemble: in_groups }));
        let (server, token, sequence) = (ServerId(1), Token(3), Sequence(1));
        seeds.insert(
            "enroll",
            command(Action::Enroll { server, first: session, replaces: token, nonce }),
        );
        let lane = Lane { server, token, sequence };
        let local = |work| command(Action::Local { lane, author: author(), work });
        seeds.insert("local", local(LocalWork::Write(create())));
        seeds.insert("upgrade", local(LocalWork::Upgrade { password, timeout_ms: 4 }));
        seeds.insert("action", bytes_of(|out| encode_action(&write(), out)));
    });
}

#[test]
fn image_keeps_its_promises() {
    run("image", doors::image, |seeds| {
        let image = small_image();
        seeds.insert("small", ImageEncoder::new(&image).flatten().collect());
    });
}

/// Runs a target's corpus, whose seeds `make` makes.
fn run(target: &str, door: fn(&[u8]), make: impl FnOnce(&mut Seeds)) {
    let mut seeds = Seeds::new();
    make(&mut seeds);
    saved::run(target, door, &seeds);
}

fn bytes_of(encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.to_vec()
}

fn acl() -> Vec<Acl> {
    vec![Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") }]
}

fn create() -> Write {
    Write::Create(Create {
        path: "/a".into(),
        data: Some(Bytes::from_static(b"hi")),
        acl: acl().into(),
        flags: 0,
        ttl_ms: -1,
        kind: CreateKind::Create,
    })
}

fn author() -> Author {
    Author {
        session: SessionId(1),
        token: Token(2),
        sequence: Sequence(3),
        identities: Identities::from(vec![Id::new("ip", "::1")]),
    }
}

fn write() -> Action {
    Action::Write { author: author(), write: create() }
}

fn entry() -> Entry<Txn> {
    let txn = Txn { time: WallTime(1_000), rules: Rules::default(), action: write() };
    let id = EntryId { term: Term(3), index: Index(9) };
    Entry { id, payload: Payload::Command(txn) }
}

fn membership() -> Membership {
    Membership::of_voters([ServerId(1), ServerId(2), ServerId(3)])
}

fn groups() -> Groups {
    Groups::from_lines("group.1=1:2\ngroup.2=3\nweight.2=0")
}

fn small_image() -> Image {
    let acl = AclList::from(acl());
    let make = || {
        let mut builder = ImageBuilder::new();
        for path in ["/", "/a", "/a/b"] {
            let (acl, stat) = (acl.clone(), Default::default());
            let data = Some(Bytes::from_static(b"hi"));
            let node = ImageNode { path: path.into(), data, acl, stat };
            builder.node(node).expect("parents come first");
        }
        builder.last_session_id(1, SessionId(1));
        builder
    };
    match make().finish(Zxid(14), 0) {
        Ok(image) => image,
        Err(ImageError::Digest { found, .. }) => {
            make().finish(Zxid(14), found).expect("this is the digest")
        }
        Err(error) => panic!("{error}"),
    }
}
