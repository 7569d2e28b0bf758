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

#[test]
fn zookeeper_snapshot_keeps_its_promises() {
    // Without the seal, which the door puts behind it.
    let mut tree = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
    tree.extend(b"\0\0\0\x01\x01\0\0\0\0\0\0\x05\0\0\x27\x10");
    tree.extend(b"\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x1f\0\0\0\x02ip\0\0\0\x01a");
    for (path, owner) in [("", 0u64), ("/a", 0), ("/a/e", 0x0100_0000_0000_0005)] {
        tree.extend((path.len() as u32).to_be_bytes());
        tree.extend(path.as_bytes());
        tree.extend(b"\0\0\0\x02hi");
        tree.extend(if path.is_empty() { u64::MAX } else { 1 }.to_be_bytes());
        tree.extend([0; 44]);
        tree.extend(owner.to_be_bytes());
        tree.extend([0; 8]);
    }
    tree.extend(b"\0\0\0\x01/");
    let fresh = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06\x04\x0cZKSN".to_vec();
    let empty_gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0".to_vec();
    let seeds = [("tree", &tree[..]), ("snappy", &fresh), ("gzip", &empty_gzip)];
    run("zookeeper_snapshot", doors::zookeeper_snapshot, &seeds);
}

#[test]
fn zookeeper_log_keeps_its_promises() {
    // As the entries of a log, from a server of 3.8.0, and behind lengths alone.
    let begun = b"\x01\0\0\x40\xf6\xa9\0\0\0\0\0\0\0\0\0\0\0\0\0\x16\0\0\x01\xa2\x09\x26\x60\x45\
        \xff\xff\xff\xf6\0\0\x27\x10\0\0\0\x02\0\0\0\x03\x6c\x5d\x9e\xdf";
    let mut log = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\xc7\xf2\x09\xe3\0\0\0\x30".to_vec();
    log.extend(begun);
    log.extend(b"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let head = |kind: i32| [&begun[..28], &kind.to_be_bytes()].concat();
    let open = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";
    let made = [&b"\0\0\0\x02/v\0\0\0\x02hi"[..], open, b"\x01\0\0\0\x01"].concat();
    let part = (made.len() as u32).to_be_bytes();
    let multi = [&b"\0\0\0\x02\0\0\0\x01"[..], &part, &made, b"\0\0\0\x02\0\0\0\x06\0\0\0\x02/v"];
    let ttl = [&b"\0\0\0\x02/t\xff\xff\xff\xff"[..], open, &[0; 11], b"\x09"].concat();
    let records = [
        [head(1), made.clone()].concat(),
        [head(5), b"\0\0\0\x02/v\0\0\0\x01x\0\0\0\x01".to_vec()].concat(),
        [head(7), b"\0\0\0\x02/v\0\0\0\0\0\0\0\x01".to_vec()].concat(),
        [head(14), multi.concat()].concat(),
        [head(21), ttl].concat(),
        [head(-11), b"\0\0\0\x01\0\0\0\x02/v".to_vec()].concat(),
    ];
    let mut txns = Vec::new();
    for record in &records {
        txns.extend((record.len() as u16).to_be_bytes());
        txns.extend(record);
    }
    run("zookeeper_log", doors::zookeeper_log, &[("log", &log), ("txns", &txns)]);
}

fn run(target: &str, door: fn(&[u8]), seeds: &[(&'static str, &[u8])]) {
    let seeds = seeds.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect();
    saved::run(target, door, &seeds);
}
