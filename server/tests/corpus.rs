//! Runs the saved corpus of the fuzz targets for an operator's files as plain tests, and keeps its
//! seeds what stands here: `UPDATE=1` writes them anew.

#[path = "../../fuzz/files/lib.rs"]
#[expect(unreachable_pub, reason = "the file is a module of the fuzz targets as well")]
mod doors;
#[path = "../../fuzz/saved/lib.rs"]
mod saved;

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

fn run(target: &str, door: fn(&[u8]), seeds: &[(&'static str, &[u8])]) {
    let seeds = seeds.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect();
    saved::run(target, door, &seeds);
}
