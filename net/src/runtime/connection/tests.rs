//! What is kept for one client, and when it is cut, by the clock.

use zokor_core::proto::{EventKind, Stat, Text};
use zokor_core::time::WallTime;

use super::*;

fn at(seconds: u64) -> Now {
    let instant = Instant::from_micros(1_000_000 * (1 + seconds));
    Now { instant, wall: WallTime(1_000 * seconds as i64) }
}

fn established() -> Connection {
    let mut connection = Connection::new("127.0.0.1:9".parse().unwrap(), at(0));
    connection.phase = Phase::Established;
    connection.timeout = Duration::from_secs(1 << 20);
    connection
}

fn reply(response: Response) -> Saying {
    Saying::Reply { xid: Xid(1), zxid: Zxid(1), result: Ok(response) }
}

fn data(n: usize) -> Saying {
    reply(Response::Data(Some(vec![7; n].into()), Stat::default()))
}

fn say(connection: &mut Connection, now: Now, saying: Saying, limits: &Limits) -> bool {
    connection.say(now.instant, saying, limits, &mut Sent::default())
}

/// Lets the task take what there is, and write `n` bytes of it.
fn write(connection: &mut Connection, task: &mut BytesMut, now: Now, n: usize, limits: &Limits) {
    connection.take(task, limits, &mut Sent::default());
    let n = n.min(task.len());
    drop(task.split_to(n));
    connection.wrote(now.instant, n, limits);
}

#[test]
fn a_reader_that_takes_a_byte_now_and_then_is_cut_in_time() {
    let limits = Limits::default();
    let (mut connection, mut task) = (established(), BytesMut::new());
    assert!(say(&mut connection, at(0), data(100_000), &limits));
    for seconds in 1..30 {
        write(&mut connection, &mut task, at(seconds), 1, &limits);
        assert_eq!(connection.overdue(at(seconds).instant, &limits), None, "after {seconds} s");
    }
    write(&mut connection, &mut task, at(30), 1, &limits);
    assert!(connection.overdue(at(30).instant, &limits).is_some());
}

#[test]
fn a_slow_reader_that_gets_on_is_not_cut() {
    let limits = Limits::default();
    let (mut connection, mut task) = (established(), BytesMut::new());
    assert!(say(&mut connection, at(0), data(1_000_000), &limits));
    for seconds in 1..600 {
        write(&mut connection, &mut task, at(seconds), 600, &limits);
        assert_eq!(connection.overdue(at(seconds).instant, &limits), None, "after {seconds} s");
    }
}

#[test]
fn a_reader_that_takes_all_of_little_is_not_cut() {
    let limits = Limits::default();
    let (mut connection, mut task) = (established(), BytesMut::new());
    for seconds in (0..600).step_by(20) {
        assert!(say(&mut connection, at(seconds), reply(Response::Empty), &limits));
        write(&mut connection, &mut task, at(seconds + 10), usize::MAX, &limits);
        assert_eq!(connection.overdue(at(seconds + 10).instant, &limits), None);
        assert_eq!(connection.overdue(at(seconds + 19).instant, &limits), None);
    }
}

#[test]
fn what_waits_is_weighed_and_the_weight_goes_with_it() {
    let limits = Limits { unsent_bytes: 1_000, ..Limits::default() };
    let (mut connection, mut task) = (established(), BytesMut::new());
    let names = (0..100).map(|n| format!("{n:0100}")).collect();
    assert!(say(&mut connection, at(0), data(2_000), &limits));
    assert!(say(&mut connection, at(0), reply(Response::Names(names)), &limits));
    assert!(connection.waiting_bytes >= 100 * 100, "{}", connection.waiting_bytes);
    let before = connection.kept_bytes();
    let event = Event { kind: EventKind::Deleted, path: "/gone".repeat(100).into() };
    assert!(say(&mut connection, at(0), Saying::Notify { zxid: Zxid(2), event }, &limits));
    assert!(connection.waiting_event_bytes >= 500);
    assert!(connection.kept_bytes() >= before + 500);
    while connection.kept_bytes() > 0 {
        write(&mut connection, &mut task, at(1), usize::MAX, &limits);
    }
    assert_eq!((connection.waiting_bytes, connection.waiting_event_bytes), (0, 0));
}

#[test]
fn events_pile_up_to_a_weight_and_no_further() {
    let limits = Limits { unsent_bytes: 0, unsent_event_bytes: 50_000, ..Limits::default() };
    let mut connection = established();
    let path = Text::from("/x".repeat(500));
    let event = || Event { kind: EventKind::Created, path: path.clone() };
    let mut n_fitting = 0;
    while say(&mut connection, at(0), Saying::Notify { zxid: Zxid(1), event: event() }, &limits) {
        n_fitting += 1;
    }
    assert!((20..50).contains(&n_fitting), "{n_fitting} events of 1,000 bytes");
    connection.fall_silent();
    assert_eq!(connection.kept_bytes(), 0);
}

#[test]
fn answers_are_matched_with_their_requests_even_if_one_comes_early() {
    let mut connection = established();
    let asked = |seconds, xid, bytes| Asked {
        is_update: false,
        at: at(seconds).instant,
        xid: Xid(xid),
        operation: "",
        bytes,
        yields: 1,
    };
    for (n, xid) in [5, -4, 6].into_iter().enumerate() {
        connection.asked(Xid(xid), asked(n as u64, xid, 100 << n));
    }
    let limits = Limits { outstanding_lists: 3, ..Limits::default() };
    assert!(connection.has_asked_enough(&limits));
    for (xid, bytes) in [(-4, 200), (5, 100), (6, 400)] {
        let answered = connection.answered(at(9), Duration::ZERO, Xid(xid)).unwrap();
        assert_eq!((answered.xid, answered.bytes), (Xid(xid), bytes));
        assert!(!connection.has_asked_enough(&limits));
    }
    assert!(connection.answered(at(9), Duration::ZERO, Xid(7)).is_none());
    assert_eq!((connection.asked_bytes, connection.asked_yields), (0, 0));
}
