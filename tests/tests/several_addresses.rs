//! Servers with several addresses, of which not all can be reached at all times.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zokor_tests::ports::Ports;
use zokor_tests::raw::four_letter;
use zokor_tests::records::mode;
use zokor_tests::way::Way;
use zokor_tests::{Client, Ensemble, Program, eventually};

const N_SERVERS: usize = 3;
/// One address of this machine in each of two networks.
const NETWORKS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];

#[test]
fn a_server_is_found_by_the_address_that_there_is_and_all_of_them_are_shown() {
    let ports = Arc::new(Ports::claim());
    let line = |index: usize| {
        let port = Ensemble::peer_port(&ports, N_SERVERS, index);
        let rest = format!("{port}:{}", port + 1);
        // Nobody finds the first, and only the second is this machine's.
        format!("no-such-host.invalid:{rest}|127.0.0.2:{rest}")
    };
    let lines: Vec<String> = (0..N_SERVERS).map(line).collect();
    let ensemble = Ensemble::of(N_SERVERS)
        .line("multiAddress.enabled=true")
        .ports(ports)
        .servers_as_seen(vec![lines.clone(); N_SERVERS])
        .start();
    for index in 0..N_SERVERS {
        let mut client = ensemble.client(index);
        client.create(&format!("/{index}"), b"", mode::PERSISTENT).expect("create");
        client.sync("/").expect("sync");
        let text = client.get("/zookeeper/config").expect("it is there");
        let text = String::from_utf8(text).expect("text");
        let conf = four_letter(ensemble.address(index), "conf").expect("an answer");
        for (line, n) in lines.iter().zip(1..) {
            let (first, second) = line.split_once('|').expect("two");
            // As ZooKeeper prints them: in the order of their hosts.
            let shown = format!("server.{n}={second}|{first}:participant\n");
            assert!(text.contains(&shown) && conf.contains(&shown), "{shown} in {text}, {conf}");
        }
    }
}

/// What of the servers' ways is there, by the network that it is in.
struct Ways([Vec<Way>; 2]);

impl Ways {
    /// Every server has a way of its own to each address of each other.
    fn between(ports: &Ports) -> (Ways, Vec<Vec<String>>) {
        let mut ways = Ways([Vec::new(), Vec::new()]);
        let mut line = |here: usize, there: usize| {
            let port = Ensemble::peer_port(ports, N_SERVERS, there);
            let mut address = |network: usize| {
                let own = SocketAddr::from((NETWORKS[network], port));
                if here == there {
                    return own;
                }
                ways.0[network].push(Way::to(own));
                ways.0[network].last().expect("just made").address()
            };
            let [first, second] = [address(0), address(1)];
            format!("{first}:{}|{second}:{0}", port + 1)
        };
        let mut all = vec![Vec::new(); N_SERVERS];
        for (here, texts) in all.iter_mut().enumerate() {
            texts.extend((0..N_SERVERS).map(|there| line(here, there)));
        }
        (ways, all)
    }

    fn die(&self, network: usize) {
        self.0[network].iter().for_each(Way::die);
    }

    fn revive(&self, network: usize) {
        self.0[network].iter().for_each(Way::revive);
    }
}

#[test]
fn one_network_after_the_other_fails_and_no_session_is_lost() {
    if !Program::promises("a way that swallows bytes is found out") {
        return;
    }
    let ports = Arc::new(Ports::claim());
    let (ways, lines) = Ways::between(&ports);
    let ensemble = Ensemble::of(N_SERVERS)
        .line("multiAddress.enabled=true")
        .ports(ports)
        .servers_as_seen(lines)
        .start();
    let mut clients: Vec<Client> = (0..N_SERVERS).map(|index| ensemble.client(index)).collect();
    let sessions: Vec<i64> = clients.iter().map(|client| client.session()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.create(&format!("/{index}"), b"", mode::EPHEMERAL).expect("create");
    }
    for network in [0, 1, 0] {
        ways.die(network);
        let since = Instant::now();
        for (index, client) in clients.iter_mut().enumerate() {
            // A server that was without a leader for too long may have let its clients go.
            eventually("a write goes through", || {
                if client.set_data(&format!("/{index}"), b"", -1).is_err() {
                    *client = client.resume(ensemble.address(index)).ok()?;
                    return None;
                }
                Some(())
            });
        }
        println!("network {network} is dead: all write after {:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
        ways.revive(network);
        // The others have to be in use again before the next one dies.
        eventually("all are in step", || {
            let leader = ensemble.leader()?;
            let text = four_letter(ensemble.address(leader), "mntr").ok()?;
            text.contains("zk_synced_followers\t2\n").then_some(())
        });
    }
    let kept: Vec<i64> = clients.iter().map(|client| client.session()).collect();
    assert_eq!(kept, sessions);
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.get(&format!("/{index}")), Ok(vec![]), "its ephemeral is there");
    }
}
