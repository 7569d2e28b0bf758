//! Values of every type that has an encoding, for tests: a few by hand, and any by strategy.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use zokor_core::db::{
    Action, Author, Image, ImageBuilder, ImageError, ImageNode, Lane, LocalWork, RestoreFacts,
    RestoreStep, RestoredSession, Rules, SessionRecord, StoredStat, Txn,
};
use zokor_core::groups::{Groups, MAX_WEIGHT};
use zokor_core::id::{Nonce, Sequence, ServerId, SessionId, Token};
use zokor_core::proto::{
    Acl, AclList, Create, CreateKind, Ensemble, Id, Identities, Member, Permissions, Stat, Text,
    Write, Zxid,
};
use zokor_core::raft::{Entry, EntryId, Index, Membership, Payload, Term};
use zokor_core::time::WallTime;

/// The bytes that `digits` spell; blanks are for the reader.
pub(super) fn hex(digits: &str) -> Bytes {
    let digits: Vec<u8> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hex digit")).expect("below 16"))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What `encode` appends.
pub(super) fn bytes_of(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

pub(super) fn text() -> impl Strategy<Value = Text> {
    prop_oneof![Just(String::new()), "/[a-z/]{0,10}", "\\PC{0,8}"].prop_map(Text::from)
}

pub(super) fn data() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from))
}

pub(super) fn id() -> impl Strategy<Value = Id> {
    (text(), text()).prop_map(|(scheme, id)| Id { scheme, id })
}

pub(super) fn acl() -> impl Strategy<Value = Vec<Acl>> {
    let entry = (any::<i32>(), id());
    vec(entry.prop_map(|(bits, id)| Acl { permissions: Permissions(bits), id }), 0..3)
}

pub(super) fn stat() -> impl Strategy<Value = Stat> {
    (any::<[i64; 6]>(), any::<[i32; 5]>()).prop_map(|(longs, ints)| Stat {
        czxid: longs[0],
        mzxid: longs[1],
        ctime: longs[2],
        mtime: longs[3],
        version: ints[0],
        cversion: ints[1],
        aversion: ints[2],
        ephemeral_owner: longs[4],
        data_length: ints[3],
        num_children: ints[4],
        pzxid: longs[5],
    })
}

/// Any create: the flags are anything, the time to live too if the operation has one.
pub(super) fn create() -> impl Strategy<Value = Create> {
    let kind = prop_oneof![
        Just(CreateKind::Create),
        Just(CreateKind::Create2),
        Just(CreateKind::Container),
        Just(CreateKind::Ttl),
    ];
    let flags = prop_oneof![0..7i32, any::<i32>()];
    (text(), data(), acl(), flags, any::<i64>(), kind).prop_map(
        |(path, data, acl, flags, ttl_ms, kind)| {
            let ttl_ms = if kind == CreateKind::Ttl { ttl_ms } else { -1 };
            Create { path, data, acl: acl.into(), flags, ttl_ms, kind }
        },
    )
}

/// Any write that may stand alone and in a multi.
pub(super) fn common_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        create().prop_map(Write::Create),
        (text(), any::<i32>()).prop_map(|(path, version)| Write::Delete { path, version }),
        (text(), data(), any::<i32>()).prop_map(|(path, data, version)| Write::SetData {
            path,
            data,
            version
        }),
    ]
}

pub(super) fn check() -> impl Strategy<Value = Write> {
    (text(), any::<i32>()).prop_map(|(path, version)| Write::Check { path, version })
}

pub(super) fn set_acl() -> impl Strategy<Value = Write> {
    (text(), acl(), any::<i32>()).prop_map(|(path, acl, version)| Write::SetAcl {
        path,
        acl: acl.into(),
        version,
    })
}

pub(super) fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => common_write(),
        1 => set_acl(),
        1 => Just(Write::CloseSession),
        2 => vec(prop_oneof![common_write(), check()], 0..4).prop_map(Write::multi),
    ]
}

fn author() -> impl Strategy<Value = Author> {
    (any::<i64>(), any::<i64>(), any::<u64>(), vec(id(), 0..3)).prop_map(
        |(session, token, sequence, identities)| Author {
            session: SessionId(session),
            token: Token(token),
            sequence: Sequence(sequence),
            identities: Identities::from(identities),
        },
    )
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let attempt = (any::<i64>(), any::<[u8; 16]>(), any::<i32>(), any::<i64>(), any::<u64>());
    let member = (any::<u64>(), text()).prop_map(|(id, line)| Member { id: ServerId(id), line });
    prop_oneof![
        4 => (author(), write()).prop_map(|(author, write)| Action::Write { author, write }),
        1 => attempt.prop_map(|(session, password, timeout_ms, _, nonce)| Action::Open {
            session: SessionId(session),
            password,
            timeout_ms,
            nonce: Nonce(nonce),
        }),
        1 => attempt.prop_map(|(session, password, timeout_ms, token, nonce)| Action::Attach {
            session: SessionId(session),
            password,
            timeout_ms,
            replaces: Token(token),
            nonce: Nonce(nonce),
        }),
        1 => (any::<i64>(), any::<i64>()).prop_map(|(session, token)| Action::Expire {
            session: SessionId(session),
            token: Token(token),
        }),
        1 => (text(), prop_oneof![Just(0), any::<i64>()])
            .prop_map(|(path, unused_ms)| Action::Reap { path, unused_ms }),
        1 => vec(member, 0..4)
            .prop_flat_map(|members| groups().prop_map(move |groups| {
                let members = members.clone();
                Action::Describe { ensemble: Ensemble { members, groups } }
            })),
        1 => (any::<u64>(), attempt).prop_map(|(server, (first, _, _, token, nonce))| {
            let (server, first) = (ServerId(server), SessionId(first));
            Action::Enroll { server, first, replaces: Token(token), nonce: Nonce(nonce) }
        }),
        1 => (lane(), author(), local_work())
            .prop_map(|(lane, author, work)| Action::Local { lane, author, work }),
        1 => restore(),
    ]
}

fn restore() -> impl Strategy<Value = Action> {
    let place = || (any::<i64>(), any::<u64>());
    let znode = (text(), data(), acl(), any::<[i64; 5]>(), any::<[i32; 3]>(), any::<i64>());
    let znode = znode.prop_map(|(path, data, acl, longs, ints, owner)| {
        let stat = StoredStat { ephemeral_owner: owner, ..stored_stat(longs, ints) };
        ImageNode { path, data, acl: AclList::from(acl), stat }
    });
    let session = (any::<i64>(), any::<[u8; 16]>(), any::<i32>());
    let session = session.prop_map(|(id, password, timeout_ms)| RestoredSession {
        id: SessionId(id),
        password,
        timeout_ms,
    });
    let step = prop_oneof![
        2 => (vec(session, 0..3), vec(znode, 0..4))
            .prop_map(|(sessions, znodes)| RestoreStep::Piece { sessions, znodes }),
        1 => any::<(u64, u64, u64)>().prop_map(|(n_sessions, n_znodes, digest)| {
            RestoreStep::End { n_sessions, n_znodes, digest }
        }),
    ];
    prop_oneof![
        1 => (any::<i64>(), any::<u64>()).prop_map(|(replaces, nonce)| {
            Action::BeginRestore { replaces: Token(replaces), nonce: Nonce(nonce) }
        }),
        3 => (place(), step).prop_map(|((token, number), step)| {
            Action::Restore { token: Token(token), number: Sequence(number), step }
        }),
        1 => place().prop_map(|(token, number)| {
            Action::AbandonRestore { token: Token(token), number: Sequence(number) }
        }),
    ]
}

fn lane() -> impl Strategy<Value = Lane> {
    (any::<u64>(), any::<i64>(), any::<u64>()).prop_map(|(server, token, sequence)| Lane {
        server: ServerId(server),
        token: Token(token),
        sequence: Sequence(sequence),
    })
}

fn local_work() -> impl Strategy<Value = LocalWork> {
    prop_oneof![
        2 => write().prop_map(LocalWork::Write),
        1 => (any::<[u8; 16]>(), any::<i32>())
            .prop_map(|(password, timeout_ms)| LocalWork::Upgrade { password, timeout_ms }),
    ]
}

pub(super) fn membership() -> impl Strategy<Value = Membership> {
    let servers = || btree_set(any::<u64>().prop_map(ServerId), 0..4);
    (servers(), servers(), servers(), groups(), groups()).prop_map(
        |(voters, outgoing, learners, groups, outgoing_groups)| Membership {
            voters,
            outgoing,
            learners,
            groups,
            outgoing_groups,
        },
    )
}

/// Any groups, mostly none.
pub(super) fn groups() -> impl Strategy<Value = Groups> {
    let member = (0..MAX_WEIGHT, any::<u64>(), prop_oneof![0..4u64, 0..=MAX_WEIGHT]);
    prop_oneof![2 => Just(Vec::new()), 1 => vec(member, 0..5)].prop_map(|members| {
        let mut groups = Groups::none();
        for (group, server, weight) in members {
            // A server that is drawn twice stays in its first group.
            let _ = groups.put(group, ServerId(server), weight);
        }
        groups
    })
}

pub(super) fn payload() -> impl Strategy<Value = Payload<Txn>> {
    let rules = (0..8_u8).prop_map(|bits| Rules::from_bits(bits).expect("three bits are rules"));
    let txn = (any::<i64>(), rules, action()).prop_map(|(time, rules, action)| {
        Payload::Command(Txn { time: WallTime(time), rules, action })
    });
    prop_oneof![
        1 => Just(Payload::Blank),
        6 => txn,
        1 => membership().prop_map(Payload::Membership),
    ]
}

pub(super) fn entry_id() -> impl Strategy<Value = EntryId> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(term, index)| EntryId { term: Term(term), index: Index(index) })
}

pub(super) fn entry() -> impl Strategy<Value = Entry<Txn>> {
    (entry_id(), payload()).prop_map(|(id, payload)| Entry { id, payload })
}

/// An image of a tree of any shape.
pub(super) fn image() -> impl Strategy<Value = Image> {
    let path = vec("[ab!]{1,2}", 0..4);
    let acls = vec(acl().prop_map(AclList::from), 1..4);
    let sessions = btree_map(1..i64::MAX, any::<([u8; 16], i32, i64, u64, u64)>(), 0..4);
    let last_ids = btree_map(any::<u8>(), any::<i64>().prop_map(SessionId), 0..3);
    let contents = (data(), any::<[i64; 5]>(), any::<[i32; 3]>(), any::<usize>());
    let znodes = vec((path, contents), 0..12);
    let restores = option::of((1..i64::MAX, any::<i64>(), option::of(any::<(u64, u64)>())));
    (znodes, acls, sessions, last_ids, 0..i64::MAX, restores).prop_map(
        |(znodes, acls, sessions, last_ids, zxid, restores)| {
            let mut nodes = BTreeMap::new();
            for (names, (data, longs, ints, acl)) in znodes {
                let stat = stored_stat(longs, ints);
                let acl = &acls[acl % acls.len()];
                for path in with_parents(&names) {
                    nodes.entry(path.clone()).or_insert_with(|| ImageNode {
                        path: Text::from(path),
                        data: data.clone(),
                        acl: AclList::clone(acl),
                        stat,
                    });
                }
            }
            nodes.entry("/".to_owned()).or_insert_with(root);
            let nodes: Vec<ImageNode> = nodes.into_values().collect();
            let sessions: Vec<SessionRecord> = sessions.into_iter().map(session_record).collect();
            let restores = restores.map(|(begun, done, staged)| RestoreFacts {
                begun: Token(begun),
                done: Zxid(done),
                staged: staged.map(|(number, n_bytes)| (Sequence(number), n_bytes)),
            });
            build_restoring(&nodes, &sessions, &last_ids, Zxid(zxid), restores)
        },
    )
}

/// An image with this root's children, in whichever form the builder wants its digest.
pub(crate) fn build(
    nodes: &[ImageNode],
    sessions: &[SessionRecord],
    last_ids: &BTreeMap<u8, SessionId>,
    zxid: Zxid,
) -> Image {
    build_restoring(nodes, sessions, last_ids, zxid, None)
}

/// The same with restores; of one that is under way the same znodes and sessions have come.
pub(super) fn build_restoring(
    nodes: &[ImageNode],
    sessions: &[SessionRecord],
    last_ids: &BTreeMap<u8, SessionId>,
    zxid: Zxid,
    restores: Option<RestoreFacts>,
) -> Image {
    let builder = || {
        let mut builder = ImageBuilder::new();
        for node in nodes {
            builder.node(node.clone()).expect("parents come first");
        }
        for session in sessions {
            builder.session(session.clone()).expect("each comes once");
        }
        for (&prefix, &last) in last_ids {
            builder.last_session_id(prefix, last);
        }
        let Some(facts) = restores else { return builder };
        builder.restores(facts).expect("one was begun");
        if facts.staged.is_some() {
            for node in nodes {
                builder.staged_node(node.clone()).expect("parents come first");
            }
            for session in sessions {
                builder.staged_session(session.clone()).expect("each comes once");
            }
        }
        builder
    };
    match builder().finish(zxid, 0) {
        Ok(image) => image,
        Err(ImageError::Digest { found, .. }) => {
            builder().finish(zxid, found).expect("this is the digest")
        }
        Err(error) => panic!("{error}"),
    }
}

/// A root without anything.
pub(crate) fn root() -> ImageNode {
    ImageNode {
        path: Text::from("/"),
        data: Some(Bytes::new()),
        acl: AclList::from(vec![]),
        stat: StoredStat::default(),
    }
}

/// Everything in an image, to be compared.
pub(super) type Contents = (
    (Zxid, u64),
    (Vec<ImageNode>, Vec<SessionRecord>, BTreeMap<u8, SessionId>),
    (RestoreFacts, Vec<ImageNode>, Vec<SessionRecord>),
);

/// What is in `image`.
pub(super) fn contents(image: &Image) -> Contents {
    let (nodes, sessions) = (image.nodes().collect(), image.sessions().collect());
    let (staged, restored) = (image.staged_nodes().collect(), image.staged_sessions().collect());
    (
        (image.zxid(), image.digest()),
        (nodes, sessions, image.last_session_ids().clone()),
        (image.restores(), staged, restored),
    )
}

fn with_parents(names: &[String]) -> BTreeSet<String> {
    let paths = (1..=names.len()).map(|n| format!("/{}", names[..n].join("/")));
    std::iter::once("/".to_owned()).chain(paths).collect()
}

fn stored_stat(longs: [i64; 5], ints: [i32; 3]) -> StoredStat {
    StoredStat {
        czxid: longs[0],
        mzxid: longs[1],
        ctime: longs[2],
        mtime: longs[3],
        version: ints[0],
        cversion: ints[1],
        aversion: ints[2],
        ephemeral_owner: 0,
        pzxid: longs[4],
    }
}

fn session_record((id, fields): (i64, ([u8; 16], i32, i64, u64, u64))) -> SessionRecord {
    let (password, timeout_ms, token, sequence, nonce) = fields;
    SessionRecord {
        id: SessionId(id),
        password,
        timeout_ms,
        token: Token(token),
        sequence: Sequence(sequence),
        nonce: Nonce(nonce),
    }
}
