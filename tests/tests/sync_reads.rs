//! What a read may and may not show, on a follower too.

use std::thread;

use zokor_tests::records::mode;
use zokor_tests::{Client, Shared};

#[test]
fn a_session_reads_its_own_writes_at_every_server() {
    let shared = Shared::join();
    for index in 0..3 {
        let (mut client, path) = (shared.client(index), shared.at(&format!("/{index}")));
        client.create(&path, b"", mode::PERSISTENT).expect("create");
        for round in 0..100 {
            let data = format!("{round}").into_bytes();
            client.set_data(&path, &data, round).expect("set");
            assert_eq!(client.get(&path), Ok(data));
        }
    }
}

#[test]
fn a_read_after_sync_sees_what_was_acknowledged_elsewhere() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut clients: Vec<Client> = (0..3).map(|index| shared.client(index)).collect();
    clients[0].create(&path, b"", mode::PERSISTENT).expect("create");
    for round in 0..150 {
        let data = format!("{round}").into_bytes();
        let (writer, reader) = (round % 3, (round + 1 + round / 3 % 2) % 3);
        clients[writer].set_data(&path, &data, -1).expect("set");
        clients[reader].sync(&path).expect("sync");
        assert_eq!(clients[reader].get(&path), Ok(data), "from {writer} to {reader}");
    }
}

#[test]
fn a_session_never_reads_backwards_when_it_moves() {
    let shared = Shared::join();
    let path = shared.at("/a");
    let mut writer = shared.client(0);
    writer.create(&path, b"", mode::PERSISTENT).expect("create");
    let mut reader = shared.client(0);
    let mut last = 0;
    for round in 0..30 {
        writer.set_data(&path, b"", -1).expect("set");
        // A server that lags refuses the client, who then asks the next.
        let moved = (0..300).find_map(|n| reader.resume(shared.address((round + n) % 3)).ok());
        reader = moved.expect("a server that is not behind");
        let version = reader.exists(&path, false).expect("it is there").version;
        assert!(version >= last, "round {round}: {version} after {last}");
        last = version;
    }
}

#[test]
fn compare_and_set_from_all_servers_loses_no_increment() {
    let shared = Shared::join();
    let path = shared.at("/counter");
    shared.client(0).create(&path, b"0", mode::PERSISTENT).expect("create");
    thread::scope(|scope| {
        for index in 0..3 {
            let (mut client, path) = (shared.client(index), &path);
            scope.spawn(move || {
                for _ in 0..40 {
                    loop {
                        client.sync(path).expect("sync");
                        let (data, stat) = client.get_data(path, false).expect("it is there");
                        let number: u32 = String::from_utf8(data.unwrap_or_default())
                            .expect("text")
                            .parse()
                            .expect("a number");
                        let next = (number + 1).to_string();
                        if client.set_data(path, next.as_bytes(), stat.version).is_ok() {
                            break;
                        }
                    }
                }
            });
        }
    });
    let mut client = shared.client(1);
    client.sync(&path).expect("sync");
    let (data, stat) = client.get_data(&path, false).expect("it is there");
    assert_eq!((data, stat.version), (Some(b"120".to_vec()), 120));
}

#[test]
fn all_servers_hold_the_same_tree_after_a_sync() {
    let shared = Shared::join();
    thread::scope(|scope| {
        for index in 0..3 {
            let (mut client, shared) = (shared.client(index), &shared);
            scope.spawn(move || {
                for n in 0..40 {
                    let path = shared.at(&format!("/{index}-{n}"));
                    client.create(&path, format!("{n}").as_bytes(), 0).expect("create");
                    if n % 3 == 0 {
                        client.delete(&path, -1).expect("delete");
                    }
                }
            });
        }
    });
    let trees: Vec<_> = (0..3)
        .map(|index| {
            let mut client = shared.client(index);
            client.sync("/").expect("sync");
            let (names, stat) = client.children2(&shared.root, false).expect("it is there");
            let read = |name| client.get_data(&shared.at(&format!("/{name}")), false);
            (stat, names.iter().map(read).collect::<Vec<_>>(), names.clone())
        })
        .collect();
    assert_eq!(trees[0].2.len(), 78);
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}
