//! What requests and znodes cost, in numbers that are the same on every machine: allocations and
//! bytes. A change that makes them grow has to say so here. `examples/requests.rs` does the same
//! for tools that count instructions.

mod lone;

use allocation_counter::measure;
use bytes::Bytes;
use zokor_core::db::{Action, Author, Database, Rules, Txn};
use zokor_core::id::{Nonce, Sequence, ServerId, SessionId, Token};
use zokor_core::proto::{Read, Request, Text, Zxid};
use zokor_core::raft::Membership;
use zokor_core::time::WallTime;

use lone::{create, gets, multis, path, prepared, sets};

/// A thousand of them, so that what grows now and then counts by its share.
const N: usize = 1_000;

#[test]
fn a_read_allocates_nothing() {
    let mut lone = prepared();
    let requests = gets(N);
    let single = measure(|| lone.one_by_one(requests));
    let requests = gets(N);
    let many = measure(|| lone.together(requests));
    assert_eq!((single.count_total, many.count_total), (0, 0));
}

#[test]
fn a_list_of_names_is_one_piece_of_memory() {
    let mut lone = prepared();
    let list = Read::GetChildren { path: "/services".into(), watch: false, with_stat: false };
    let requests = vec![Request::Read(list); 10];
    let lists = measure(|| lone.one_by_one(requests));
    // For each: where the names are put together, and the list.
    assert!(lists.count_total <= 2 * 10, "{lists:?}");
}

#[test]
fn a_write_allocates_little() {
    let mut lone = prepared();
    let requests = sets(N);
    let single = measure(|| lone.one_by_one(requests));
    let requests = sets(N);
    let many = measure(|| lone.together(requests));
    // Three for the write itself; alone, it has a `Persist` and a commit of its own besides.
    assert!(single.count_total <= 7 * N as u64, "{single:?}");
    assert!(many.count_total <= 3 * N as u64 + 8, "{many:?}");
}

/// Ten sets at once: a cell for each, and for all together an entry, a list of answers, and the
/// journal by which they could be undone.
#[test]
fn a_multi_allocates_little_more_than_its_parts() {
    let mut lone = prepared();
    lone.together(multis(N));
    let requests = multis(N);
    let many = measure(|| lone.together(requests));
    assert!(many.count_total <= 13 * N as u64 + 8, "{many:?}");
}

#[test]
fn a_majority_is_counted_without_memory() {
    let settled = Membership::of_voters((1..=7).map(ServerId));
    let outgoing = (5..=9).map(ServerId).collect();
    let joint = Membership { outgoing, ..settled.clone() };
    let counted = measure(|| {
        for membership in [&settled, &joint] {
            assert!(membership.is_quorum(|server| server.0 >= 3));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_znode_takes_little_memory() {
    const N: usize = 100_000;
    let mut db = Database::new();
    let (session, password) = (SessionId(1), [0; 16]);
    let open = Action::Open { session, password, timeout_ms: 30_000, nonce: Nonce(1) };
    db.apply(Zxid(1), &txn(open));
    let author = |sequence| Author {
        session,
        token: Token(1),
        sequence: Sequence(sequence),
        identities: [].into(),
    };
    let memory = measure(|| {
        // Made one by one here, so that what is given back was taken here.
        let paths = [Text::from("/services")].into_iter().chain((0..N).map(path));
        let requests = paths.map(|path| create(path, Bytes::from(vec![7; 100])));
        for (n, request) in (1..).zip(requests) {
            let Request::Write(write) = request else { panic!("a create is a write") };
            db.apply(Zxid(n + 1), &txn(Action::Write { author: author(n as u64), write }));
        }
    });
    assert_eq!(db.node_count(), N as u64 + 6);
    // A path of 22 bytes and 100 of data are part of it.
    assert!(memory.bytes_current <= 209 * N as i64, "{memory:?}");
    assert!(memory.count_current <= N as i64 + 4_000, "{memory:?}");
}

fn txn(action: Action) -> Txn {
    Txn { time: WallTime(0), rules: Rules::default(), action }
}
