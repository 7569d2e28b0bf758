//! Runs the saved corpus of the fuzz targets for an operator's files as plain tests, and keeps its
//! seeds what stands here: `UPDATE=1` writes them anew.

use std::path::PathBuf;
use std::{env, fs};

#[path = "../../fuzz/files/lib.rs"]
#[expect(unreachable_pub, reason = "the file is a module of the fuzz targets as well")]
mod doors;

#[test]
fn properties_keep_their_promises() {
    run(
        "properties",
        doors::properties,
        &[
            (
                "sample",
                b"tickTime=2000\ninitLimit=10\ndataDir=/d\nclientPort=2181\n\
              server.1=a:2888:3888\nserver.2=b:2888:3888:observer;2181\n",
            ),
            (
                "escapes",
                b"# a comment\n! another\njute\\\n  .maxbuffer : 0x400000\nx\\u0041=\\\\\n",
            ),
            (
                "limits",
                b"connection_throttle_drop_increase=0.5\nthrottled_op_wait_time=010\n\
              largeRequestThreshold=-1\nrequest_stale_latency_check=TRUE",
            ),
            ("latin", b"dataDir=/\xe9\r\rserver.255=[::1]:1:2;[::]:3"),
            ("end", b"a=b\\"),
        ],
    );
}

#[test]
fn server_line_keeps_its_promises() {
    run(
        "server_line",
        doors::server_line,
        &[
            ("plain", b"zoo1.example.com:2888:3888"),
            ("client", b"10.0.0.1:2888:3888:participant;0.0.0.0:2181"),
            ("secure", b"h:1:2:observer;;2281"),
            ("six", b"[2001:db8::1]:2888:3888|[2001:db8::2]:2889:3889;[::]:2181"),
            ("empty", b""),
        ],
    );
}

/// Feeds every file of the target's corpus to its door, whole, cut and with each bit flipped.
fn run(target: &str, door: fn(&[u8]), seeds: &[(&str, &[u8])]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&folder).expect("the source tree is writable");
        for (name, bytes) in seeds {
            fs::write(folder.join(format!("seed-{name}")), bytes).expect("as before");
        }
    }
    for (name, bytes) in seeds {
        let saved = fs::read(folder.join(format!("seed-{name}"))).expect("the seed is committed");
        assert_eq!(&saved, bytes, "seed {name} of {target}: run with UPDATE=1 if this is meant");
    }
    for file in fs::read_dir(&folder).expect("the corpus is committed") {
        let bytes = fs::read(file.expect("it was listed").path()).expect("it is a file");
        door(&bytes);
        for length in 0..bytes.len() {
            door(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                door(&flipped);
            }
        }
    }
}
