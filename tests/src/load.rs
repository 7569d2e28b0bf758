//! Writers that go on whatever happens, and remember what they were promised.
//!
//! Each writer makes sequential znodes in a folder of its own, each with a number as data that it
//! never uses twice, and never repeats a write of unknown fate. So afterwards: every acknowledged
//! number stands where the reply said; no number stands twice; numbers and names grow together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::Client;
use crate::records::{ErrorCode, mode};
use crate::wait::eventually;

/// Several writers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    n_acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Promises>>,
}

/// What one writer was promised.
#[derive(Debug)]
pub struct Promises {
    folder: String,
    /// By number: the path that the reply named.
    acknowledged: BTreeMap<u64, String>,
    /// Writes whose reply never came.
    pub n_unknown: u64,
}

impl Load {
    /// Makes the folders and starts `n_writers`; each begins at another server.
    pub fn start(addresses: &[SocketAddr], n_writers: usize) -> Load {
        let mut client = Client::connect(addresses[0]);
        client.create("/load", b"", mode::PERSISTENT).expect("a folder");
        let stop = Arc::new(AtomicBool::new(false));
        let n_acknowledged = Arc::new(AtomicU64::new(0));
        let mut writers = Vec::new();
        for index in 0..n_writers {
            let folder = format!("/load/{index}");
            client.create(&folder, b"", mode::PERSISTENT).expect("a folder");
            let mut addresses = addresses.to_vec();
            let n_servers = addresses.len();
            addresses.rotate_left(index % n_servers);
            let (stop, n) = (Arc::clone(&stop), Arc::clone(&n_acknowledged));
            writers.push(thread::spawn(move || write(&addresses, folder, &stop, &n)));
        }
        client.close();
        Load { stop, n_acknowledged, writers }
    }

    /// How many writes were acknowledged so far.
    pub fn n_acknowledged(&self) -> u64 {
        self.n_acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `n` more writes were acknowledged than now.
    pub fn progress(&self, n: u64) {
        let goal = self.n_acknowledged() + n;
        eventually("writes go on", || (self.n_acknowledged() >= goal).then_some(()));
    }

    /// Stops the writers and returns what they were promised.
    pub fn stop(self) -> Vec<Promises> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|w| w.join().expect("a writer does not panic")).collect()
    }
}

impl Promises {
    /// Asserts on `client`'s server, after a sync, that every promise was kept.
    pub fn check(&self, client: &mut Client) {
        client.sync(&self.folder).expect("sync");
        let names = client.children(&self.folder, false).expect("the folder is there");
        let mut found = BTreeMap::new();
        let mut last = None;
        for name in names {
            let path = format!("{}/{name}", self.folder);
            let data = client.get(&path).expect("a listed znode is there");
            let number: u64 = String::from_utf8_lossy(&data).parse().expect("a number");
            assert!(last < Some(number), "{path}: {number} comes after {last:?}");
            last = Some(number);
            assert_eq!(found.insert(number, path.clone()), None, "{number} stands twice");
        }
        for (number, path) in &self.acknowledged {
            assert_eq!(found.get(number), Some(path), "{number} was acknowledged");
        }
        let n_extra = (found.len() - self.acknowledged.len()) as u64;
        assert!(n_extra <= self.n_unknown, "{n_extra} writes that nobody asked for");
    }
}

fn write(addresses: &[SocketAddr], folder: String, stop: &AtomicBool, n: &AtomicU64) -> Promises {
    let mut promises = Promises { folder, acknowledged: BTreeMap::new(), n_unknown: 0 };
    let prefix = format!("{}/n-", promises.folder);
    let mut client: Option<Client> = None;
    let mut turn = 0;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(connected) = &mut client else {
            let address = addresses[turn % addresses.len()];
            turn += 1;
            client = Client::open(address, &crate::raw::Hello::fresh(30_000)).ok();
            if client.is_none() && turn % addresses.len() == 0 {
                thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        match connected.create(&prefix, number.to_string().as_bytes(), mode::SEQUENTIAL) {
            Ok(path) => {
                promises.acknowledged.insert(number, path);
                n.fetch_add(1, Ordering::Relaxed);
            }
            Err(ErrorCode::CONNECTION_LOSS) => {
                promises.n_unknown += 1;
                client = None;
            }
            Err(error) => panic!("{prefix} {number}: {error:?}"),
        }
        number += 1;
    }
    promises
}
