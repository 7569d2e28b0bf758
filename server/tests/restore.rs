//! Restores of servers under way: whole ones, with sockets and disks, within this process.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zokor_server::backup::{BackupArguments, back_up, read_backup};
use zokor_server::config::{Flags, ZooConfig};
use zokor_server::launch::{self, Running};
use zokor_server::plan::Plan;
use zokor_server::restore::{parts, restore};
use zokor_server::zookeeper::write_snapshot;
use zokor_tests::ensemble::mode;
use zokor_tests::ports::Ports;
use zokor_tests::records::mode as made;
use zokor_tests::{Acl, Client, ErrorCode, Event, EventKind, Stat, eventually};

/// Servers that stop with it.
struct Servers {
    runtime: Runtime,
    running: Vec<Box<dyn Running>>,
    folder: TempDir,
    _ports: Ports,
}

impl Servers {
    fn start(n_servers: usize) -> Servers {
        let (ports, folder) = (Ports::claim(), tempfile::tempdir().expect("it succeeds"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("it succeeds");
        let mut text = "tickTime=500\ninitLimit=40\nsyncLimit=20\nsnapCount=60\n\
                        maxSessionTimeout=60000\nclientPortAddress=127.0.0.1\nclientPort=0\n\
                        4lw.commands.whitelist=*\n"
            .to_owned();
        for index in 0..if n_servers > 1 { n_servers } else { 0 } {
            let (peer, election) = (ports.get(2 * index), ports.get(2 * index + 1));
            text += &format!("server.{}=127.0.0.1:{peer}:{election}\n", index + 1);
        }
        let mut running = Vec::new();
        for index in 0..n_servers {
            let data = data(folder.path(), index);
            fs::create_dir_all(&data).expect("it succeeds");
            fs::write(data.join("myid"), format!("{}\n", index + 1)).expect("it succeeds");
            let file = data.with_extension("cfg");
            fs::write(&file, format!("{text}dataDir={}\n", data.display())).expect("it succeeds");
            let config = ZooConfig::read(&file, &Flags::from_environment()).expect("it succeeds");
            running.push(runtime.block_on(launch::start(Plan::new(&config))).expect("it succeeds"));
        }
        let servers = Servers { runtime, running, folder, _ports: ports };
        for index in 0..n_servers {
            eventually("all serve", || mode(servers.address(index)));
        }
        servers
    }

    fn address(&self, index: usize) -> SocketAddr {
        self.running[index].client_address()
    }

    fn client(&self, index: usize) -> Client {
        eventually("a session", || Client::open(self.address(index), &hello()).ok())
    }

    /// The state of a server as a ZooKeeper snapshot.
    fn snapshot(&self, index: usize, name: &str) -> Vec<u8> {
        let to = self.folder.path().join(name);
        let arguments = BackupArguments {
            from: data(self.folder.path(), index),
            log: None,
            server: Some(self.address(index).to_string()),
            stopped: false,
            to: to.clone(),
        };
        back_up(&arguments).expect("it succeeds");
        let mut bytes = Vec::new();
        write_snapshot(&read_backup(&to).expect("it succeeds").image, &mut bytes)
            .expect("it succeeds");
        bytes
    }

    fn restore(&self, index: usize, snapshot: &[u8]) -> Result<(), String> {
        let handle = self.running[index].handle().expect("it succeeds");
        let body = Cursor::new(snapshot.to_vec());
        self.runtime.block_on(restore(handle, body)).map(drop)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.running.iter().for_each(|server| server.stop());
        for server in &mut self.running {
            // Why it ended is no matter any more.
            let _ = self.runtime.block_on(server.ended());
        }
    }
}

fn data(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{}", index + 1))
}

fn hello() -> zokor_tests::raw::Hello {
    zokor_tests::raw::Hello::fresh(30_000)
}

/// Data, stat and ACL of a znode.
type Shown = (Option<Vec<u8>>, Stat, Vec<Acl>);

/// All that a client can see of the tree, at this server, up to date.
fn seen(servers: &Servers, index: usize) -> BTreeMap<String, Shown> {
    let mut client = servers.client(index);
    client.authenticate("digest", b"bob:secret").expect("it succeeds");
    client.sync("/").expect("it succeeds");
    let mut all = BTreeMap::new();
    let mut left = vec!["/".to_owned()];
    while let Some(path) = left.pop() {
        for name in client.children(&path, false).expect("it succeeds") {
            left.push(format!("{}/{name}", path.trim_end_matches('/')));
        }
        let (data, stat) = client.get_data(&path, false).expect("it succeeds");
        let (acl, _) = client.acl(&path).expect("it succeeds");
        all.insert(path, (data, stat, acl));
    }
    client.close();
    all
}

/// Znodes of several kinds.
fn populate(client: &mut Client) {
    client.authenticate("digest", b"bob:secret").expect("it succeeds");
    client.create("/kept", b"1", made::PERSISTENT).expect("it succeeds");
    client.create("/kept/mine", b"2", made::EPHEMERAL).expect("it succeeds");
    client.create("/kept/s-", b"3", made::SEQUENTIAL).expect("it succeeds");
    client.create_with_acl("/closed", &[Acl::new(31, "auth", "")]).expect("it succeeds");
    client.set_data("/kept", b"4", 0).expect("it succeeds");
    for n in 0..80 {
        client
            .create(&format!("/kept/n-{n:03}"), &[7; 10_000], made::PERSISTENT)
            .expect("it succeeds");
    }
}

fn the_state_comes_back(n_servers: usize) {
    let servers = Servers::start(n_servers);
    let (first, last) = (0, n_servers - 1);
    let mut owner = servers.client(first);
    populate(&mut owner);
    let (snapshot, before) = (servers.snapshot(first, "backup"), seen(&servers, first));

    let mut late = servers.client(last);
    late.sync("/").expect("it succeeds");
    late.create("/later", b"", made::PERSISTENT).expect("it succeeds");
    late.create("/kept/late", b"", made::EPHEMERAL).expect("it succeeds");
    late.delete("/kept/n-005", -1).expect("it succeeds");
    owner.set_data("/kept", b"5", -1).expect("it succeeds");
    owner.create("/kept/s-", b"", made::SEQUENTIAL).expect("it succeeds");
    owner.sync("/").expect("it succeeds");
    owner.exists("/later", true).expect("it succeeds");
    owner.get_data("/kept", true).expect("it succeeds");
    owner.exists("/kept/n-005", true).expect_err("it fails");
    owner.get_data("/closed", true).expect("it succeeds");

    servers.restore(last, &snapshot).expect("it succeeds");
    for index in 0..n_servers {
        assert_eq!(seen(&servers, index), before, "at server {}", index + 1);
    }
    let mut heard: Vec<Event> = (0..3).map(|_| owner.next_event().expect("it succeeds")).collect();
    heard.sort_by(|a, b| a.path.cmp(&b.path));
    let expected = [
        Event::new(EventKind::DataChanged, "/kept"),
        Event::new(EventKind::Created, "/kept/n-005"),
        Event::new(EventKind::Deleted, "/later"),
    ];
    assert_eq!(heard, expected);
    owner.ping().expect("it succeeds");
    assert_eq!(owner.events(), [], "what is the same is watched still");
    assert_eq!(
        owner.create("/kept/s-", b"", made::SEQUENTIAL).expect("it succeeds"),
        "/kept/s-0000000082"
    );

    // A session that began after the snapshot is unknown; its client learns that.
    eventually("the late session has ended", || match late.resume(servers.address(last)) {
        Err(ErrorCode::SESSION_EXPIRED) => Some(()),
        _ => None,
    });

    // On every member, as scripts do it: the same state again, and nobody comes to harm.
    let (again, before) = (servers.snapshot(first, "again"), seen(&servers, first));
    for index in 0..n_servers {
        servers.restore(index, &again).expect("it succeeds");
        assert_eq!(seen(&servers, index), before);
    }
    owner.set_data("/kept/mine", b"still", -1).expect("it succeeds");
}

#[test]
fn a_lone_server_is_restored_to_exactly_the_state_of_the_snapshot() {
    the_state_comes_back(1);
}

#[test]
fn all_servers_are_restored_by_one_request_to_any_of_them() {
    the_state_comes_back(3);
}

#[test]
fn writes_that_are_asked_for_meanwhile_are_answered_and_all_servers_stay_the_same() {
    let mut servers = Servers::start(3);
    let mut client = servers.client(0);
    populate(&mut client);
    let addresses: Vec<SocketAddr> = (0..3).map(|index| servers.address(index)).collect();
    let load = zokor_tests::load::Load::start(&addresses, 6);
    load.progress(300);
    // With the sessions that write, and their folders.
    let snapshot = servers.snapshot(0, "backup");
    for round in 0..6 {
        servers.restore(round % 3, &snapshot).expect("it succeeds");
        load.progress(50);
    }
    drop(load.stop());
    // One server leaves in the midst of a restore that it was asked for: done, or not.
    let mut leaving = servers.running.pop().expect("it succeeds");
    servers.runtime.block_on(async {
        let handle = leaving.handle().expect("it succeeds");
        let restoring = restore(handle, Cursor::new(snapshot.clone()));
        let stopping = async { leaving.stop() };
        let (_, ()) = tokio::join!(restoring, stopping);
    });
    servers.runtime.block_on(leaving.ended()).expect("it succeeds");
    client.create("/after", b"", made::PERSISTENT).expect("its session is in the snapshot");
    assert_eq!(seen(&servers, 0), seen(&servers, 1));
    servers.restore(0, &snapshot).expect("it succeeds");
    assert_eq!(seen(&servers, 0), seen(&servers, 1));
    client.exists("/after", false).expect_err("it fails");
}

#[test]
fn what_is_no_snapshot_or_breaks_off_changes_nothing() {
    let servers = Servers::start(1);
    let mut client = servers.client(0);
    populate(&mut client);
    let snapshot = servers.snapshot(0, "backup");
    client.create("/later", b"", made::PERSISTENT).expect("it succeeds");
    for body in [&b"nonsense"[..], &snapshot[..snapshot.len() / 2], b""] {
        let why = servers.restore(0, body).expect_err("it fails");
        assert!(why.contains("no whole snapshot"), "{why}");
    }
    let handle = servers.running[0].handle().expect("it succeeds");
    let why = servers.runtime.block_on(async {
        let (sender, body) = parts();
        let feed = async {
            let half = Bytes::copy_from_slice(&snapshot[..5_000]);
            sender.send(Ok(half)).await.expect("it succeeds");
            sender
                .send(Err(std::io::ErrorKind::ConnectionReset.into()))
                .await
                .expect("it succeeds");
        };
        tokio::join!(restore(handle, body), feed).0.expect_err("it fails")
    });
    assert!(why.contains("connection reset"), "{why}");
    client.exists("/later", false).expect("it succeeds");
    // In parts it is the same snapshot.
    servers.runtime.block_on(async {
        let (sender, body) = parts();
        let feed = async move {
            for part in snapshot.chunks(1_000) {
                sender.send(Ok(Bytes::copy_from_slice(part))).await.expect("it succeeds");
            }
        };
        tokio::join!(restore(handle, body), feed).0.expect("it succeeds");
    });
    client.exists("/later", false).expect_err("it fails");
}
