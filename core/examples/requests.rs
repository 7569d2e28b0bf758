//! What requests cost the core of a lone server: does many of a kind and ends, so that a tool can
//! count instructions from outside. The difference of two runs is what the requests cost.
//!
//! ```text
//! cargo build --release -p zokor-core --example requests
//! valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
//!     target/release/examples/requests set together 10000
//! ```
//!
//! The first word is the kind; the second says whether each request has a wake-up of its own
//! (`alone`), or a hundred share one (`together`), or that they are made and not asked for
//! (`unasked`): what that costs is none of the core's.

#[path = "../tests/costs/lone.rs"]
mod lone;

use bytes::Bytes;
use zokor_core::proto::{Read, Request, Text};

use lone::{Lone, create, gets, multis, path, prepared, sets};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, how, times] = &words[..] else { usage() };
    let times = times.parse().unwrap_or_else(|_| usage());
    let mut lone = prepared();
    for (first, n) in (0..times).step_by(BATCH).map(|first| (first, BATCH.min(times - first))) {
        let requests = requests(&mut lone, kind, first, n);
        match how.as_str() {
            "alone" => lone.one_by_one(requests),
            "together" => lone.together(requests),
            "unasked" => drop(std::hint::black_box(requests)),
            _ => usage(),
        }
    }
    // As it is: nothing is taken down.
    std::process::exit(0);
}

fn usage() -> ! {
    eprintln!("requests get|set|create|multi|children alone|together|unasked N");
    std::process::exit(2)
}

fn requests(lone: &mut Lone, kind: &str, first: usize, n: usize) -> Vec<Request> {
    match kind {
        "get" => gets(n),
        "set" => sets(n),
        "create" => {
            let made = first + lone::N_ZNODES..first + lone::N_ZNODES + n;
            made.map(|n| create(path(n), Bytes::from(vec![7; 100]))).collect()
        }
        "multi" => multis(n),
        "children" => {
            if first == 0 {
                lone.together(vec![create("/list".into(), Bytes::new())]);
                let names = (0..100).map(|n| Text::from(format!("/list/name-{n:08}")));
                lone.together(names.map(|path| create(path, Bytes::new())).collect());
            }
            let path = Text::from("/list");
            let list = Read::GetChildren { path, watch: false, with_stat: false };
            vec![Request::Read(list); n]
        }
        _ => usage(),
    }
}

const BATCH: usize = 100;
