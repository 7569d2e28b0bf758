//! Each thing that the network can do, alone.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::time::{Instant, TimeHandle, sleep, timeout};
use madsim_tokio::io::{AsyncReadExt, AsyncWriteExt};

use std::io;

use super::*;

/// Two hosts with one connection between them.
struct Pair {
    net: Arc<Net>,
    hosts: [NodeHandle; 2],
    near: TcpStream,
    far: TcpStream,
}

fn ip(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn simulate<F: Future>(seed: u64, act: impl FnOnce() -> F) -> F::Output {
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.add_simulator::<Net>();
    runtime.block_on(async { act().await })
}

async fn listen(host: &NodeHandle, n: u8) -> TcpListener {
    host.spawn(TcpListener::bind((ip(n), 7))).await.unwrap().unwrap()
}

async fn connect(host: &NodeHandle, n: u8) -> io::Result<TcpStream> {
    host.spawn(TcpStream::connect((ip(n), 7))).await.unwrap()
}

/// With these sockets on both hosts.
async fn pair(sockets: Sockets) -> Pair {
    let net = Net::current();
    let hosts = [1, 2].map(|n| net.add_host(format!("host-{n}"), ip(n)));
    net.set_sockets(ip(1), sockets);
    net.set_sockets(ip(2), sockets);
    let listener = listen(&hosts[1], 2).await;
    let near = connect(&hosts[0], 2).await.unwrap();
    let (far, from) = listener.accept().await.unwrap();
    assert_eq!(from, near.local_addr().unwrap());
    assert_eq!(far.peer_addr().unwrap(), from);
    Pair { net, hosts, near, far }
}

async fn hears(stream: &mut TcpStream) -> Result<Vec<u8>, io::ErrorKind> {
    let mut bytes = vec![0; 1 << 16];
    let n = stream.read(&mut bytes).await.map_err(|error| error.kind())?;
    bytes.truncate(n);
    Ok(bytes)
}

fn is_silent<T>(heard: Result<T, impl Sized>) -> bool {
    heard.is_err()
}

const LATER: Duration = Duration::from_secs(5);

#[test]
fn bytes_arrive_in_order_and_then_the_end() {
    simulate(1, async || {
        let Pair { mut near, mut far, .. } = pair(Sockets::default()).await;
        near.write_all(b"one").await.unwrap();
        near.write_all(b"two").await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"onetwo");
        assert_eq!(near.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        far.write_all(b"back").await.unwrap();
        assert_eq!(hears(&mut near).await.unwrap(), b"back", "only one half is closed");
        drop(far);
        assert_eq!(hears(&mut near).await, Ok(Vec::new()));
    });
}

#[test]
fn latency_is_a_links_own_in_each_direction() {
    simulate(2, async || {
        let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
        net.set_link(ip(1), ip(2), Some(Weather::steady(Duration::from_millis(700))));
        let begun = Instant::now();
        near.write_all(b"slow").await.unwrap();
        assert_eq!(hears(&mut far).await.unwrap(), b"slow");
        assert!(begun.elapsed() >= Duration::from_millis(700));
        let begun = Instant::now();
        far.write_all(b"fast").await.unwrap();
        assert_eq!(hears(&mut near).await.unwrap(), b"fast");
        assert!(begun.elapsed() < Duration::from_millis(10));
    });
}

#[test]
fn a_slow_link_bounds_bytes_by_the_second() {
    simulate(3, async || {
        let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
        let slow = Weather { bytes_per_second: Some(10_000), ..Weather::default() };
        net.set_link(ip(1), ip(2), Some(slow));
        let begun = Instant::now();
        near.write_all(&[7; 50_000]).await.unwrap();
        far.read_exact(&mut [0; 50_000]).await.unwrap();
        let took = begun.elapsed().as_secs_f64();
        assert!((4.9..6.0).contains(&took), "{took} s");
    });
}

#[test]
fn what_is_under_way_on_a_slow_link_arrives_sooner_when_it_is_fast_again() {
    simulate(22, async || {
        let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
        net.set_link(ip(1), ip(2), Some(Weather::steady(Duration::from_secs(100))));
        near.write_all(b"first").await.unwrap();
        near.write_all(b"second").await.unwrap();
        assert!(is_silent(timeout(LATER, hears(&mut far)).await));
        net.clear_links();
        let mut heard = [0; 11];
        timeout(LATER, far.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"firstsecond");
    });
}

#[test]
fn reads_and_writes_take_a_part_if_sockets_are_short() {
    for (short, most) in [(true, 300), (false, 1)] {
        simulate(4, async || {
            let Pair { mut near, mut far, .. } = pair(Sockets { short, buffer: 1 << 20 }).await;
            let mut n_writes = 0;
            let mut sent = 0;
            while sent < 10_000 {
                sent += near.write(&[7; 10_000][sent..]).await.unwrap();
                n_writes += 1;
            }
            sleep(LATER).await;
            let (mut n_reads, mut heard) = (0, 0);
            while heard < 10_000 {
                heard += hears(&mut far).await.unwrap().len();
                n_reads += 1;
            }
            assert_eq!((n_writes > 1, n_reads > 1), (short, short));
            assert!(n_writes <= most && n_reads <= 3 * most, "{n_writes} and {n_reads}");
        });
    }
}

#[test]
fn a_full_buffer_blocks_its_writer_until_somebody_reads() {
    simulate(5, async || {
        let Pair { net, mut near, mut far, .. } =
            pair(Sockets { buffer: 1000, ..Sockets::default() }).await;
        assert_eq!(near.write(&[7; 5000]).await.unwrap(), 1000);
        assert!(is_silent(timeout(LATER, near.write(&[7])).await));
        far.read_exact(&mut [0; 300]).await.unwrap();
        assert_eq!(near.write(&[7; 5000]).await.unwrap(), 300);
        // One that waits is woken.
        let writing = madsim::task::spawn(async move { near.write(&[7; 5000]).await.unwrap() });
        sleep(LATER).await;
        far.read_exact(&mut [0; 200]).await.unwrap();
        assert!(writing.await.unwrap() > 0);
        assert!(net.seen().iter().any(|(what, _)| *what == "writer blocked by a full buffer"));
    });
}

#[test]
fn a_clogged_link_fills_the_buffer_and_loses_nothing() {
    simulate(6, async || {
        let Pair { net, mut near, mut far, .. } =
            pair(Sockets { buffer: 1000, ..Sockets::default() }).await;
        net.clog(ip(1), ip(2), true);
        assert_eq!(near.write(&[7; 5000]).await.unwrap(), 1000);
        assert!(is_silent(timeout(LATER, near.write(&[7])).await));
        assert!(is_silent(timeout(LATER, hears(&mut far)).await));
        net.clog(ip(1), ip(2), false);
        let begun = Instant::now();
        far.read_exact(&mut [0; 1000]).await.unwrap();
        assert!(begun.elapsed() <= LATER * 3, "no longer than the outage");
        near.write_all(b"on").await.unwrap();
        assert_eq!(hears(&mut far).await.unwrap(), b"on");
    });
}

#[test]
fn acknowledgements_need_a_way_back() {
    simulate(7, async || {
        let Pair { net, mut near, mut far, .. } =
            pair(Sockets { buffer: 1000, ..Sockets::default() }).await;
        net.clog_host(ip(2), (false, true), true);
        near.write_all(&[7; 1000]).await.unwrap();
        far.read_exact(&mut [0; 1000]).await.unwrap();
        assert!(is_silent(timeout(LATER, near.write(&[7])).await));
        net.clog_host(ip(2), (false, true), false);
        near.write_all(&[7; 1000]).await.unwrap();
    });
}

#[test]
fn a_killed_process_is_heard_of_and_a_dark_host_is_not() {
    simulate(8, async || {
        let Pair { hosts, mut near, far, .. } = pair(Sockets::default()).await;
        Handle::current().kill(hosts[1].id());
        assert_eq!(hears(&mut near).await, Ok(Vec::new()));
        near.write_all(b"hello?").await.unwrap();
        sleep(LATER).await;
        assert!(near.write(b"hello?").await.is_err(), "nobody is there any more");
        drop(far);
    });
    simulate(8, async || {
        let Pair { net, hosts, mut near, far, .. } =
            pair(Sockets { buffer: 1000, ..Sockets::default() }).await;
        net.set_power(ip(2), false);
        Handle::current().kill(hosts[1].id());
        drop(far);
        assert!(is_silent(timeout(LATER * 100, hears(&mut near)).await), "half-open");
        assert_eq!(near.write(&[7; 5000]).await.unwrap(), 1000);
        assert!(is_silent(timeout(LATER * 100, near.write(&[7])).await));
        net.set_power(ip(2), true);
        let reset = timeout(LATER * 10, hears(&mut near)).await.unwrap();
        assert_eq!(reset, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn an_end_is_not_heard_through_a_partition() {
    simulate(9, async || {
        let Pair { net, mut near, far, .. } = pair(Sockets::default()).await;
        net.clog(ip(2), ip(1), true);
        drop(far);
        assert!(is_silent(timeout(LATER * 10, hears(&mut near)).await));
        near.write_all(b"still there?").await.unwrap();
        net.clog(ip(2), ip(1), false);
        assert_eq!(hears(&mut near).await, Ok(Vec::new()));
        sleep(LATER).await;
        assert_eq!(hears(&mut near).await, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn what_a_link_holds_back_dies_with_its_host() {
    simulate(10, async || {
        let Pair { net, hosts, mut near, mut far, .. } = pair(Sockets::default()).await;
        far.write_all(b"on the wire").await.unwrap();
        net.clog(ip(2), ip(1), true);
        far.write_all(b"in memory").await.unwrap();
        net.set_power(ip(2), false);
        Handle::current().kill(hosts[1].id());
        net.clog(ip(2), ip(1), false);
        assert_eq!(hears(&mut near).await.unwrap(), b"on the wire");
        assert!(is_silent(timeout(LATER * 10, hears(&mut near)).await));
        drop(far);
    });
}

#[test]
fn a_break_is_heard_at_once_with_or_without_what_is_under_way() {
    for keeps in [true, false] {
        simulate(11, async || {
            let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
            near.write_all(b"last words").await.unwrap();
            net.break_off(near.number(), Break { hears: [true, true], keeps });
            let reset = Err(io::ErrorKind::ConnectionReset);
            assert_eq!(hears(&mut near).await, reset);
            if keeps {
                assert_eq!(hears(&mut far).await.unwrap(), b"last words");
            }
            assert_eq!(hears(&mut far).await, reset);
            assert!(near.write(b"more").await.is_err());
            assert!(net.connections().is_empty());
        });
    }
}

#[test]
fn one_end_alone_hears_of_a_break_until_the_other_speaks() {
    simulate(12, async || {
        let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
        net.break_off(near.number(), Break { hears: [false, true], keeps: false });
        assert_eq!(hears(&mut far).await, Err(io::ErrorKind::ConnectionReset));
        assert!(is_silent(timeout(LATER * 100, hears(&mut near)).await), "half-open");
        near.write_all(b"anybody?").await.unwrap();
        assert_eq!(hears(&mut near).await, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_connection_can_break_in_the_middle_of_a_write() {
    simulate(13, async || {
        let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
        net.cut_after(near.number(), 0, 7);
        near.write_all(b"0123").await.unwrap();
        near.write_all(b"456789").await.unwrap();
        let mut heard = Vec::new();
        let end = far.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(
            (heard.as_slice(), end.kind()),
            (&b"0123456"[..], io::ErrorKind::ConnectionReset)
        );
        assert_eq!(hears(&mut near).await, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_swallowed_connection_ends_by_its_user_timeout_alone() {
    simulate(14, async || {
        let Pair { net, mut near, mut far, .. } = pair(Sockets::default()).await;
        net.swallow(near.number());
        near.write_all(b"lost").await.unwrap();
        assert!(is_silent(timeout(LATER * 100, hears(&mut far)).await));
        assert!(is_silent(timeout(LATER * 100, hears(&mut near)).await));
        near.set_user_timeout(LATER);
        assert_eq!(hears(&mut near).await, Err(io::ErrorKind::TimedOut));
        far.set_user_timeout(LATER);
        far.write_all(b"lost as well").await.unwrap();
        let begun = Instant::now();
        assert_eq!(hears(&mut far).await, Err(io::ErrorKind::TimedOut));
        assert!(begun.elapsed() >= LATER && begun.elapsed() < LATER * 2);
    });
}

#[test]
fn bytes_that_nobody_has_read_make_a_close_a_reset() {
    simulate(15, async || {
        let Pair { mut near, mut far, .. } = pair(Sockets::default()).await;
        near.write_all(b"unread").await.unwrap();
        sleep(LATER).await;
        far.write_all(b"last words").await.unwrap();
        drop(far);
        let mut heard = Vec::new();
        let end = near.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_attempt_is_refused_or_hangs() {
    simulate(16, async || {
        let net = Net::current();
        let hosts = [1, 2].map(|n| net.add_host(format!("host-{n}"), ip(n)));
        let refused = async |why: &str| {
            let attempt = timeout(LATER, connect(&hosts[0], 2)).await.expect(why);
            assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "{why}");
        };
        let hangs = async |why: &str| {
            assert!(is_silent(timeout(LATER, connect(&hosts[0], 2)).await), "{why}");
        };
        refused("nobody listens").await;
        let _listener = listen(&hosts[1], 2).await;
        connect(&hosts[0], 2).await.unwrap();
        net.set_door(ip(2), Door::Shut);
        refused("the door is shut").await;
        net.set_door(ip(2), Door::Silent);
        hangs("the door is silent").await;
        net.set_door(ip(2), Door::Open);
        net.clog(ip(2), ip(1), true);
        hangs("no answer comes back").await;
        net.clog(ip(2), ip(1), false);
        net.set_power(ip(2), false);
        hangs("the host is dark").await;
        let ends = timeout(Duration::from_secs(200), connect(&hosts[0], 2)).await.unwrap();
        assert_eq!(ends.unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn an_attempt_that_hung_succeeds_when_the_link_is_clear() {
    simulate(17, async || {
        let net = Net::current();
        let hosts = [1, 2].map(|n| net.add_host(format!("host-{n}"), ip(n)));
        let _listener = listen(&hosts[1], 2).await;
        net.clog(ip(1), ip(2), true);
        let attempt = hosts[0].spawn(TcpStream::connect((ip(2), 7)));
        sleep(LATER).await;
        net.clog(ip(1), ip(2), false);
        attempt.await.unwrap().unwrap();
    });
}

#[test]
fn a_tripwire_springs_right_after_a_write() {
    simulate(18, async || {
        let Pair { net, hosts, mut near, mut far } = pair(Sockets::default()).await;
        let sprung = Arc::new(AtomicU64::new(0));
        let (count, id) = (sprung.clone(), hosts[0].id());
        net.trip(ip(1), 7, (3, false), move || {
            count.fetch_add(1, Ordering::Relaxed);
            Net::current().set_power(ip(1), false);
            Handle::current().kill(id);
        });
        far.write_all(b"another host's").await.unwrap();
        near.write_all(b"a").await.unwrap();
        near.write_all(b"b").await.unwrap();
        assert_eq!(sprung.load(Ordering::Relaxed), 0);
        assert!(is_silent(timeout(LATER, near.write_all(b"c")).await), "it is dead");
        assert_eq!(sprung.load(Ordering::Relaxed), 1);
        let mut heard = [0; 3];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"abc");
        assert!(is_silent(timeout(LATER, hears(&mut far)).await));
    });
}

#[test]
fn a_process_takes_its_port_with_it_and_another_has_it() {
    simulate(19, async || {
        let net = Net::current();
        let host = net.add_host("host-1", ip(1));
        let first = listen(&host, 1).await;
        let again = host.spawn(TcpListener::bind((ip(1), 7))).await.unwrap();
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let foreign = host.spawn(TcpListener::bind((ip(2), 7))).await.unwrap();
        assert_eq!(foreign.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        Handle::current().kill(host.id());
        Handle::current().restart(host.id());
        let host = Handle::current().get_node(host.id()).unwrap();
        let second = listen(&host, 1).await;
        drop(first);
        let near = connect(&host, 1).await.unwrap();
        assert_eq!(second.accept().await.unwrap().1, near.local_addr().unwrap());
    });
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| {
        simulate(seed, async || {
            let Pair { mut near, mut far, .. } = pair(Sockets { short: true, buffer: 500 }).await;
            madsim::task::spawn(async move {
                near.write_all(&[7; 5000]).await.unwrap();
            });
            let mut heard = Vec::new();
            loop {
                match hears(&mut far).await.unwrap().len() {
                    0 => return heard,
                    n => heard.push((n, TimeHandle::current().elapsed())),
                }
            }
        })
    };
    assert_eq!(run(20), run(20));
    assert_ne!(run(20), run(21));
}
