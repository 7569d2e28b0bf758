//! The admin server's door: who may do what, and what strangers cannot do to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zokor_tests::http::{Answer, ask, command, get, parse};
use zokor_tests::wait::within;
use zokor_tests::{Acl, Client, Ensemble, Program, eventually};

fn posted(at: SocketAddr, path: &str, auth: Option<&str>, body: &str) -> Answer {
    let auth: Vec<(&str, &str)> = auth.map(|auth| ("Authorization", auth)).into_iter().collect();
    ask(at, "POST", path, &auth, body.as_bytes()).expect("an answer")
}

/// The status and the error of an answer.
fn outcome(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["error"].clone())
}

#[test]
fn what_is_not_for_everybody_asks_who_it_is_and_needs_every_right_on_the_root() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let ensemble = Ensemble::of(1).admin().line("admin.rateLimiterIntervalInMS=0").start();
    let at = ensemble.admin_address(0);
    let mut client = ensemble.client(0);
    client.authenticate("digest", b"ann:secret").expect("any credentials will do");
    let missing = (401, json!("Auth info is missing for the command"));
    let unknown = (401, json!("Not authenticated"));
    let refused = (403, json!("Not authorized"));
    let snapshot = |auth: Option<&str>| {
        let auth: Vec<_> = auth.map(|auth| ("Authorization", auth)).into_iter().collect();
        ask(at, "GET", "/commands/snapshot?streaming=false", &auth, b"").expect("an answer")
    };
    let shed = |auth: Option<&str>| posted(at, "/commands/shed", auth, "{\"percentage\":0}");
    let restore = |auth: Option<&str>| posted(at, "/commands/restore", auth, "");
    for ask in [&snapshot as &dyn Fn(Option<&str>) -> Answer, &shed, &restore] {
        assert_eq!(outcome(&ask(None)), missing);
        for auth in ["nope", "nope a:b", "digest", "digest a b", "digest  a:b", "x509", ":"] {
            assert_eq!(outcome(&ask(Some(auth))), unknown, "{auth:?}");
        }
    }
    for auth in ["digest bob:other", "ip"] {
        assert_eq!(shed(Some(auth)).status, 200, "an open root lets everybody in");
    }
    client.set_acl("/", &[Acl::new(31, "auth", ""), Acl::new(15, "ip", "127.0.0.1")], -1).unwrap();
    for ask in [&snapshot as &dyn Fn(Option<&str>) -> Answer, &shed, &restore] {
        assert_eq!(outcome(&ask(Some("digest ann:wrong"))), refused);
        assert_eq!(outcome(&ask(Some("ip"))), refused, "one right is missing");
    }
    assert_eq!(shed(Some("digest ann:secret")).status, 200);
    client.set_acl("/", &[Acl::new(31, "ip", "127.0.0.1")], -1).unwrap();
    assert_eq!(shed(Some("ip")).status, 200);
    assert_eq!(outcome(&shed(Some("digest ann:secret"))), refused);
    assert_eq!(command(at, "ruok")["error"], Value::Null, "all else is for everybody");
}

#[test]
fn restore_says_why_it_cannot_be_done() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let of = |line: &str| Ensemble::of(1).admin().line(line).start();
    let status = |ensemble: &Ensemble, body: &str| {
        posted(ensemble.admin_address(0), "/commands/restore", Some("ip"), body).status
    };
    let off = of("admin.restore.enabled=false");
    assert_eq!((status(&off, ""), status(&off, "x")), (503, 503));
    let without = of("serializeLastProcessedZxid.enabled=false");
    assert_eq!((status(&without, ""), status(&without, "x")), (500, 500));
    let on = of("snapCount=1000");
    assert_eq!(status(&on, ""), 400);
    assert_eq!(status(&on, "this is no snapshot"), 500);
    assert_eq!(status(&on, "nor is this, and it comes too soon"), 429);
    command(on.admin_address(0), "ruok");
}

#[test]
fn so_many_of_a_hundred_connections_are_shed() {
    if !Program::promises("commands of later releases") {
        return;
    }
    let ensemble = Ensemble::of(1).admin().start();
    let at = ensemble.admin_address(0);
    let shed = |body: &str| posted(at, "/commands/shed_connections", Some("ip"), body);
    let mut clients: Vec<Client> = (0..40).map(|_| ensemble.client(0)).collect();
    let none = json!({"connections_shed": 0, "percentage_requested": 0,
        "command": "shed_connections", "error": null});
    assert_eq!(shed("{\"percentage\": 0}").json(), none);
    assert!(clients.iter_mut().all(|client| client.ping().is_ok()));
    let answer = shed("{\"percentage\": 50}").json();
    let n_shed = answer["connections_shed"].as_u64().expect("a number");
    // By chance: outside of this once in ten thousand million times.
    assert!((1..40).contains(&n_shed), "{answer}");
    let n_alive = clients.iter_mut().filter_map(|client| client.ping().ok()).count() as u64;
    assert_eq!(n_alive, 40 - n_shed);
    let answer = shed("{\"percentage\": 100}").json();
    assert_eq!(answer["connections_shed"], 40 - n_shed);
    assert!(clients.iter_mut().all(|client| client.ping().is_err()));
    let mut again = clients[0].resume(ensemble.address(0)).expect("its session lives");
    again.ping().expect("and goes on");
    for (body, error) in [
        ("", "Request body is required"),
        ("{}", "Missing required field: percentage"),
        ("{\"percentage\": -1}", "Percentage must be between 0 and 100"),
        ("{\"percentage\": 101}", "Percentage must be between 0 and 100"),
    ] {
        assert_eq!(outcome(&shed(body)), (400, json!(error)), "{body:?}");
    }
    let (status, error) = outcome(&shed("{\"percentage\": "));
    let begins = "Invalid JSON or failed to read request body: ";
    assert!(status == 400 && error.as_str().is_some_and(|it| it.starts_with(begins)), "{error}");
    let large = format!("{{\"percentage\": 1{}}}", " ".repeat(1 << 20));
    assert_eq!(shed(&large).status, 400);
    again.ping().expect("nothing of that was carried out");
}

/// Sends these bytes over a connection that stays open.
fn hold(at: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a bound");
    // Whoever is cut at once cannot send.
    let _ = stream.write_all(bytes);
    stream
}

/// What comes until the connection ends; `None` if it does not.
fn rest(mut stream: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if zokor_tests::raw::is_cut(&error) => Some(bytes),
        Err(_) => None,
        Ok(_) => Some(bytes),
    }
}

#[test]
fn who_is_too_slow_with_a_request_is_cut() {
    let ensemble = Ensemble::of(1).admin().line("admin.idleTimeout=300").start();
    let at = ensemble.admin_address(0);
    let silent = hold(at, b"");
    let half = hold(at, b"GET /commands/ruok HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    let idle = hold(at, b"GET /commands/ruok HTTP/1.1\r\nHost: x\r\n\r\n");
    for (what, stream) in [("silent", &silent), ("half a head", &half)] {
        assert!(rest(stream).is_some(), "{what}");
    }
    let bytes = rest(&idle).expect("idle after an answer");
    assert_eq!(parse(&bytes, false).expect("an answer").status, 200);
    if Program::promises("commands that are posted") {
        let head = "POST /commands/shed HTTP/1.1\r\nHost: x\r\nAuthorization: ip\r\n\
                    Content-Length: 10\r\n\r\n{\"per";
        let slow = hold(at, head.as_bytes());
        let bytes = rest(&slow).expect("half a body");
        assert!(bytes.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_byte_now_and_then_keeps_no_connection() {
    if !Program::promises("heads that trickle are cut") {
        return;
    }
    let ensemble = Ensemble::of(1).admin().line("admin.idleTimeout=500").start();
    let mut stream = hold(ensemble.admin_address(0), b"GET /commands/ruok HTTP/1.1\r\nX: ");
    within(Duration::from_secs(20), "it is cut", || stream.write_all(b"y").err());
}

#[test]
fn heads_and_bodies_beyond_all_measure_are_refused() {
    let ensemble = Ensemble::of(1).admin().start();
    let at = ensemble.admin_address(0);
    let long =
        format!("GET /commands/ruok HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET /commands/ruok HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let path = format!("GET /commands/{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let no_http = "\u{0}\u{0}\u{0}\u{2c}this is no HTTP\r\n\r\n".to_owned();
    for (what, bytes) in [("long", long), ("many", many), ("path", path), ("no HTTP", no_http)] {
        let stream = hold(at, bytes.as_bytes());
        let answer = rest(&stream).expect("it ends");
        let status = answer.get(9..10).unwrap_or(b"4");
        assert_eq!(status, b"4", "{what}: {}", String::from_utf8_lossy(&answer));
    }
    // What is not asked for is not read: the answer comes all the same.
    let body = vec![b'x'; 8 << 20];
    let _ = ask(at, "POST", "/commands/ruok", &[], &body);
    command(at, "ruok");
    if let Some(kib) = ensemble.server(0).most_resident_kib() {
        assert!(Program::under_test() != Program::Zokor || kib < 40 << 10, "{kib} KiB");
    }
}

#[test]
fn a_thousand_connections_that_do_nothing_keep_nobody_out() {
    if !Program::promises("the idle give way") {
        return;
    }
    let ensemble = Ensemble::of(1).admin().start();
    let at = ensemble.admin_address(0);
    let mut client = ensemble.client(0);
    let before = ensemble.server(0).n_open_files();
    let mut held = Vec::new();
    for n in 0..1_000 {
        held.push(hold(at, if n % 2 == 0 { b"" } else { b"GET /comm" }));
        if n % 100 == 0 {
            assert_eq!(command(at, "ruok")["error"], Value::Null);
            client.ping().expect("clients do not notice");
        }
    }
    assert_eq!(command(at, "srvr")["read_only"], false);
    if let (Some(before), Some(after)) = (before, ensemble.server(0).n_open_files()) {
        assert!(after <= before + 80, "{before} files, then {after}");
    }
    if let Some(kib) = ensemble.server(0).most_resident_kib() {
        assert!(kib < 40 << 10, "{kib} KiB");
    }
}

#[test]
fn who_keeps_every_place_busy_keeps_nobody_out() {
    if !Program::promises("the busy give way, too") {
        return;
    }
    let ensemble = Ensemble::of(1).admin().start();
    let at = ensemble.admin_address(0);
    let head = "POST /commands/shed HTTP/1.1\r\nHost: x\r\nAuthorization: ip\r\n\
                Content-Length: 20\r\n\r\n{\"percentage\": ";
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(hold(at, head.as_bytes()));
    }
    for _ in 0..10 {
        assert_eq!(command(at, "ruok")["error"], Value::Null);
    }
    assert_eq!(posted(at, "/commands/shed", Some("ip"), "{\"percentage\":0}").status, 200);
}

#[test]
fn who_does_not_read_a_long_answer_is_cut_and_clients_do_not_notice() {
    if !Program::promises("answers go out part by part") {
        return;
    }
    let ensemble = Ensemble::of(1).admin().line("admin.idleTimeout=1000").start();
    let at = ensemble.admin_address(0);
    let mut client = ensemble.client(0);
    let long = "x".repeat(800);
    for n in 0..40_000 {
        client.send(zokor_tests::op::EXISTS, exists(&format!("/{long}-{n}"))).expect("sent");
        if n % 500 == 499 {
            (0..500).for_each(|_| drop(client.receive().expect("an answer")));
        }
    }
    let before = ensemble.server(0).resident_kib();
    let n_sockets = || ensemble.server(0).n_open_sockets().unwrap_or_default();
    let n_before = n_sockets();
    let _deaf = hold(at, b"GET /commands/wchc HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is taken in", || (n_sockets() > n_before).then_some(()));
    let mut worst = Duration::ZERO;
    eventually("it is cut", || {
        let asked = Instant::now();
        client.ping().expect("an answer");
        worst = worst.max(asked.elapsed());
        (n_sockets() == n_before).then_some(())
    });
    assert!(worst < Duration::from_millis(500), "{worst:?}");
    if let (Some(before), Some(after)) = (before, ensemble.server(0).resident_kib()) {
        assert!(after < before + (8 << 10), "{before} KiB, then {after}");
    }
    // And who reads it gets all of it.
    let answer = get(at, "/commands/wchc").json();
    let paths = answer["session_id_to_watched_paths"][client.session().to_string()].as_array();
    assert_eq!(paths.map(Vec::len), Some(40_000));
}

fn exists(path: &str) -> zokor_tests::jute::Writer {
    zokor_tests::jute::Writer::new().string(path).bool(true)
}
