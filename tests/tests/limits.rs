//! Limits of size, number and speed: what is within is served, what is beyond is turned away, and
//! nobody else notices.

use std::time::Duration;

use zokor_tests::client::{Message, Part, create_record};
use zokor_tests::jute::Writer;
use zokor_tests::raw::{Connection, Hello, four_letter};
use zokor_tests::records::{Acl, op};
use zokor_tests::wait::eventually;
use zokor_tests::{Client, Ensemble, ErrorCode, Program};

/// A znode's data by which the frame that creates `path` has exactly `frame` bytes.
fn filling(path: &str, frame: usize) -> Vec<u8> {
    let around = create_record(path, b"", &Acl::open(), 0).0.len() + 8;
    vec![7; frame - around]
}

/// Whether a new connection is closed without a byte.
fn is_turned_away(ensemble: &Ensemble, hello: &Hello) -> bool {
    let mut connection = Connection::open(ensemble.address(0)).expect("connect");
    let _ = connection.send(&hello.encode());
    connection.is_closed_by_server()
}

fn fresh() -> Hello {
    Hello::fresh(30_000)
}

/// The errors of `n` replies, in order.
fn errors(client: &mut Client, n: usize) -> Vec<ErrorCode> {
    let mut errors = Vec::new();
    while errors.len() < n {
        if let Message::Reply(reply) = client.receive().expect("a reply") {
            errors.push(reply.error);
        }
    }
    errors
}

#[test]
fn what_a_raised_buffer_admits_is_read_back_everywhere_also_after_a_restart() {
    if !Program::promises("jute.maxbuffer is a key of zoo.cfg") {
        return;
    }
    const LIMIT: usize = 0x20_0000;
    let mut ensemble = Ensemble::of(3).line("jute.maxbuffer=0x200000").line("snapCount=4").start();
    let leader = ensemble.wait_for_leader();
    let follower = (leader + 1) % 3;
    let (data, name) = (filling("/whole", LIMIT), "n".repeat(500_000));
    let mut client = ensemble.client(follower);
    assert_eq!(client.create("/whole", &data, 0), Ok("/whole".into()));
    client.create("/names", b"", 0).expect("create");
    for n in 0..3 {
        client.create(&format!("/names/{n}{name}"), b"", 0).expect("create");
    }
    let half = vec![9; LIMIT / 2 - 1_000];
    let parts = ["/m1", "/m2"].map(|path| Part::Create(op::CREATE, path.into(), half.clone(), 0));
    client.multi(&parts).expect("a multi of nearly the limit");
    let over = Writer::new().int(1).int(op::CREATE);
    let over = over.raw(&create_record("/over", &filling("/over", LIMIT + 1), &Acl::open(), 0).0);
    let _ = client.connection().send(&over.0);
    assert!(client.connection().is_closed_by_server(), "one byte more");
    for round in 0..2 {
        for index in 0..3 {
            let mut reader = ensemble.client(index);
            reader.sync("/").expect("sync");
            assert_eq!(reader.get("/whole"), Ok(data.clone()), "server {index}, round {round}");
            assert_eq!(reader.get("/m2"), Ok(half.clone()));
            assert_eq!(reader.children("/names", false).map(|names| names.len()), Ok(3));
            let parts = ["/m1", "/m2", "/whole"].map(|path| Part::GetData(path.into()));
            assert_eq!(reader.multi_read(&parts).map(|results| results.len()), Ok(3));
            assert!(reader.exists("/over", false).is_err());
        }
        ensemble.kill_all();
        for index in 0..3 {
            ensemble.restart(index);
        }
        ensemble.wait_until_serving();
    }
}

#[test]
fn many_clients_that_write_a_megabyte_at_once_through_a_follower_all_get_their_answer() {
    let ensemble = Ensemble::trio();
    let follower = (ensemble.wait_for_leader() + 1) % 3;
    let data = vec![5; 1_000_000];
    let mut clients: Vec<_> = (0..100).map(|_| ensemble.client(follower)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let body = create_record(&format!("/m{n}"), &data, &Acl::open(), 0);
        client.send(op::CREATE, body).expect("sent");
    }
    for client in &mut clients {
        client.set_patience(Duration::from_secs(60));
        assert_eq!(errors(client, 1), [ErrorCode(0)]);
    }
}

#[test]
fn an_address_has_exactly_as_many_connections_as_it_may_have() {
    let ensemble = Ensemble::of(1).line("maxClientCnxns=3").start();
    let mut clients: Vec<_> = eventually("three places", || {
        (0..3).map(|_| Client::open(ensemble.address(0), &fresh()).ok()).collect()
    });
    for _ in 0..3 {
        assert!(is_turned_away(&ensemble, &fresh()));
    }
    for client in &mut clients {
        assert_eq!(client.sync("/"), Ok("/".into()), "those who are there stay");
    }
    clients.pop();
    clients.push(eventually("the place", || Client::open(ensemble.address(0), &fresh()).ok()));
    assert!(is_turned_away(&ensemble, &fresh()));
}

#[test]
fn all_together_have_exactly_as_many_connections_as_they_may_have() {
    let ensemble = Ensemble::of(1).line("maxCnxns=2").start();
    let mut clients: Vec<_> = eventually("two places", || {
        (0..2).map(|_| Client::open(ensemble.address(0), &fresh()).ok()).collect()
    });
    assert!(is_turned_away(&ensemble, &fresh()));
    assert!(!four_letter(ensemble.address(0), "ruok").is_ok_and(|answer| answer == "imok"));
    clients.pop();
    let mut last = eventually("the place", || Client::open(ensemble.address(0), &fresh()).ok());
    assert_eq!(last.sync("/"), Ok("/".into()));
}

#[test]
fn a_limit_of_outstanding_requests_delays_and_loses_nothing() {
    let ensemble = Ensemble::of(3).line("globalOutstandingLimit=2").start();
    let mut clients: Vec<_> = (0..6).map(|n| ensemble.client(n % 3)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.create(&format!("/{n}"), b"", 0).expect("create");
    }
    const WRITES: usize = 60;
    for (n, client) in clients.iter_mut().enumerate() {
        for k in 0..WRITES {
            let body = create_record(&format!("/{n}/{k}"), b"", &Acl::open(), 0);
            client.send(op::CREATE, body).expect("sent");
            let body = Writer::new().string(&format!("/{n}/{k}")).bool(false);
            client.send(op::EXISTS, body).expect("sent");
        }
    }
    for client in &mut clients {
        assert_eq!(errors(client, 2 * WRITES), [ErrorCode(0); 2 * WRITES]);
    }
}

#[test]
fn a_large_request_beyond_the_budget_closes_and_smaller_ones_pass() {
    if !Program::promises("largeRequestThreshold is a key of zoo.cfg") {
        return;
    }
    let builder = Ensemble::of(1).line("largeRequestThreshold=1000");
    let ensemble = builder.line("largeRequestMaxBytes=20000").start();
    let mut witness = ensemble.client(0);
    for n in 0..10 {
        assert!(
            witness.create(&format!("/w{n}"), &[1; 15_000], 0).is_ok(),
            "its budget comes back"
        );
    }
    let mut client = ensemble.client(0);
    let record = create_record("/large", &[1; 20_000], &Acl::open(), 0);
    let _ = client.send(op::CREATE, record);
    assert!(client.connection().is_closed_by_server());
    assert!(witness.exists("/large", false).is_err());
    let mut again = client.resume(ensemble.address(0)).expect("the session lives on");
    assert!(again.create("/small", &[1; 900], 0).is_ok());
}

#[test]
fn clients_beyond_the_tokens_are_refused_and_operators_are_not() {
    if !Program::promises("connection_throttle_tokens is a key of zoo.cfg") {
        return;
    }
    let builder = Ensemble::of(1).line("connection_throttle_tokens=2");
    let builder = builder.line("connection_throttle_fill_time=100000000");
    let ensemble = builder.line("connection_throttle_weight_enabled=true").start();
    // Six tokens: a new session takes three, one that goes on two.
    let first = ensemble.client(0);
    let mut again = first.resume(ensemble.address(0)).expect("it goes on");
    assert!(is_turned_away(&ensemble, &fresh()));
    assert!(is_turned_away(&ensemble, &again.hello_again()));
    assert_eq!(again.sync("/"), Ok("/".into()), "a refused resume harms nobody");
    assert_eq!(four_letter(ensemble.address(0), "ruok").expect("an answer"), "imok");
}

#[test]
fn refused_clients_are_let_in_when_tokens_come_back() {
    if !Program::promises("connection_throttle_tokens is a key of zoo.cfg") {
        return;
    }
    let builder = Ensemble::of(1).line("connection_throttle_tokens=1");
    let ensemble = builder.line("connection_throttle_fill_time=50").start();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(eventually("a token", || Client::open(ensemble.address(0), &fresh()).ok()));
    }
    for client in &mut clients {
        assert_eq!(client.sync("/"), Ok("/".into()));
    }
}

#[test]
fn a_throttle_of_requests_delays_and_keeps_their_order() {
    if !Program::promises("request_throttle_max_requests is a key of zoo.cfg") {
        return;
    }
    let ensemble = Ensemble::of(3).line("request_throttle_max_requests=1").start();
    let mut clients: Vec<_> = (0..3).map(|index| ensemble.client(index)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.create(&format!("/{n}"), b"", 0).expect("create");
        for k in 0..50 {
            let body = Writer::new().string(&format!("/{n}")).buffer(&[k]).int(i32::from(k));
            client.send(op::SET_DATA, body).expect("sent");
            client.send(op::PING, Writer::new()).expect("sent");
        }
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(errors(client, 100), [ErrorCode(0); 100], "each found the version before it");
        assert_eq!(client.get(&format!("/{n}")), Ok(vec![49]));
    }
}

#[test]
fn what_waited_for_too_long_is_throttled_and_not_carried_out_and_may_come_again() {
    if !Program::promises("throttled_op_wait_time is a key of zoo.cfg") {
        return;
    }
    let builder = Ensemble::of(3).observers(1).line("request_throttle_max_requests=1");
    let ensemble = builder.line("throttled_op_wait_time=1").start();
    // One that leads, one that follows, one that observes.
    for index in 0..3 {
        let mut client = ensemble.client(index);
        let root = format!("/{index}");
        client.create(&root, b"", 0).expect("create");
        const WRITES: usize = 200;
        let record = |n: usize| create_record(&format!("{root}/{n}"), b"", &Acl::open(), 0);
        for n in 0..WRITES {
            client.send(op::CREATE, record(n)).expect("sent");
        }
        let errors = errors(&mut client, WRITES);
        let throttled: Vec<_> = (0..WRITES).filter(|&n| errors[n] == ErrorCode(-127)).collect();
        assert!(!throttled.is_empty(), "200 writes one after the other take more than 1 ms");
        assert!(errors.iter().all(|error| [ErrorCode(0), ErrorCode(-127)].contains(error)));
        let n_done = client.children(&root, false).expect("children").len();
        assert_eq!(n_done, WRITES - throttled.len());
        let mntr = four_letter(ensemble.address(index), "mntr").expect("an answer");
        let counted = format!("zk_throttled_ops\t{}\n", throttled.len());
        assert!(mntr.contains(&counted), "{counted} in\n{mntr}");
        assert!(!mntr.contains("zk_cnt_request_throttle_queue_time_ms\t0\n"), "{mntr}");
        for n in throttled {
            let again = eventually("it is not throttled when it comes alone", || {
                let reply = client.ask(op::CREATE, record(n)).expect("a reply");
                (reply.error != ErrorCode(-127)).then_some(reply.error)
            });
            assert_eq!(again, ErrorCode(0));
        }
        assert_eq!(client.children(&root, false).expect("children").len(), WRITES);
    }
}

#[test]
fn keys_without_a_meaning_here_are_named_with_the_reason() {
    if !Program::promises("warnings are ours") {
        return;
    }
    let builder = Ensemble::of(1).line("jute.maxbuffer.extrasize=4096");
    let ensemble = builder.line("request_throttle_stall_time=100").start();
    let logs = ensemble.logs();
    for why in [
        "jute.maxbuffer.extrasize has no effect in zokor and needs none",
        "request_throttle_stall_time has no effect in zokor and needs none",
    ] {
        assert!(logs.contains(why), "{logs}");
    }
}
