//! What watches cost: makes many, does something with them, and ends with all of them in memory, so
//! that a tool can count bytes, allocations or instructions from outside.
//!
//! ```text
//! cargo build --release -p zokor-core --example watches
//! valgrind --tool=dhat --dhat-out-file=/dev/null target/release/examples/watches paths nothing 0
//! valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
//!     target/release/examples/watches paths change 1000
//! ```
//!
//! The first word says who watches what, the second what happens then, so many times.

use std::hint::black_box;
use std::sync::Arc;

use zokor_core::db::{Change, ChangeKind};
use zokor_core::id::ConnId;
use zokor_core::watch::{WatchKind, Watches};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [who, what, times] = &words[..] else { usage() };
    let times = times.parse().unwrap_or_else(|_| usage());
    let mut watches = Watches::new();
    let n_events = match what.as_str() {
        "nothing" => set(&mut watches, who),
        "change" | "miss" | "disconnect" => {
            set(&mut watches, who);
            act(&mut watches, what, times)
        }
        _ => usage(),
    };
    println!("{} watches are left, {n_events} events were told", watches.count());
    // As they are: nothing is taken down.
    std::process::exit(0);
}

fn usage() -> ! {
    eprintln!(
        "watches none|paths|connections|shared|recursive|crowd|part \
         nothing|change|miss|disconnect N"
    );
    std::process::exit(2)
}

fn path(n: u64) -> String {
    format!("/services/of-a-kind/{n:06}")
}

fn set(watches: &mut Watches, who: &str) -> u64 {
    let mut one = |conn, n, kind| watches.set(ConnId(conn), &path(n), kind);
    match who {
        "none" => {}
        // A million paths, one connection.
        "paths" => (0..1_000_000).for_each(|n| one(1, n, WatchKind::Data)),
        // A thousand connections, each with a thousand paths of its own.
        "connections" => (0..1_000_000).for_each(|n| one(n % 1_000, n, WatchKind::Data)),
        // A hundred connections, all with the same ten thousand paths.
        "shared" => (0..1_000_000).for_each(|n| one(n / 10_000, n % 10_000, WatchKind::Data)),
        // As `connections`, on all that is below each path.
        "recursive" => (0..1_000_000).for_each(|n| one(n % 1_000, n, WatchKind::Recursive)),
        // Ten thousand connections, one path.
        "crowd" => (0..10_000).for_each(|n| one(n, 0, WatchKind::Persistent)),
        // One connection that has 100,000 watches, among 900,000 of others.
        "part" => (0..1_000_000).for_each(|n| one(n % 10, n, WatchKind::Data)),
        _ => usage(),
    }
    0
}

fn act(watches: &mut Watches, what: &str, times: u64) -> u64 {
    let mut n_events = 0;
    let mut fire = |watches: &mut Watches, path: &str| {
        let (acl, parent_acl) = (Arc::from([]), None);
        let change = Change {
            path: path.into(),
            kind: ChangeKind::DataChanged,
            n_bytes: 0,
            acl,
            parent_acl,
        };
        watches.fire(
            &change,
            |_, _| true,
            |conn, event| {
                black_box((conn, event));
                n_events += 1;
            },
        );
    };
    for n in 0..times {
        match what {
            // Of a path that is watched.
            "change" => fire(watches, &path(if watches.count() > 20_000 { n * 37 } else { 0 })),
            // Of one that is not, nine levels deep.
            "miss" => fire(watches, "/nobody/looks/at/what/is/so/far/down/here"),
            _ => watches.forget(ConnId(n)),
        }
    }
    n_events
}
