//! Limits of connecting, of requests and of answers, around a scripted replica.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use zokor_core::proto::{Read, Request, Write};

use crate::runtime::*;

use super::stage::*;

fn sync(n: usize) -> Request {
    Request::Sync("/".repeat(n).into())
}

fn children() -> Request {
    Request::Read(Read::GetChildren { path: "/".into(), watch: false, with_stat: false })
}

fn throttling(stage: &Stage) -> Throttling {
    stage.handle.facts(Detail::Plain).throttling
}

async fn until(stage: &Stage, condition: impl Fn(&Throttling) -> bool) {
    let waiting = async {
        while !condition(&throttling(stage)) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the condition comes true");
}

/// Has the server look at what waits.
async fn pump(stage: &Stage) -> TcpStream {
    stage.client().await
}

#[tokio::test]
async fn http_is_told_where_it_is_and_where_to_go() {
    let stage = Stage::new(Limits::default()).await;
    let mut client = stage.client().await;
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /commands HTTP/1.0\r\n\r\n{}"] {
        let mut browser = stage.socket().await;
        browser.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = browser.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("This is the client port of a zokor server."), "{answer}");
    }
    client.write_all(&requests(&Request::Ping, 1..2)).await.unwrap();
    assert_eq!(next_xid(&mut client).await, Some(1));
}

#[tokio::test]
async fn those_who_connect_too_fast_are_refused_and_may_come_later() {
    let connect_throttle = ConnectThrottle {
        tokens: 2,
        fill_time: Duration::from_millis(100),
        ..ConnectThrottle::default()
    };
    let stage = Stage::new(Limits { connect_throttle, ..Limits::default() }).await;
    let (mut first, _second) = (stage.client().await, stage.client().await);
    let mut third = stage.socket().await;
    third.write_all(&connect_frame()).await.unwrap();
    assert_eq!(next_xid(&mut third).await, None);
    let facts = stage.handle.facts(Detail::Plain);
    assert_eq!(facts.connections_rejected, 1);
    assert_eq!((facts.throttling.connect_requests, facts.throttling.token_deficit), (2, 2));
    first.write_all(&requests(&Request::Ping, 1..2)).await.unwrap();
    assert_eq!(next_xid(&mut first).await, Some(1));
    assert!(stage.ask("ruok").await.starts_with("ruok"), "an operator needs no token");
    stage.advance(Duration::from_millis(101));
    stage.client().await;
}

#[tokio::test]
async fn requests_beyond_the_throttle_wait_and_are_served_in_their_order() {
    let throttle = RequestThrottle { max_requests: 5, ..RequestThrottle::default() };
    let stage = Stage::new(Limits { request_throttle: throttle, ..Limits::default() }).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.flood = 5);
    client.write_all(&requests(&Request::Ping, 0..200)).await.unwrap();
    until(&stage, |throttling| throttling.waiting == 200).await;
    assert_eq!(stage.seen(|seen| seen.requests), 0);
    let facts = stage.handle.facts(Detail::Connections);
    assert_eq!((facts.connections[0].queued, facts.throttling.waits), (200, 200));
    stage.seen(|seen| seen.flood = 0);
    let _other = pump(&stage).await;
    for xid in 0..200 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    assert_eq!(throttling(&stage).waiting, 0);
}

#[tokio::test]
async fn a_queue_that_grows_stops_the_reading_and_loses_nothing() {
    let throttle = RequestThrottle { max_requests: 1, ..RequestThrottle::default() };
    let limits = Limits { request_throttle: throttle, global_outstanding: 50, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.flood = 1);
    client.write_all(&requests(&Request::Ping, 0..5000)).await.unwrap();
    until(&stage, |throttling| throttling.waiting > 50).await;
    let mut calm = stage.client().await;
    for _ in 0..20 {
        assert!(stage.ask("ruok").await.starts_with("ruok"));
    }
    assert!(throttling(&stage).waiting <= 50 + 128);
    stage.seen(|seen| seen.flood = 0);
    calm.write_all(&requests(&Request::Ping, 7..8)).await.unwrap();
    for xid in 0..5000 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    assert_eq!(next_xid(&mut calm).await, Some(7));
}

#[tokio::test]
async fn what_waited_for_too_long_is_not_carried_out_but_pings_and_closes_are() {
    let throttle = RequestThrottle {
        max_requests: 1,
        op_wait_time: Some(Duration::from_millis(10)),
        ..RequestThrottle::default()
    };
    let stage = Stage::new(Limits { request_throttle: throttle, ..Limits::default() }).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.flood = 1);
    let close = Request::Write(Write::CloseSession);
    for (xid, request) in [(0, children()), (1, Request::Ping), (2, close)] {
        client.write_all(&requests(&request, xid..xid + 1)).await.unwrap();
    }
    until(&stage, |throttling| throttling.waiting == 3).await;
    stage.advance(Duration::from_millis(11));
    stage.seen(|seen| seen.flood = 0);
    let _other = pump(&stage).await;
    for xid in 0..3 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    assert_eq!((stage.seen(|seen| seen.throttled), throttling(&stage).throttled_ops), (1, 1));
}

#[tokio::test]
async fn what_a_client_asked_for_that_has_gone_is_dropped_but_for_the_end_of_its_session() {
    let throttle = RequestThrottle { max_requests: 1, ..RequestThrottle::default() };
    let stage = Stage::new(Limits { request_throttle: throttle, ..Limits::default() }).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.flood = 1);
    client.write_all(&requests(&sync(1), 0..10)).await.unwrap();
    let close = Request::Write(Write::CloseSession);
    client.write_all(&requests(&close, 10..11)).await.unwrap();
    until(&stage, |throttling| throttling.waiting == 11).await;
    drop(client);
    stage.until(|seen| seen.disconnects == 1).await;
    let throttling = throttling(&stage);
    assert_eq!((throttling.stale_requests_dropped, throttling.stale_requests), (10, 1));
    assert_eq!((throttling.waiting, stage.seen(|seen| seen.requests)), (0, 1));
}

#[tokio::test]
async fn what_is_not_to_be_dropped_is_done_though_its_client_has_gone() {
    let throttle =
        RequestThrottle { max_requests: 1, drop_stale: false, ..RequestThrottle::default() };
    let stage = Stage::new(Limits { request_throttle: throttle, ..Limits::default() }).await;
    let mut client = stage.client().await;
    stage.seen(|seen| (seen.flood, seen.mute) = (1, true));
    client.write_all(&requests(&sync(1), 0..10)).await.unwrap();
    until(&stage, |throttling| throttling.waiting == 10).await;
    drop(client);
    stage.until(|seen| seen.disconnects == 1).await;
    assert_eq!(stage.seen(|seen| seen.requests), 10);
    assert_eq!(throttling(&stage).stale_requests, 10);
}

#[tokio::test]
async fn a_request_that_waited_for_its_session_timeout_ends_its_connection() {
    let throttle = RequestThrottle {
        max_requests: 1,
        stale_latency_check: true,
        ..RequestThrottle::default()
    };
    let limits = Limits { request_throttle: throttle, global_outstanding: 1, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.flood = 1);
    client.write_all(&requests(&sync(1), 0..3)).await.unwrap();
    until(&stage, |throttling| throttling.waiting == 3).await;
    stage.advance(Duration::from_millis(10_001));
    assert_eq!(next_xid(&mut client).await, None);
    stage.until(|seen| seen.disconnects == 1).await;
    assert!(throttling(&stage).stale_requests_dropped >= 3);
    assert_eq!(stage.seen(|seen| seen.requests), 0, "none of them is carried out");
}

#[tokio::test]
async fn large_requests_have_a_budget_and_small_ones_do_not_need_it() {
    let limits = Limits {
        large_request_threshold: Some(100),
        large_request_max_bytes: 400,
        ..Limits::default()
    };
    let stage = Stage::new(limits).await;
    let (mut large, mut other) = (stage.client().await, stage.client().await);
    stage.seen(|seen| seen.mute = true);
    large.write_all(&requests(&sync(200), 0..1)).await.unwrap();
    stage.until(|seen| seen.requests == 1).await;
    assert!((200..400).contains(&throttling(&stage).large_request_bytes));
    // The length alone is enough.
    other.write_all(&requests(&sync(200), 0..1)[..4]).await.unwrap();
    assert_eq!(next_xid(&mut other).await, None);
    assert_eq!(throttling(&stage).large_requests_rejected, 1);
    let mut small = stage.client().await;
    small.write_all(&requests(&sync(50), 0..20)).await.unwrap();
    stage.until(|seen| seen.requests == 21).await;
    drop(large);
    stage.until(|seen| seen.disconnects == 2).await;
    assert_eq!(throttling(&stage).large_request_bytes, 0);
    small.write_all(&requests(&sync(200), 0..1)).await.unwrap();
    stage.until(|seen| seen.requests == 22).await;
}

#[tokio::test]
async fn a_large_request_gives_its_budget_back_when_it_is_answered() {
    let limits = Limits {
        large_request_threshold: Some(100),
        large_request_max_bytes: 400,
        ..Limits::default()
    };
    let stage = Stage::new(limits).await;
    let mut client = stage.client().await;
    let path = "/".repeat(200);
    let exists = Request::Read(Read::Exists { path: path.into(), watch: false });
    for xid in 0..5 {
        client.write_all(&requests(&exists, xid..xid + 1)).await.unwrap();
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
    assert_eq!(throttling(&stage).large_request_bytes, 0);
}

#[tokio::test]
async fn only_so_many_lists_are_asked_for_at_a_time() {
    let stage = Stage::new(Limits { outstanding_lists: 16, ..Limits::default() }).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.mute = true);
    client.write_all(&requests(&children(), 0..500)).await.unwrap();
    stage.until(|seen| seen.requests == 16).await;
    for _ in 0..20 {
        assert!(stage.ask("ruok").await.starts_with("ruok"));
    }
    assert_eq!(stage.seen(|seen| seen.requests), 16);
}

#[tokio::test]
async fn only_so_many_bytes_are_asked_for_at_a_time() {
    let limits = Limits { connection_outstanding_bytes: 10_000, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let mut client = stage.client().await;
    stage.seen(|seen| seen.mute = true);
    client.write_all(&requests(&sync(4_000), 0..50)).await.unwrap();
    stage.until(|seen| seen.requests == 3).await;
    for _ in 0..20 {
        assert!(stage.ask("ruok").await.starts_with("ruok"));
    }
    assert_eq!(stage.seen(|seen| seen.requests), 3);
}

#[tokio::test]
async fn held_up_lists_go_on_when_they_are_answered() {
    let stage = Stage::new(Limits { outstanding_lists: 1, ..Limits::default() }).await;
    let mut client = stage.client().await;
    client.write_all(&requests(&children(), 0..1000)).await.unwrap();
    for xid in 0..1000 {
        assert_eq!(next_xid(&mut client).await, Some(xid));
    }
}

#[tokio::test]
async fn when_too_much_waits_for_all_together_the_one_for_which_most_waits_is_cut() {
    let limits = Limits { unsent_total_bytes: 8 << 20, ..Limits::default() };
    let stage = Stage::new(limits).await;
    let (mut greedy, mut modest) = (stage.client().await, stage.client().await);
    // A thousand events of a kilobyte each: the modest one takes them in the end.
    modest.write_all(&requests(&sync(1_000), 0..1)).await.unwrap();
    greedy.write_all(&requests(&sync(1_000), 0..40)).await.unwrap();
    stage.until(|seen| seen.disconnects == 1).await;
    assert_eq!(stage.handle.facts(Detail::Plain).connections_cut, 1);
    for _ in 0..1000 {
        assert_eq!(next_xid(&mut modest).await, Some(-1));
    }
}
