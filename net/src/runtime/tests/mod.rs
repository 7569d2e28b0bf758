//! A whole server around a scripted replica, over real sockets: one promise a test.

mod limits;
mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use zokor_core::Input;
use zokor_core::id::{ConnId, ServerId, SessionId, Xid};
use zokor_core::proto::{Request, Write};
use zokor_core::replica::{Message, Sizes};
use zokor_core::time::{Instant, Now, WallTime};

use crate::runtime::client::Client;
use crate::runtime::driver::{Driver, StorageQueues};
use crate::runtime::log_writer::StorageTimes;
use crate::runtime::peers::Peers;
use crate::runtime::shared::Shared;
use crate::runtime::*;
use crate::transport::{ClientPort, Inbox, PeerPort, PlainSockets};
use crate::wire::peer::{Hello, encode_hello, encode_message};

use stage::*;

/// The ways to the workers, and the way back.
fn split(port: StoragePort) -> (StorageQueues, UnboundedReceiver<Done>, StorageTimes) {
    let StoragePort { log, snapshots, scrub, done, times } = port;
    (StorageQueues { log, snapshots, scrub }, done, times)
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    client.write_all(&requests(&Request::Ping, 0..1000)).await.unwrap();
    for xid in 0..1000 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    let facts = stage.handle.facts(Detail::Connections);
    assert_eq!((facts.traffic.received, facts.traffic.sent), (1001, 1001));
    assert_eq!(facts.connections[0].traffic.last_operation, "PING");
    assert_eq!(facts.connections[0].session, Some(SessionId(7)));
    assert!(stage.seen(|seen| seen.polls) < 100, "one pump serves many requests");
    assert_eq!(stage.seen(|seen| seen.costly), 1, "only by our own question");
}

#[tokio::test]
async fn what_comes_with_the_connect_request_waits_for_its_answer() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.socket().await;
    let mut bytes = connect_frame();
    bytes.unsplit(requests(&Request::Ping, 1..3));
    client.write_all(&bytes).await.unwrap();
    assert_eq!(frame(&mut client).await.unwrap().len(), 37);
    assert_eq!(next_xid(&mut client).await, Some(1));
    assert_eq!(next_xid(&mut client).await, Some(2));
}

#[tokio::test]
async fn a_write_is_answered_when_it_is_durable_and_the_close_follows_the_answer() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    let close = Request::Write(Write::CloseSession);
    client.write_all(&requests(&close, 5..6)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(5));
    assert_eq!(next_xid(&mut client).await, None);
    assert_eq!(stage.seen(|seen| seen.disconnects), 0, "the replica knows already");
}

#[tokio::test]
async fn a_failed_disk_ends_the_server_and_nothing_is_acknowledged() {
    let stage = Stage::with_disk(Limits::default(), true).await;
    let mut client = stage.client().await;
    let close = Request::Write(Write::CloseSession);
    client.write_all(&requests(&close, 5..6)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, None);
    let end = timeout(PATIENCE, stage.run).await.unwrap().unwrap();
    let Err(Error::Storage(why)) = end else { panic!("ended with {end:?}") };
    assert_eq!(why, "the disk is gone");
}

#[tokio::test]
async fn the_replica_hears_when_the_disk_is_short_of_room_and_when_no_longer() {
    let limits = Limits { disk_reserve_bytes: 1_000, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let heard = |seen: &mut Seen| seen.peers.clone();
    for (free_bytes, news) in
        [(1_000, None), (999, Some(true)), (1_249, None), (1_250, Some(false))]
    {
        let before = stage.seen(heard).len();
        stage.free_bytes.store(free_bytes, Ordering::Relaxed);
        stage.advance(Duration::from_secs(1));
        let measured = || stage.handle.facts(Detail::Counts).room.free_bytes == Some(free_bytes);
        timeout(PATIENCE, async {
            while !measured() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it is measured once a second");
        let news: Vec<_> = news.iter().map(|news| format!("short of room: {news}")).collect();
        assert_eq!(stage.seen(heard)[before..], news, "{free_bytes}");
    }
}

/// Its report and its end are noticed in either order.
#[tokio::test]
async fn a_server_tells_what_its_disk_said_even_if_it_notices_the_end_of_the_log_first() {
    let (port, workers) = storage_workers(Disk::new(true), Disk::new(false), ());
    let server = (ServerId(1), Limits::default(), Peers::new([].into_iter(), 1 << 20));
    let now = Now { instant: Instant::from_micros(1), wall: WallTime(1) };
    let (queues, mut reports, times) = split(port);
    let script = Box::new(Script::default());
    let mut driver = Driver::new(server, BTreeMap::new(), script, queues, times, now);
    let (conn, _wake) = driver.admit(now, "127.0.0.1:9".parse().unwrap()).unwrap();
    let ask = |driver: &mut Driver, xid| {
        let request = Request::Write(Write::CloseSession);
        driver.machine.handle(now, Input::Request { conn, xid: Xid(xid), request });
        driver.pump(now);
    };
    ask(&mut driver, 1);
    let Workers { log, snapshots, scrub } = workers;
    std::thread::spawn(move || log.run()).join().unwrap();
    ask(&mut driver, 2);
    assert_eq!(driver.failure, None, "why is still to be told");
    while let Ok(report) = reports.try_recv() {
        driver.stored(now, report);
    }
    assert_eq!(driver.failure.as_deref(), Some("the disk is gone"));
    drop((snapshots, scrub));
}

#[tokio::test]
async fn a_four_letter_word_is_answered_and_the_connection_closed() {
    let stage = Stage::new(Limits::default()).await;
    let _other = stage.client().await;
    let mut operator = stage.socket().await;
    operator.write_all(b"srvr").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, operator.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "srvr: 2 connections, [0, 0, 0, 0]");
}

#[tokio::test]
async fn strangers_and_liars_are_cut_and_nobody_else_notices() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    let strangers: [&[u8]; 5] = [
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01],
        &[0xff; 40],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 2, 1, 2],
        b"\n\x1b[31mforged\n",
    ];
    for bytes in strangers {
        let mut stranger = stage.socket().await;
        stranger.write_all(bytes).await.unwrap();
        assert_eq!(next_xid(&mut stranger).await, None, "{}", bytes.escape_ascii());
    }
    assert_eq!(stage.handle.facts(Detail::Connections).connections_cut, 5);
    client.write_all(&requests(&Request::Ping, 1..2)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(1));
    client.write_all(&[0x00, 0x10, 0x00, 0x00]).await.unwrap();
    assert_eq!(next_xid(&mut client).await, None, "a frame beyond the limit");
    stage.until(|seen| seen.disconnects == 1).await;
}

#[tokio::test]
async fn only_what_a_word_needs_is_gathered() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    client.write_all(&requests(&Request::Ping, 0..1)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(0));
    let words = [
        ("mntr", "[0, 0, 0, 0]"),
        ("cons", "[1, 0, 0, 0]"),
        ("dump", "[1, 1, 0, 0]"),
        ("wchs", "[0, 0, 1, 0]"),
        ("wchc", "[0, 0, 0, 1]"),
    ];
    for (word, gathered) in words {
        assert_eq!(stage.ask(word).await, format!("{word}: 2 connections, {gathered}"));
    }
}

#[tokio::test]
async fn watches_are_told_by_the_session_that_has_them() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    client.write_all(&requests(&Request::Ping, 0..1)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(0));
    let watches = stage.handle.facts(Detail::Watches).watches;
    assert_eq!(watches, BTreeMap::from([(SessionId(7), ["/w".into()].into())]));
}

#[tokio::test]
async fn crst_and_srst_set_back_what_they_name() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    client.write_all(&requests(&Request::Ping, 0..3)).await.unwrap();
    for xid in 0..3 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    let facts = || stage.handle.facts(Detail::Connections);
    let one = |facts: &ServerFacts| {
        let traffic = &facts.connections[0].traffic;
        (traffic.received, traffic.sent, traffic.latency.count, traffic.last_operation)
    };
    let before = facts();
    // The opening of the session is a request as well.
    assert_eq!(one(&before), (4, 4, 4, "PING"));
    assert_eq!((before.traffic.received, before.traffic.latency.count), (4, 4));
    // The header of a reply is all of it.
    assert_eq!(before.service.sent.sizes, Sizes { last: Some(16), min: Some(16), max: Some(16) });
    stage.ask("crst").await;
    let between = facts();
    assert_eq!(one(&between), (0, 0, 0, ""));
    assert_eq!((between.traffic.received, between.traffic.latency.count), (5, 4));
    stage.ask("srst").await;
    let after = facts();
    // Its own answer is sent after it.
    assert_eq!((after.traffic.received, after.traffic.sent), (0, 1));
    assert_eq!((after.traffic.latency, after.service.sent), Default::default());
    client.write_all(&requests(&Request::Ping, 3..4)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(3));
    assert_eq!(one(&facts()), (1, 1, 1, "PING"));
    assert_eq!(facts().traffic.latency.count, 1);
}

#[tokio::test]
async fn a_connection_s_deadline_moves_with_what_is_heard() {
    let stage = Stage::new(Limits::default()).await;
    let (mut client, _half) = (stage.client().await, stage.socket().await);
    stage.advance(Duration::from_secs(4));
    client.write_all(&requests(&Request::Ping, 0..1)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(0));
    let facts = stage.handle.facts(Detail::Connections);
    let expires: Vec<_> = facts.connections.iter().map(|connection| connection.expires.0).collect();
    // The wall's clock stands at 1 ms; both may be silent for 10 s.
    assert_eq!(expires[0], 10_001);
    assert!(expires.len() < 2 || expires[1] <= 10_001, "{expires:?}");
}

#[tokio::test]
async fn a_connection_without_a_connect_request_is_cut_in_time() {
    let stage = Stage::new(Limits::default()).await;
    let mut half = stage.socket().await;
    half.write_all(&connect_frame()[..20]).await.unwrap();
    let mut whole = stage.client().await;
    stage.advance(Duration::from_millis(9_999));
    whole.write_all(&requests(&Request::Ping, 1..2)).await.unwrap();
    assert_eq!(next_xid(&mut whole).await, Some(1));
    assert_eq!(stage.handle.facts(Detail::Connections).connections.len(), 2);
    stage.advance(Duration::from_millis(1));
    assert_eq!(next_xid(&mut half).await, None);
    assert_eq!(stage.handle.facts(Detail::Connections).connections_cut, 1);
}

#[tokio::test]
async fn a_client_that_is_silent_for_its_session_timeout_is_cut() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    stage.advance(Duration::from_secs(10));
    assert_eq!(next_xid(&mut client).await, None);
    stage.until(|seen| seen.disconnects == 1).await;
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let limits = Limits { max_connections_per_address: 2, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let (first, _second) = (stage.client().await, stage.client().await);
    let mut third = stage.socket().await;
    assert_eq!(next_xid(&mut third).await, None);
    assert_eq!(stage.handle.facts(Detail::Connections).connections_rejected, 1);
    drop(first);
    stage.until(|seen| seen.disconnects == 1).await;
    stage.client().await;
}

#[tokio::test]
async fn a_client_with_too_many_open_requests_is_not_read_until_it_has_fewer() {
    let limits = Limits { connection_outstanding: 200, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.mute = true);
    client.write_all(&requests(&Request::Ping, 0..5000)).await.unwrap();
    stage.until(|seen| seen.requests >= 200).await;
    stage.seen(|seen| seen.mute = false);
    stage.advance(Duration::from_secs(60));
    let mut calm = stage.client().await;
    for xid in 0..50 {
        calm.write_all(&requests(&Request::Ping, xid..xid + 1)).await.unwrap();
        assert_eq!(next_xid(&mut calm).await, Some(xid));
    }
    assert!(stage.seen(|seen| seen.requests) <= 200 + 128 + 50);
    assert!(!stage.handle.facts(Detail::Connections).connections[0].reading);
    assert_eq!(
        stage.handle.facts(Detail::Connections).connections_cut,
        0,
        "its silence is our doing"
    );
}

#[tokio::test]
async fn a_flood_holds_up_only_connections_that_have_open_requests() {
    let limits = Limits { global_outstanding: 100, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let (mut noisy, mut calm) = (stage.client().await, stage.client().await);
    stage.seen(|seen| seen.mute = true);
    noisy.write_all(&requests(&Request::Ping, 0..5000)).await.unwrap();
    stage.until(|seen| seen.requests > 100).await;
    stage.seen(|seen| seen.mute = false);
    calm.write_all(&requests(&Request::Ping, 9..10)).await.unwrap();
    assert_eq!(next_xid(&mut calm).await, Some(9));
    assert!(stage.seen(|seen| seen.requests) <= 100 + 128 + 1);
}

#[tokio::test]
async fn when_a_flood_ends_as_many_go_on_as_there_is_room_for() {
    let script =
        Script { outstanding: (1..=3).map(|n| (ConnId(n), 1)).collect(), ..Script::default() };
    let seen = script.seen.clone();
    let (port, _workers) = storage_workers(Disk::new(false), Disk::new(false), ());
    let (queues, _done, times) = split(port);
    let limits = Limits { global_outstanding: 10, ..Limits::default() };
    let server = (ServerId(1), limits, Peers::new([].into_iter(), 1 << 20));
    let now = Now { instant: Instant::from_micros(1), wall: WallTime(1) };
    let mut driver = Driver::new(server, BTreeMap::new(), Box::new(script), queues, times, now);
    let address = "127.0.0.1:9".parse().unwrap();
    let wakes: Vec<_> = (0..3).map(|_| driver.admit(now, address).unwrap()).collect();
    seen.lock().unwrap().flood = 11;
    for (conn, _) in &wakes {
        assert!(driver.holds_up(now, *conn) && driver.holds_up(now, *conn));
    }
    driver.pump(now);
    seen.lock().unwrap().flood = 8;
    driver.pump(now);
    let mut woken = Vec::new();
    for (conn, wake) in &wakes {
        if timeout(Duration::ZERO, wake.notified()).await.is_ok() {
            woken.push(conn.0);
        }
    }
    assert_eq!(woken, [1, 2]);
    driver.forget(now, ConnId(2));
    driver.pump(now);
    assert!(timeout(Duration::ZERO, wakes[2].1.notified()).await.is_ok());
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_before_it_costs_too_much() {
    let limits =
        Limits { unsent_bytes: 10_000, unsent_event_bytes: 5_000_000, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let mut client = stage.client().await;
    let path = "/x".repeat(5_000);
    client.write_all(&requests(&Request::Sync(path.into()), 0..100)).await.unwrap();
    stage.until(|seen| seen.disconnects == 1).await;
    assert_eq!(stage.handle.facts(Detail::Connections).connections_cut, 1);
}

#[tokio::test]
async fn a_server_that_stops_says_what_it_owes() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    client.write_all(&requests(&Request::Ping, 0..100)).await.unwrap();
    // It is not durable yet when the server is told to stop.
    let close = Request::Write(Write::CloseSession);
    client.write_all(&requests(&close, 100..101)).await.unwrap();
    stage.until(|seen| seen.requests == 101).await;
    stage.handle.shutdown();
    for xid in 0..=100 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    assert_eq!(next_xid(&mut client).await, None);
    assert!(timeout(PATIENCE, stage.run).await.unwrap().unwrap().is_ok());
    let address = stage.handle.addresses().clients[0];
    assert!(TcpStream::connect(address).await.is_err());
}

/// The replica counts a request as answered before its answer is polled.
#[tokio::test]
async fn an_answer_that_was_not_polled_yet_is_said_before_the_farewell() {
    let (port, _workers) = storage_workers(Disk::new(false), Disk::new(false), ());
    let (queues, _done, times) = split(port);
    let server = (ServerId(1), Limits::default(), Peers::new([].into_iter(), 1 << 20));
    let now = Now { instant: Instant::from_micros(1), wall: WallTime(1) };
    let script = Box::new(Script::default());
    let mut driver = Driver::new(server, BTreeMap::new(), script, queues, times, now);
    let (conn, _wake) = driver.admit(now, "127.0.0.1:9".parse().unwrap()).unwrap();
    driver.machine.handle(now, Input::Request { conn, xid: Xid(1), request: Request::Ping });
    assert_eq!(driver.machine.outstanding_total(), 0);
    driver.finish_all(now);
    assert!(driver.connections[&conn].unsent_bytes() > 0);
}

#[tokio::test]
async fn the_replica_is_woken_at_its_deadline_and_not_before() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.deadline = Some(Instant::from_micros(1_005_000)));
    client.write_all(&requests(&Request::Ping, 0..1)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(0));
    // That it is not before is asserted by the script.
    stage.advance(Duration::from_millis(5));
    stage.until(|seen| seen.wakes == 1).await;
}

#[tokio::test]
async fn a_peer_is_down_when_either_of_its_connections_ends_and_up_when_ours_stands_again() {
    let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new(ServerId(1), "127.0.0.1:0".parse().unwrap());
    config.peer_addresses = vec!["127.0.0.1:0".parse().unwrap()];
    config.peers.insert(ServerId(2), vec![there.local_addr().unwrap().to_string()]);
    config.dial.least_delay = Duration::from_millis(1);
    let stage = Stage::with_config(config, false).await;
    let mut ours = accept_peer(&there).await;
    assert!(frame(&mut ours).await.is_some(), "what was sent when it came up arrives");
    let mut theirs = TcpStream::connect(stage.handle.addresses().peers[0]).await.unwrap();
    let mut out = peer_hello();
    assert!(encode_message(&Message::Heard(vec![SessionId(5)]), &mut out).is_none());
    theirs.write_all(&out).await.unwrap();
    let said = "from 2: Heard([SessionId(5)])";
    stage.until(|seen| seen.peers.last().is_some_and(|line| line == said)).await;

    drop(theirs);
    assert_eq!(frame(&mut ours).await, None, "ours goes with theirs");
    let again = accept_peer(&there).await;
    stage.until(|seen| seen.peers.len() == 4).await;
    drop(again);
    stage.until(|seen| seen.peers.len() == 5).await;
    let lines = stage.seen(|seen| seen.peers.clone());
    assert_eq!(lines, ["up 2", said, "down 2", "up 2", "down 2"]);
}

#[tokio::test]
async fn those_who_do_not_say_who_they_are_never_keep_a_peer_out() {
    let mut config = Config::new(ServerId(1), "127.0.0.1:0".parse().unwrap());
    config.peer_addresses = vec!["127.0.0.1:0".parse().unwrap()];
    config.peers.insert(ServerId(2), vec!["127.0.0.1:1".to_owned()]);
    config.max_strangers = 2;
    config.receive.hello_timeout = 2 * PATIENCE;
    let stage = Stage::with_config(config, false).await;
    let door = stage.handle.addresses().peers[0];
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(door).await.unwrap());
    }
    assert_eq!(frame(&mut silent[0]).await, None, "the oldest gave way");
    let mut peer = TcpStream::connect(door).await.unwrap();
    peer.write_all(&peer_hello()).await.unwrap();
    assert!(frame(&mut peer).await.is_some(), "a hello");
}

/// Takes server 1 in, as server 2.
async fn accept_peer(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert!(frame(&mut stream).await.is_some(), "a hello");
    stream.write_all(&peer_hello()).await.unwrap();
    stream
}

fn peer_hello() -> BytesMut {
    let mut out = BytesMut::new();
    let hello = Hello { from: ServerId(2), to: ServerId(1), fingerprint: 0, asks: false };
    encode_hello(&hello, &mut out);
    out
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Listeners::bind(&Config::new(ServerId(1), address)).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

/// A standalone server of nothing but real parts, but for its disk.
fn prepared() -> Prepared<Disk, Disk, ()> {
    let clock = Arc::new(SystemClock::new());
    let (storage, workers) = storage_workers(Disk::new(false), Disk::new(false), ());
    let membership = zokor_core::raft::Membership::of_voters([ServerId(1)]);
    let raft = zokor_core::raft::Config::new(ServerId(1), membership);
    let replica = zokor_core::Replica::new(
        clock.now(),
        zokor_core::Config::new(raft),
        zokor_core::id::Seed([7; 32]),
        zokor_core::replica::Recovered::default(),
    );
    let (admin, options) = (Arc::new(Words), Arc::new(PlainSockets));
    Prepared { parts: Parts { replica, storage, clock, admin, options }, workers }
}

#[test]
fn a_server_runs_on_threads_of_its_own_and_leaves_nothing_behind() {
    let config = Config::new(ServerId(1), "127.0.0.1:0".parse().unwrap());
    let server = start(config, || Ok(prepared())).unwrap();
    let address = server.handle().addresses().clients[0];
    assert!(std::net::TcpStream::connect(address).is_ok());
    server.handle().shutdown();
    assert!(server.wait().is_ok());
    assert!(std::net::TcpListener::bind(address).is_ok());
}

/// As the system does for the name of a peer whose name server is away.
#[test]
fn a_server_that_stops_does_not_wait_for_a_look_up_that_hangs() {
    let config = Config::new(ServerId(1), "127.0.0.1:0".parse().unwrap());
    let (answer, hanging) = std::sync::mpsc::channel::<()>();
    let prepare = || {
        #[allow(deprecated, reason = "the twin's tokio has none; there no test is run")]
        drop(tokio::task::spawn_blocking(move || hanging.recv()));
        Ok(prepared())
    };
    let server = start(config, prepare).unwrap();
    server.handle().shutdown();
    let (tell_end, end) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || tell_end.send(server.wait().is_ok()));
    let ended = end.recv_timeout(PATIENCE);
    drop(answer);
    waiting.join().unwrap().unwrap();
    assert_eq!(ended, Ok(true));
}

#[test]
fn a_preparation_that_fails_is_the_reason() {
    let config = Config::new(ServerId(1), "127.0.0.1:0".parse().unwrap());
    let prepare = || -> Result<Prepared<Disk, Disk, ()>, _> { Err("the data is damaged".into()) };
    let Err(error) = start(config, prepare) else { panic!("it started") };
    assert_eq!(error.to_string(), "the data is damaged");
}

/// A clock that knows whose time it tells, and counts how often it was asked.
#[derive(Default)]
struct WatchfulClock {
    shared: OnceLock<Weak<Shared>>,
    n_read: AtomicU64,
}

impl Clock for WatchfulClock {
    fn now(&self) -> Now {
        if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            assert!(
                shared.is_held(),
                "another thread may give a later time before this one is used"
            );
        }
        let n_read = self.n_read.fetch_add(1, Ordering::Relaxed);
        Now { instant: Instant::from_micros(1_000_000 + n_read), wall: WallTime(1) }
    }
}

/// An operator's question comes from a thread of its own: in one run of many its restore gave the
/// replica a time that was read before one that it had already been given.
#[test]
fn the_time_is_read_by_who_has_the_driver() {
    let clock = Arc::new(WatchfulClock::default());
    let (port, _workers) = storage_workers(Disk::new(false), Disk::new(false), ());
    let server = (ServerId(1), Limits::default(), Peers::new([].into_iter(), 1 << 20));
    let (queues, _reports, times) = split(port);
    let script = Box::new(Script::default());
    let driver = Driver::new(server, BTreeMap::new(), script, queues, times, clock.now());
    let shared = Arc::new(Shared::new(driver, clock.clone()));
    clock.shared.set(Arc::downgrade(&shared)).expect("it is set once");
    let address = "127.0.0.1:9".parse().unwrap();
    let admitted = shared.input(|driver, now| driver.admit(now, address));
    shared.facts(Detail::Counts);
    shared.turned_away(address, &"it is a test".to_owned().into());
    shared.met(ServerId(2), address);
    drop(shared.incoming(ServerId(2)));
    let (conn, _wake) = admitted.unwrap();
    let (admin, bell) = (Arc::new(Words), shared.pump.clone());
    let mut client = Client { shared, admin, bell, conn, written: 0 };
    let mut inbox = Inbox::new(1 << 10);
    client.turn(&mut inbox, &mut BytesMut::new());
    drop(client);
    assert_eq!(clock.n_read.load(Ordering::Relaxed), 8);
}
