//! Members of an ensemble in trouble: one that nobody can find, one whose log is damaged, one that
//! hears nothing for a while.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use zokor_tests::records::mode;
use zokor_tests::{Client, Ensemble, ErrorCode, Event, EventKind, Program, eventually, raw::Hello};

#[test]
fn a_member_that_cannot_be_found_stops_nobody() {
    // Of four voters three are a quorum.
    let ensemble = Ensemble::of(3)
        .line("server.9=no-such-host.invalid:2888:3888")
        .line("zokor.firstStart=quorum")
        .start();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        client.create(&format!("/{index}"), b"", mode::PERSISTENT).expect("create");
        client.sync("/").expect("sync");
    }
    assert_eq!(ensemble.client(0).get("/2"), Ok(vec![]));
}

/// All files of a server's data.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Changes a byte in the middle of what znode `/kept` holds, wherever it is on disk.
fn damage(folder: &Path, text: &[u8]) -> usize {
    let mut n_damaged = 0;
    for path in files(folder) {
        let mut bytes = fs::read(&path).expect("a file");
        let found: Vec<usize> = bytes
            .windows(text.len())
            .enumerate()
            .filter_map(|(at, part)| (part == text).then_some(at))
            .collect();
        for at in found {
            bytes[at + text.len() / 2] ^= 1;
            n_damaged += 1;
        }
        fs::write(&path, bytes).expect("a file");
    }
    n_damaged
}

#[test]
fn a_damaged_server_shows_nothing_false_and_the_others_serve() {
    if !Program::promises("damage is found before anything is believed") {
        return;
    }
    let mut ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    let text = b"a text that is found again on the disk";
    client.create("/kept", text, mode::PERSISTENT).expect("create");
    for n in 0..50 {
        client.create(&format!("/{n}"), b"", mode::PERSISTENT).expect("create");
    }
    let victim = (ensemble.wait_for_leader() + 1) % 3;
    ensemble.client(victim).sync("/").expect("sync");
    ensemble.kill(victim);
    assert!(damage(&ensemble.server(victim).folder().join("data"), text) > 0);
    ensemble.restart(victim);
    // It refuses to start, and says what is wrong, or it has what it lost from the others.
    eventually("it is found", || {
        if ensemble.server(victim).log().contains("damaged") {
            return Some(());
        }
        let mut late = Client::open(ensemble.address(victim), &Hello::fresh(30_000)).ok()?;
        late.sync("/").ok()?;
        assert_eq!(late.get("/kept"), Ok(text.to_vec()), "damage is never shown");
        Some(())
    });
    for index in [(victim + 1) % 3, (victim + 2) % 3] {
        let mut client = eventually("the others serve", || {
            Client::open(ensemble.address(index), &Hello::fresh(30_000)).ok()
        });
        client.set_data("/kept", text, -1).expect("writes go on");
        assert_eq!(client.get("/kept"), Ok(text.to_vec()));
    }
}

/// Its clients hear of what happened meanwhile: from the server itself as it catches up, or, if it
/// had to let them go, when they come back with their watches.
#[test]
fn a_watch_at_a_server_that_stood_still_hears_what_it_missed() {
    let ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
    let process = ensemble.server(far).process_id().expect("it runs");
    let process = Pid::from_raw(process as i32).expect("a process");
    let mut writer = ensemble.client(near);
    for path in ["/set", "/gone", "/kids"] {
        writer.create(path, b"", mode::PERSISTENT).expect("create");
    }
    let mut watcher = ensemble.client(far);
    watcher.sync("/").expect("sync");
    let seen = watcher.last_zxid;
    watcher.get_data("/set", true).expect("it is there");
    watcher.get_data("/gone", true).expect("it is there");
    assert_eq!(watcher.exists("/new", true), Err(ErrorCode::NO_NODE));
    watcher.children("/kids", true).expect("it is there");
    kill_process(process, Signal::STOP).expect("our own child");
    writer.set_data("/set", b"x", -1).expect("two of three are enough");
    writer.delete("/gone", -1).expect("delete");
    writer.create("/new", b"", mode::PERSISTENT).expect("create");
    for n in 0..500 {
        writer.create(&format!("/kids/{n}"), b"", mode::PERSISTENT).expect("create");
    }
    kill_process(process, Signal::CONT).expect("our own child");
    let mut told = Vec::new();
    while told.len() < 4 {
        match watcher.next_event() {
            Ok(event) => told.push(event),
            Err(ErrorCode::CONNECTION_LOSS) => {
                watcher = eventually("it comes back", || {
                    let mut again = watcher.resume(ensemble.address(far)).ok()?;
                    again.sync("/").ok().map(|_| again)
                });
                told.clear();
                let lists: [&[&str]; 3] = [&["/set", "/gone"], &["/new"], &["/kids"]];
                watcher.set_watches(seen, lists).expect("set watches");
            }
            Err(other) => panic!("{other:?} after {told:?}"),
        }
    }
    told.sort_by(|a, b| a.path.cmp(&b.path));
    let expected = [
        (EventKind::Deleted, "/gone"),
        (EventKind::ChildrenChanged, "/kids"),
        (EventKind::Created, "/new"),
        (EventKind::DataChanged, "/set"),
    ];
    assert_eq!(told, expected.map(|(kind, path)| Event::new(kind, path)));
    assert_eq!(watcher.events(), [], "each once");
}
