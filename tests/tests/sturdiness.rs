//! What would like to wear a server down: bytes made to break it, connections that only cost, lines
//! made to fool its operator, files that run out. Others are served all the time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use zokor_tests::client::{Message, Part, create_record};
use zokor_tests::jute::Writer;
use zokor_tests::raw::{Connection, Hello, four_letter, is_cut};
use zokor_tests::records::op;
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Program, eventually};

fn still_serves(ensemble: &Ensemble, witness: &mut Client) {
    assert_eq!(witness.sync("/"), Ok("/".into()), "the connection from before");
    for address in ensemble.addresses() {
        assert_eq!(four_letter(address, "ruok").expect("an answer"), "imok");
    }
}

/// Opcodes that change something, or that stand near them.
const WRITES: [i32; 14] = [
    op::CREATE,
    op::DELETE,
    op::SET_DATA,
    op::SET_ACL,
    op::CHECK,
    op::MULTI,
    op::CREATE2,
    op::RECONFIG,
    op::CREATE_CONTAINER,
    op::DELETE_CONTAINER,
    op::CREATE_TTL,
    op::CREATE_SESSION,
    op::AUTH,
    op::SASL,
];

/// Bodies that none of these operations can have.
fn absurd_bodies() -> Vec<Writer> {
    let path = || Writer::new().string("/absurd");
    let mut bodies = vec![Writer::new(), Writer::new().null(), path(), path().null()];
    for length in [-2, i32::MIN, i32::MAX, 1 << 30, 5] {
        bodies.push(Writer::new().int(length));
        bodies.push(Writer::new().int(length).raw(b"/abs"));
        bodies.push(path().int(length));
        bodies.push(path().buffer(b"data").int(length));
        // An ACL, a list of strings, or the servers of a reconfig.
        bodies.push(path().buffer(b"").int(length).int(31).int(length));
        bodies.push(path().buffer(b"").int(1).int(31).string("world").int(length));
        bodies.push(Writer::new().int(0).int(length));
        bodies.push(Writer::new().int(op::CREATE).bool(false).int(length).int(length));
        bodies.push(Writer::new().int(length).bool(false).int(-1).string("/absurd"));
    }
    let mut nested = Writer::new();
    for _ in 0..10_000 {
        nested = nested.int(op::MULTI).bool(false).int(-1);
    }
    bodies.push(nested);
    bodies.push(Writer::new().raw(&[0xff; 64]));
    bodies.push(Writer::new().raw(&[0x80; 64]));
    bodies
}

/// Every beginning of requests that are whole.
fn cut_bodies() -> Vec<(i32, Writer)> {
    let record = create_record("/absurd/deep", b"data", &Acl::open(), 0);
    let header = |op| Writer::new().int(op).bool(false).int(-1);
    let multi = header(op::CREATE).raw(&record.0).raw(&header(op::CHECK).string("/").int(-1).0);
    let whole = [
        (op::CREATE, record.clone()),
        (op::CREATE_TTL, record.clone().long(5)),
        (op::SET_DATA, Writer::new().string("/absurd").buffer(b"data").int(-1)),
        (op::SET_ACL, Acl::write_all(&Acl::open(), Writer::new().string("/absurd")).int(-1)),
        (op::DELETE, Writer::new().string("/absurd").int(-1)),
        (op::MULTI, multi),
        (op::RECONFIG, Writer::new().string("server.9=").null().null().long(-1)),
    ];
    let mut cut = Vec::new();
    for (op, body) in whole {
        for n in 0..body.0.len() {
            cut.push((op, Writer::new().raw(&body.0[..n])));
        }
    }
    cut
}

/// What answers a multi that holds no operation.
const END_OF_MULTI: [u8; 9] = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];

/// Sends one request; the server answers or closes, but it does neither late nor not at all.
fn throw(ensemble: &Ensemble, client: &mut Client, index: usize, op: i32, body: &Writer) {
    let answered = client.ask(op, body.clone());
    match answered {
        Ok(reply) if op == op::AUTH && reply.error == ErrorCode(0) => {}
        // Read as a header, a path can be the end of a multi of nothing.
        Ok(reply) if op == op::MULTI && reply.body == END_OF_MULTI => {}
        Ok(reply) => assert!(
            reply.error != ErrorCode(0) || op == op::SASL,
            "op {op} {body:?} is answered {reply:?}"
        ),
        Err(error) => assert_eq!(error, ErrorCode::CONNECTION_LOSS, "op {op} {body:?}"),
    }
    if client.ping().is_err() {
        *client = ensemble.client(index);
    }
}

#[test]
fn no_malformed_write_stops_an_ensemble_and_its_log_stays_readable() {
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let mut witness = ensemble.client((leader + 2) % 3);
    witness.create("/kept", b"kept", 0).expect("create");
    for index in [leader, (leader + 1) % 3] {
        let mut client = ensemble.client(index);
        for op in WRITES {
            for body in absurd_bodies() {
                throw(&ensemble, &mut client, index, op, &body);
            }
        }
        for (op, body) in cut_bodies() {
            throw(&ensemble, &mut client, index, op, &body);
        }
        still_serves(&ensemble, &mut witness);
        assert!(witness.set_data("/kept", b"again", -1).is_ok(), "writes go on");
    }
    assert_eq!(witness.children("/", false), Ok(vec!["kept".into(), "zookeeper".into()]));
    ensemble.kill_all();
    for index in 0..3 {
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();
    for index in 0..3 {
        let mut reader = ensemble.client(index);
        reader.sync("/").expect("sync");
        assert_eq!(reader.get("/kept"), Ok(b"again".to_vec()));
        assert!(reader.create(&format!("/{index}"), b"", 0).is_ok());
    }
}

#[test]
fn two_thousand_connections_that_announce_a_megabyte_cost_what_they_send() {
    if !Program::promises("memory is not allocated by announced lengths") {
        return;
    }
    const CONNECTIONS: usize = 2_000;
    let ensemble = Ensemble::standalone();
    let mut witness = ensemble.client(0);
    let mut open: Vec<Connection> = Vec::new();
    let half_open = |address: SocketAddr| -> io::Result<Connection> {
        let mut connection = Connection::open(address)?;
        if connection.handshake(&Hello::fresh(30_000))?.timeout_ms <= 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(connection)
    };
    for _ in 0..CONNECTIONS {
        open.push(half_open(ensemble.address(0)).expect("a session"));
    }
    let before = ensemble.server(0).resident_kib();
    for connection in &mut open {
        connection.send_bytes(&1_048_575i32.to_be_bytes()).expect("sent");
    }
    still_serves(&ensemble, &mut witness);
    // A byte now and then, of each.
    for round in 0..10 {
        for connection in &mut open {
            connection.send_bytes(&[round]).expect("sent");
        }
        still_serves(&ensemble, &mut witness);
    }
    witness.create("/written", b"meanwhile", 0).expect("create");
    if let (Some(before), Some(after)) = (before, ensemble.server(0).resident_kib()) {
        // They announced 2 GB and sent 14 bytes each: a small buffer each is all.
        println!("{CONNECTIONS} connections: from {before} KiB to {after} KiB");
        assert!(after < before + 8 * CONNECTIONS as u64, "from {before} KiB to {after} KiB");
    }
    drop(open);
    eventually("their places are free", || {
        let answer = four_letter(ensemble.address(0), "srvr").ok()?;
        answer.lines().any(|line| line == "Connections: 2").then_some(())
    });
    still_serves(&ensemble, &mut witness);
}

#[test]
fn a_writer_that_never_ends_its_request_loses_its_session_in_time() {
    let ensemble = Ensemble::of(1).tick_ms(100).start();
    let mut client = Client::open(ensemble.address(0), &Hello::fresh(200)).expect("a session");
    client.connection().send_bytes(&1_000_000i32.to_be_bytes()).expect("sent");
    client.connection().set_patience(Duration::from_millis(20));
    // A byte now and then is no sign of life.
    eventually("the end", || {
        let sent = client.connection().send_bytes(&[0]);
        match (sent, client.connection().receive()) {
            (Ok(()), Err(error)) if !is_cut(&error) => None,
            (Ok(()), Ok(frame)) => panic!("{frame:?} is an answer to nothing"),
            _ => Some(()),
        }
    });
}

#[test]
fn clients_cannot_forge_lines_of_the_log() {
    const FORGED: &str = "2026-01-01T00:00:00Z ERROR the quorum is lost";
    let ensemble = Ensemble::standalone();
    let mut witness = ensemble.client(0);
    let odd = format!("\n{FORGED}\r\n\x1b[31m{FORGED}\x07\u{85}{FORGED}\u{2028}");
    for first in ["", "ruo\n", "srv\r", "\0\0\x01", "GET /", "\x16\x03", "POST\n"] {
        let mut connection = Connection::open(ensemble.address(0)).expect("connect");
        let _ = connection.send_bytes(format!("{first}{odd}").as_bytes());
        let _ = connection.send_bytes(&[b'\n'; 512]);
        let _ = connection.receive_all();
    }
    let mut client = ensemble.client(0);
    let path = format!("/{odd}");
    let body = Writer::new().string(&path).bool(true);
    let acl = Acl::write_all(&Acl::open(), Writer::new().string(&path).buffer(b""));
    let odd_acl = Writer::new().string("/a").buffer(b"").int(1).int(31).string(&odd).string(&odd);
    for (op, body) in [
        (op::CREATE, acl.int(0)),
        (op::CREATE, odd_acl.int(0)),
        (op::EXISTS, body.clone()),
        (op::GET_CHILDREN, body),
        (op::ADD_WATCH, Writer::new().string(&path).int(0)),
        (op::DELETE, Writer::new().string(&path).int(-1)),
        (op::SYNC, Writer::new().string(&path)),
        (op::GET_EPHEMERALS, Writer::new().string(&odd)),
        (op::RECONFIG, Writer::new().string(&odd).string(&odd).string(&odd).long(-1)),
        (op::AUTH, Writer::new().int(0).string("digest").buffer(odd.as_bytes())),
        (op::AUTH, Writer::new().int(0).string(&odd).buffer(odd.as_bytes())),
    ] {
        let _ = client.ask(op, body);
        if client.ping().is_err() {
            client = ensemble.client(0);
        }
    }
    still_serves(&ensemble, &mut witness);
    let log = ensemble.server(0).log();
    if Program::promises("no client can forge a line of the log") {
        assert!(!log.lines().any(|line| line.trim_start().starts_with(FORGED)), "{log}");
        assert!(!log.contains(['\x1b', '\x07', '\r', '\u{85}', '\u{2028}']), "{log:?}");
        assert!(log.contains("client port:"), "it is complained about: {log}");
    }
}

#[test]
fn long_lists_that_nobody_takes_do_not_fill_memory() {
    const CHILDREN: usize = 10_000;
    let ensemble = Ensemble::standalone();
    let mut witness = ensemble.client(0);
    witness.create("/wide", b"", 0).expect("create");
    for n in 0..CHILDREN {
        let path = format!("/wide/{n:0120}");
        witness.send(op::CREATE, create_record(&path, b"", &Acl::open(), 0)).expect("sent");
        if n % 500 == 499 {
            (0..500).for_each(|_| assert!(matches!(witness.receive(), Ok(Message::Reply(_)))));
        }
    }
    let before = ensemble.server(0).resident_kib();
    let list = || Writer::new().string("/wide").bool(false);
    // Lists behind a write are all made in one moment: when it is durable.
    let mut greedy: Vec<_> = (0..4).map(|_| ensemble.client(0)).collect();
    for client in &mut greedy {
        client.connection().set_write_patience(Duration::from_millis(200));
        let set = Writer::new().string("/wide").buffer(b"x").int(-1);
        client.send(op::SET_DATA, set).expect("sent");
        // A thousand lists of 1.2 MB.
        (0..1_000).try_for_each(|_| client.send(op::GET_CHILDREN, list()).map(drop)).unwrap_or(());
    }
    still_serves(&ensemble, &mut witness);
    let after = ensemble.server(0).resident_kib();
    if let (Some(before), Some(after)) = (before, after)
        && Program::promises("answers nobody reads are bounded")
    {
        // Sixteen lists in memory and a little in bytes, for each of four.
        println!("4,000 lists of 1.2 MB: from {before} KiB to {after} KiB");
        assert!(after < before + 160 * 1024, "from {before} KiB to {after} KiB");
    }
    // Whoever does take them gets them all.
    let mut client = greedy.pop().expect("there are four");
    for _ in 0..50 {
        assert!(
            matches!(client.receive(), Ok(Message::Reply(reply)) if reply.error == ErrorCode(0))
        );
    }
}

#[test]
fn a_server_without_another_file_keeps_its_clients_and_takes_new_ones_when_it_can() {
    let ensemble = Ensemble::standalone();
    let server = ensemble.server(0);
    let (Some(pid), Some(n_open)) = (server.process_id(), server.n_open_files()) else {
        eprintln!("left out: this system does not tell a process's open files");
        return;
    };
    let process = Pid::from_raw(pid as i32).expect("a process");
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let allow = |n: u64| {
        let limit = Rlimit { current: Some(n), maximum };
        prlimit(Some(process), Resource::Nofile, limit).expect("the limit of our own child")
    };
    let mut witness = ensemble.client(0);
    let former = allow(n_open as u64 + 6);
    let mut waiting = Vec::new();
    for _ in 0..50 {
        // The system takes them in; the server cannot.
        waiting.push(Connection::open(ensemble.address(0)).expect("the backlog has room"));
    }
    eventually("the complaint", || server.log().contains("cannot accept").then_some(()));
    for n in 0..20 {
        let path = format!("/{n}");
        assert_eq!(witness.create(&path, b"while files are short", 0), Ok(path));
    }
    let n_lines = server.log().lines().filter(|line| line.contains("cannot accept")).count();
    assert!(n_lines < 40, "{n_lines} lines of the log");
    prlimit(Some(process), Resource::Nofile, former).expect("the limit of our own child");
    eventually("a new client", || {
        let mut client = Client::open(ensemble.address(0), &Hello::fresh(30_000)).ok()?;
        client.sync("/").ok()
    });
    let last = waiting.last_mut().expect("there are fifty");
    assert!(last.handshake(&Hello::fresh(30_000)).is_ok(), "those who waited are taken in");
    assert_eq!(witness.sync("/"), Ok("/".into()));
}

/// One request of nearly a megabyte makes tens of thousands of events for each of a thousand
/// clients: gigabytes, if all were kept. Whoever is told is told all in order, or is cut and learns
/// it by setting its watch again.
#[test]
fn what_one_multi_tells_a_thousand_watchers_does_not_fill_memory() {
    const WATCHERS: usize = 1_000;
    const CHANGES: usize = 45_000;
    let ensemble = Ensemble::standalone();
    let mut writer = ensemble.client(0);
    writer.create("/w", b"", 0).expect("create");
    let mut watchers: Vec<Client> = (0..WATCHERS).map(|_| ensemble.client(0)).collect();
    for client in &mut watchers {
        client.add_watch("/w", 0).expect("added");
    }
    let mut witness = ensemble.client(0);
    witness.get_data("/", true).expect("it is there");
    let seen = witness.last_zxid;
    let before = ensemble.server(0).most_resident_kib();
    let parts = vec![Part::SetData("/w".into(), vec![], -1); CHANGES];
    let body = Part::write_all(&parts);
    assert!((900_000..1_048_575).contains(&body.0.len()), "{}", body.0.len());
    let start = std::time::Instant::now();
    let reply = writer.ask(op::MULTI, body).expect("an answer");
    assert_eq!(reply.error, ErrorCode(0));
    println!("answered after {:?}", start.elapsed());
    still_serves(&ensemble, &mut witness);
    println!("others are served after {:?}", start.elapsed());
    if let (Some(before), Some(after)) = (before, ensemble.server(0).most_resident_kib()) {
        println!("{WATCHERS} watchers, {CHANGES} changes: from {before} KiB to {after} KiB");
        assert!(
            !Program::promises("what waits for all together is bounded")
                || after < before + 640 * 1024,
            "from {before} KiB to {after} KiB"
        );
    }
    let (mut n_whole, mut n_cut) = (0, 0);
    for mut client in watchers.into_iter().step_by(WATCHERS / 20) {
        let zxid = reply.zxid;
        client.send(op::PING, Writer::new()).unwrap_or_default();
        let mut n_events = 0;
        loop {
            match client.receive() {
                Ok(Message::Event { zxid: own, event }) => {
                    assert_eq!((own, event.kind), (zxid, zokor_tests::EventKind::DataChanged));
                    n_events += 1;
                }
                Ok(Message::Reply(_)) => {
                    assert_eq!(n_events, CHANGES, "who is not cut is told of everything");
                    n_whole += 1;
                    break;
                }
                Err(_) => {
                    n_cut += 1;
                    let mut again = client.resume(ensemble.address(0)).expect("it goes on");
                    again.set_watches(seen, [&["/w"], &[], &[]]).expect("set watches");
                    assert_eq!(again.events().len(), 1, "it learns of the change");
                    break;
                }
            }
        }
    }
    println!("{n_whole} were told all, {n_cut} were cut");
    still_serves(&ensemble, &mut witness);
}
