//! Bytes that no client sends. Whatever comes, the others are served and memory stays where it was.

use std::io;
use std::net::SocketAddr;

use zokor_tests::jute::Writer;
use zokor_tests::raw::{Connection, Hello, four_letter};
use zokor_tests::records::{Acl, op};
use zokor_tests::{Client, Ensemble, ErrorCode, Program, Shared};

/// Sends `bytes` as the first thing on a connection. Whether the server closes without an answer.
fn is_refused(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut connection = Connection::open(address).expect("connect");
    // The server may close while the bytes are on their way.
    let _ = connection.send_bytes(bytes);
    connection.is_closed_by_server()
}

fn still_serves(ensemble: &Ensemble, witness: &mut Client) {
    assert_eq!(witness.sync("/"), Ok("/".into()), "the connection from before");
    assert_eq!(four_letter(ensemble.address(0), "ruok").expect("an answer"), "imok");
    let mut fresh = ensemble.client(0);
    assert_eq!(fresh.sync("/"), Ok("/".into()));
    fresh.close();
}

#[test]
fn lengths_beyond_the_limit_close_the_connection() {
    let shared = Shared::join();
    let mut witness = shared.client(0);
    for length in [-1, i32::MIN, 1_048_576, i32::MAX] {
        let bytes = Writer::new().int(length).raw(&[0; 64]).0;
        assert!(is_refused(shared.address(0), &bytes), "as the first frame: {length}");
        let mut client = shared.client(0);
        let _ = client.connection().send_bytes(&bytes);
        assert!(client.connection().is_closed_by_server(), "on a session: {length}");
        still_serves(&shared, &mut witness);
    }
}

#[test]
fn a_frame_of_exactly_the_limit_is_served() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let path = shared.at("/a");
    let around = zokor_tests::client::create_record(&path, b"", &Acl::open(), 0).0.len() + 8;
    let data = vec![7; 1_048_575 - around];
    assert_eq!(client.create(&path, &data, 0), Ok(path.clone()));
    let mut reader = shared.client(2);
    reader.sync("/").expect("sync");
    assert_eq!(reader.get(&path), Ok(data));
}

#[test]
fn tls_and_noise_are_closed() {
    let shared = Shared::join();
    let mut witness = shared.client(0);
    let mut seed: u64 = 42;
    let mut noise = vec![0; 4096];
    for byte in &mut noise {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (seed >> 56) as u8;
    }
    // Read as a length, the first byte makes it huge or negative.
    noise[0] |= 0x40;
    let hello_of_tls = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let rows: [&[u8]; 3] = [&hello_of_tls, &noise, b"get / http/1.1\r\n\r\n"];
    for bytes in rows {
        assert!(is_refused(shared.address(0), bytes));
        still_serves(&shared, &mut witness);
    }
}

#[test]
fn http_is_told_what_this_port_is_and_closed() {
    let shared = Shared::join();
    let mut witness = shared.client(0);
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "POST /commands HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        "PUT /x HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
        "DELETE /x HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut browser = Connection::open(shared.address(0)).expect("connect");
        browser.send_bytes(request.as_bytes()).expect("sent");
        let answer = browser.receive_all().expect("an answer and the end");
        if Program::promises("HTTP at the client port gets an answer") {
            let answer = String::from_utf8(answer).expect("text");
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request:?}: {answer}");
            assert!(answer.contains("This is the client port of a zokor server."), "{answer}");
        }
        still_serves(&shared, &mut witness);
    }
}

#[test]
fn a_handshake_that_does_not_parse_is_closed() {
    let shared = Shared::join();
    let whole = Hello::fresh(30_000).encode();
    for n in [0, 1, 4, 12, 16, 24, 27, 30] {
        let bytes = Writer::new().buffer(&whole[..n]).0;
        assert!(is_refused(shared.address(0), &bytes), "the first {n} bytes");
    }
    for lie in [-2, i32::MIN, i32::MAX, 1 << 24] {
        let mut lying = whole.clone();
        lying[24..28].copy_from_slice(&lie.to_be_bytes());
        assert!(is_refused(shared.address(0), &Writer::new().buffer(&lying).0), "length {lie}");
    }
    still_serves(&shared, &mut shared.client(0));
}

#[test]
fn connections_cut_in_the_middle_of_a_frame_harm_nobody() {
    let shared = Shared::join();
    let mut witness = shared.client(0);
    let whole = Writer::new().buffer(&Hello::fresh(30_000).encode()).0;
    for n in 0..whole.len() {
        let mut connection = Connection::open(shared.address(0)).expect("connect");
        connection.send_bytes(&whole[..n]).expect("sent");
    }
    let request = Writer::new().int(1).int(op::SYNC).string("/").0;
    let request = Writer::new().buffer(&request).0;
    for n in 0..request.len() {
        let mut client = shared.client(0);
        client.connection().send_bytes(&request[..n]).expect("sent");
    }
    still_serves(&shared, &mut witness);
}

#[test]
fn a_request_in_single_bytes_is_served() {
    let shared = Shared::join();
    let mut connection = Connection::open(shared.address(2)).expect("connect");
    for byte in Writer::new().buffer(&Hello::fresh(30_000).encode()).0 {
        connection.send_bytes(&[byte]).expect("sent");
    }
    assert_eq!(connection.receive().expect("a handshake").len(), 37);
    let request = Writer::new().int(9).int(op::SYNC).string("/").0;
    for byte in Writer::new().buffer(&request).0 {
        connection.send_bytes(&[byte]).expect("sent");
    }
    assert_eq!(connection.receive().expect("a reply")[..4], 9i32.to_be_bytes());
}

#[test]
fn a_header_that_does_not_parse_closes_the_connection() {
    let shared = Shared::join();
    for n in [0, 3, 7] {
        let mut client = shared.client(0);
        client.connection().send(&vec![0; n]).expect("sent");
        assert!(client.connection().is_closed_by_server(), "{n} bytes");
    }
}

#[test]
fn a_record_that_does_not_parse_is_a_marshalling_error() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let path = shared.at("/x");
    let vector = |count: i32| {
        Writer::new().string(&path).buffer(b"").int(count).int(31).string("world").string("anyone")
    };
    let rows = [
        (op::CREATE, Writer::new()),
        (op::CREATE, Writer::new().string(&path)),
        (op::CREATE, vector(2)),
        (op::CREATE, vector(i32::MAX)),
        (op::CREATE, Writer::new().int(i32::MAX).raw(b"/x")),
        (op::CREATE, Writer::new().int(-2).raw(b"/x")),
        (op::DELETE, Writer::new().string(&path)),
        (op::SET_DATA, Writer::new().string(&path).int(1 << 30)),
        (op::GET_DATA, Writer::new()),
        (op::GET_DATA, Writer::new().string("/")),
        (op::EXISTS, Writer::new().int(7)),
        (op::GET_CHILDREN, Writer::new().raw(&[0; 3])),
        (op::MULTI, Writer::new()),
        (op::MULTI, Writer::new().int(1)),
        (op::MULTI_READ, Writer::new().int(4).bool(false)),
        (op::SET_WATCHES, Writer::new().long(0).int(i32::MAX)),
        (op::SET_WATCHES, Writer::new().long(0).int(0)),
        (op::ADD_WATCH, Writer::new().string("/")),
        (op::GET_EPHEMERALS, Writer::new()),
    ];
    for (op, body) in rows {
        let reply = client.ask(op, body.clone()).expect("the connection lives on");
        assert_eq!(reply.error, ErrorCode::MARSHALLING_ERROR, "op {op} {body:?}");
        assert_eq!(reply.body, b"");
    }
    assert_eq!(client.children(&shared.root, false), Ok(vec![]));
}

#[test]
fn text_that_is_not_utf8_is_replaced_or_refused_but_never_believed() {
    let shared = Shared::join();
    let mut client = shared.client(1);
    let bad = [shared.root.as_bytes(), b"/\xff\xfe\xc3"].concat();
    let body = Writer::new().buffer(&bad).buffer(b"");
    let reply = client.ask(op::CREATE, Acl::write_all(&Acl::open(), body).int(0));
    let error = reply.expect("the connection lives on").error;
    assert!(error != ErrorCode(0), "U+FFFD may not stand in a path");
    assert_eq!(client.children(&shared.root, false), Ok(vec![]));
}

#[test]
fn bytes_after_a_record_are_ignored() {
    let shared = Shared::join();
    let mut client = shared.client(0);
    let body = Writer::new().string("/").bool(false).raw(b"more");
    assert_eq!(client.ask(op::EXISTS, body).expect("an answer").error, ErrorCode(0));
}

#[test]
fn an_unknown_opcode_is_unimplemented_and_closes() {
    let shared = Shared::join();
    let mut witness = shared.client(0);
    for op in [10, 23, 99, 108, 12345, -5, i32::MIN, i32::MAX] {
        let mut client = shared.client(0);
        let reply = client.ask(op, Writer::new().string("/")).expect("an answer");
        assert_eq!((reply.error, reply.body), (ErrorCode::UNIMPLEMENTED, vec![]), "op {op}");
        assert!(client.connection().is_closed_by_server(), "op {op}");
        assert!(client.resume(shared.address(0)).is_ok(), "the session lives on");
    }
    still_serves(&shared, &mut witness);
}

#[test]
fn what_only_servers_say_is_refused_from_clients() {
    if !Program::promises("internal operations are refused") {
        return;
    }
    let shared = Shared::join();
    let mut owner = shared.client(0);
    let path = shared.at("/c");
    owner.create2(&path, b"", 4).expect("a container");
    for (op, body) in [
        (0, Writer::new()),
        (-1, Writer::new().int(0)),
        (op::CREATE_SESSION, Writer::new().int(30_000)),
        (op::DELETE_CONTAINER, Writer::new().string(&path)),
        (op::CHECK, Writer::new().string(&path).int(0)),
    ] {
        let mut client = shared.client(0);
        let reply = client.ask(op, body).expect("an answer");
        assert_eq!((reply.error, reply.body), (ErrorCode::UNIMPLEMENTED, vec![]), "op {op}");
        assert!(client.connection().is_closed_by_server(), "op {op}");
    }
    assert!(owner.exists(&path, false).is_ok());
    still_serves(&shared, &mut owner);
}

#[test]
fn a_thousand_half_open_connections_leave_room_for_others() {
    let ensemble = Ensemble::standalone();
    let address = ensemble.address(0);
    let mut witness = ensemble.client(0);
    let before = ensemble.server(0).resident_kib();
    // ZooKeeper makes room for what is announced, and would run out of memory.
    let announced: i32 = match Program::promises("memory is not allocated by announced lengths") {
        true => 1_048_575,
        false => 1_000,
    };
    let mut open = Vec::new();
    for n in 0..1_000 {
        let mut connection = Connection::open(address).expect("connect");
        match n % 4 {
            0 => {}
            1 => connection.send_bytes(&[0, 0]).expect("sent"),
            // A large frame is announced, a few bytes come.
            2 => {
                let bytes = Writer::new().int(announced).raw(&[1, 2, 3]).0;
                connection.send_bytes(&bytes).expect("sent");
            }
            _ => connection.send_bytes(&[0, 0, 0, 45, 0, 0, 0, 0]).expect("sent"),
        }
        open.push(connection);
    }
    still_serves(&ensemble, &mut witness);
    let after = ensemble.server(0).resident_kib();
    if let (Some(before), Some(after)) = (before, after)
        && Program::promises("memory is not allocated by announced lengths")
    {
        assert!(after < before + 64 * 1024, "from {before} KiB to {after} KiB");
    }
    drop(open);
    still_serves(&ensemble, &mut witness);
}

#[test]
fn a_reader_that_never_reads_does_not_fill_memory() {
    let ensemble = Ensemble::standalone();
    let mut witness = ensemble.client(0);
    witness.create("/large", &vec![1; 900_000], 0).expect("create");
    let before = ensemble.server(0).resident_kib();
    let mut greedy = ensemble.client(0);
    greedy.connection().set_write_patience(std::time::Duration::from_millis(200));
    // A thousand answers would be 900 MB. The server may stop reading, or cut.
    for _ in 0..1_000 {
        let body = Writer::new().string("/large").bool(false);
        if greedy.send(op::GET_DATA, body).is_err() {
            break;
        }
    }
    still_serves(&ensemble, &mut witness);
    let after = ensemble.server(0).resident_kib();
    if let (Some(before), Some(after)) = (before, after)
        && Program::promises("answers nobody reads are bounded")
    {
        assert!(after < before + 256 * 1024, "from {before} KiB to {after} KiB");
    }
}

#[test]
fn strangers_at_the_peers_ports_harm_nobody() {
    let ensemble = Ensemble::trio();
    let mut witness = ensemble.client(0);
    for address in ensemble.peer_addresses() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 512], &[0; 512], &[0, 0, 0, 4, 9]] {
            let sent = Connection::open(address).and_then(|mut c| c.send_bytes(bytes));
            // Not every port need be open; what is open must take it calmly.
            if let Err(error) = sent {
                assert_ne!(error.kind(), io::ErrorKind::TimedOut);
            }
        }
    }
    still_serves(&ensemble, &mut witness);
    for index in 0..3 {
        let mut client = ensemble.client(index);
        client.create(&format!("/{index}"), b"", 0).expect("writes go on");
    }
}
