//! A snapshot on its way to a server that was away for long, and whose connection breaks.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use zokor_tests::ports::Ports;
use zokor_tests::raw::four_letter;
use zokor_tests::records::mode;
use zokor_tests::way::Way;
use zokor_tests::{Ensemble, Program, eventually};

const N_SERVERS: usize = 3;
const N_NODES: usize = 60;
const NODE: usize = 100_000;
const IMAGE: u64 = (N_NODES * NODE) as u64;

/// The way from each server to each other.
type Ways = BTreeMap<(usize, usize), Way>;

/// Ways, and what each server calls the others.
fn ways(ports: &Ports) -> (Ways, Vec<Vec<String>>) {
    let mut ways = Ways::new();
    let mut line = |here: usize, there: usize| {
        let port = Ensemble::peer_port(ports, N_SERVERS, there);
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if here == there {
            return format!("{own}:{}", port + 1);
        }
        let way = Way::to(own);
        let text = format!("{}:{}", way.address(), port + 1);
        ways.insert((here, there), way);
        text
    };
    let lines = (0..N_SERVERS).map(|here| (0..N_SERVERS).map(|there| line(here, there)).collect());
    let lines = lines.collect();
    (ways, lines)
}

#[test]
fn a_snapshot_whose_connection_breaks_is_not_sent_from_its_beginning_again() {
    if !Program::promises("a snapshot that breaks off goes on") {
        return;
    }
    let ports = Arc::new(Ports::claim());
    let (ways, lines) = ways(&ports);
    let mut ensemble = Ensemble::of(N_SERVERS)
        .line("snapCount=20")
        .line("zokor.snapshotRateMb=1")
        .ports(ports)
        .servers_as_seen(lines)
        .start();
    let leader = ensemble.wait_for_leader();
    let away = (leader + 1) % N_SERVERS;
    ensemble.kill(away);
    let mut client = ensemble.client(leader);
    for n in 0..N_NODES {
        client.create(&format!("/{n}"), &vec![b'x'; NODE], mode::PERSISTENT).expect("create");
    }
    // More than the leader keeps of the log for those who are behind.
    for _ in 0..600 {
        client.set_data("/0", &[b'x'; NODE], -1).expect("set");
    }
    assert_eq!(ensemble.leader(), Some(leader));
    let way = &ways[&(leader, away)];
    let before = way.n_bytes();
    ensemble.restart(away);
    eventually("half of it has come", || (way.n_bytes() - before > IMAGE / 2).then_some(()));
    way.cut();
    eventually("it is in step", || {
        let text = [leader, away].map(|index| four_letter(ensemble.address(index), "srvr"));
        let zxid = text.map(|text| Some(text.ok()?.lines().find(|it| it.contains("Zxid"))?.into()));
        let [Some(has), Some(wanted)]: [Option<String>; 2] = zxid else { return None };
        (has == wanted).then_some(())
    });
    let sent = way.n_bytes() - before;
    println!("{sent} bytes for {IMAGE}");
    assert!(ensemble.logs().contains("going on with a snapshot that broke off"));
    assert!(sent < IMAGE + IMAGE / 4, "it went on where it broke off: {sent}");
    let mut reader = ensemble.client(away);
    reader.sync("/").expect("sync");
    for n in 0..N_NODES {
        assert_eq!(reader.get(&format!("/{n}")), Ok(vec![b'x'; NODE]));
    }
}
