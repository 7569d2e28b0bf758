//! Observers that are fed by followers, so that they cost the leader next to nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use zokor_tests::ports::Ports;
use zokor_tests::raw::{Hello, four_letter};
use zokor_tests::records::mode;
use zokor_tests::way::Way;
use zokor_tests::{Client, Ensemble, Program, eventually};

const N_VOTERS: usize = 3;
const N_SERVERS: usize = 5;

/// Three voters and two observers, and the ways from each server to each observer.
struct Stage {
    ensemble: Ensemble,
    ways: Vec<Vec<Way>>,
}

impl Stage {
    fn new() -> Stage {
        let ports = Arc::new(Ports::claim());
        let mut ways = vec![Vec::new(); N_SERVERS];
        let mut texts = vec![Vec::new(); N_SERVERS];
        for here in 0..N_SERVERS {
            for there in 0..N_SERVERS {
                let port = Ensemble::peer_port(&ports, N_SERVERS, there);
                let own = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let observes = there >= N_VOTERS;
                let address = if observes && here != there {
                    let way = Way::to(own);
                    ways[here].push(way.clone());
                    way.address()
                } else {
                    own
                };
                let role = if observes { "observer" } else { "participant" };
                texts[here].push(format!("{address}:{}:{role}", port + 1));
            }
        }
        let ensemble = Ensemble::of(N_SERVERS)
            .line("observerMasterPort=2191")
            .ports(ports)
            .servers_as_seen(texts)
            .start();
        Stage { ensemble, ways }
    }

    /// A number in what a server tells for monitoring.
    fn number(&self, index: usize, key: &str) -> Option<i64> {
        let text = four_letter(self.ensemble.address(index), "mntr").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("zk_{key}\t")));
        line?.parse().ok()
    }

    /// Waits until a follower feeds each observer, and one of those is not `without`; tells the
    /// leader and who feeds.
    fn fed(&self, without: &[usize]) -> (usize, Vec<usize>) {
        eventually("followers feed the observers", || {
            let leader = self.ensemble.leader().filter(|it| !without.contains(it))?;
            let feeders: Vec<usize> = (N_VOTERS..N_SERVERS)
                .map(|observer| self.number(observer, "observer_master_id"))
                .map(|id| usize::try_from(id? - 1).ok())
                .collect::<Option<_>>()?;
            let are_right = |it: &usize| *it != leader && *it < N_VOTERS && !without.contains(it);
            feeders.iter().all(are_right).then_some((leader, feeders))
        })
    }

    /// Writes at the leader what the observers then have.
    fn write(&self, leader: usize, name: &str, n_writes: usize) {
        let mut client = eventually("the leader serves", || {
            Client::open(self.ensemble.address(leader), &Hello::fresh(30_000)).ok()
        });
        client.create(name, b"", mode::PERSISTENT).expect("create");
        for n in 0..n_writes {
            client.set_data(name, &[n as u8; 1_000], -1).expect("it is there");
        }
        for observer in N_VOTERS..N_SERVERS {
            eventually("an observer has all of it", || {
                let hello = Hello::fresh(30_000);
                let mut client = Client::open(self.ensemble.address(observer), &hello).ok()?;
                client.sync("/").ok()?;
                let data = client.get(name).ok()?;
                (data == vec![(n_writes - 1) as u8; 1_000]).then_some(())
            });
        }
    }

    fn n_bytes_from(&self, index: usize) -> u64 {
        self.ways[index].iter().map(Way::n_bytes).sum()
    }
}

#[test]
fn followers_feed_the_observers_and_others_take_over_when_one_dies() {
    if !Program::promises("observers are fed without a port of their own") {
        return;
    }
    let mut stage = Stage::new();
    let (leader, feeders) = stage.fed(&[]);
    let before: Vec<u64> = (0..N_VOTERS).map(|index| stage.n_bytes_from(index)).collect();
    let n_writes = 200;
    stage.write(leader, "/fed", n_writes);
    let sent = |index: usize| stage.n_bytes_from(index) - before[index];
    let others: u64 = (0..N_VOTERS).filter(|it| *it != leader).map(sent).sum();
    println!("the leader has sent {} bytes to observers, followers {others}", sent(leader));
    assert!(others > 2 * 1_000 * n_writes as u64, "{others}");
    assert!(sent(leader) < 50 * n_writes as u64, "{}", sent(leader));
    let n_fed: i64 = (0..N_VOTERS)
        .filter(|it| *it != leader)
        .map(|it| stage.number(it, "synced_observers").expect("it serves"))
        .sum();
    assert_eq!(n_fed, 2);
    assert_eq!(stage.number(leader, "synced_observers"), Some(2), "the leader knows them all");

    // A follower that feeds dies, and its observer has what is written meanwhile, too.
    stage.ensemble.kill(feeders[0]);
    stage.write(leader, "/without-a-feeder", 10);
    let (same, feeders_now) = stage.fed(&[feeders[0]]);
    assert_eq!(same, leader);
    assert!(!feeders_now.contains(&feeders[0]));

    // The leader dies.
    stage.ensemble.restart(feeders[0]);
    eventually("all vote again", || {
        (stage.number(leader, "synced_followers") == Some(2)).then_some(())
    });
    stage.ensemble.kill(leader);
    let (next, _) = stage.fed(&[leader]);
    stage.write(next, "/another-leads", 10);
}
