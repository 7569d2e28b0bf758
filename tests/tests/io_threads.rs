//! Clients' sockets on threads of their own (`zokor.ioThreads`): nothing that a client can see is
//! another.

use std::fs;
use std::thread;

use zokor_tests::client::{Message, create_record};
use zokor_tests::jute::Writer;
use zokor_tests::load::Load;
use zokor_tests::records::{mode, op};
use zokor_tests::{Acl, Ensemble, EventKind, Program, eventually};

const N_THREADS: usize = 3;

fn ensemble(n_servers: usize) -> Option<Ensemble> {
    Program::promises("threads for clients' sockets")
        .then(|| Ensemble::of(n_servers).line(&format!("zokor.ioThreads={N_THREADS}")).start())
}

/// The names of a process's threads.
fn threads(process: u32) -> Option<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    Some(names.map(|name| name.trim().to_owned()).collect())
}

#[test]
fn a_server_has_as_many_threads_for_sockets_as_it_is_told() {
    let Some(ensemble) = ensemble(1) else { return };
    let process = ensemble.server(0).process_id().expect("it runs");
    let Some(names) = threads(process) else { return };
    let n = names.iter().filter(|name| name.starts_with("zokor-io-")).count();
    assert_eq!(n, N_THREADS, "{names:?}");
}

#[test]
fn replies_of_many_connections_come_in_order_and_events_before_what_shows_the_change() {
    let Some(ensemble) = ensemble(3) else { return };
    let mut client = ensemble.client(0);
    for n in 0..12 {
        client.create(&format!("/{n}"), b"", mode::PERSISTENT).expect("a folder");
    }
    client.sync("/").expect("sync");
    thread::scope(|scope| {
        for n in 0..12 {
            let mut client = ensemble.client(n % 3);
            scope.spawn(move || {
                client.sync("/").expect("sync");
                for round in 0..30 {
                    let path = format!("/{n}/{round}");
                    assert!(client.exists(&path, true).is_err(), "it is not there yet");
                    // A write, and a read that sees it, twenty times, without waiting for either.
                    let write = create_record(&path, b"", &Acl::open(), mode::PERSISTENT);
                    let mut xids = vec![client.send(op::CREATE, write).expect("sent")];
                    for _ in 0..20 {
                        let read = Writer::new().string(&path).bool(false);
                        xids.push(client.send(op::EXISTS, read).expect("sent"));
                    }
                    let event = client.receive().expect("an event");
                    let Message::Event { event, .. } = event else {
                        panic!("{event:?} before the event")
                    };
                    assert_eq!((event.kind, event.path), (EventKind::Created, path));
                    for xid in xids {
                        let reply = client.receive().expect("a reply");
                        let Message::Reply(reply) = reply else { panic!("{reply:?} is no reply") };
                        assert_eq!((reply.xid, reply.error.0), (xid, 0));
                    }
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_servers_with_threads_die_in_turn() {
    let Some(mut ensemble) = ensemble(3) else { return };
    let load = Load::start(&ensemble.addresses(), 12);
    for victim in 0..3 {
        load.progress(200);
        ensemble.kill(victim);
        load.progress(100);
        ensemble.restart(victim);
        ensemble.wait_until_serving();
    }
    let promises = load.stop();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        promises.iter().for_each(|promise| promise.check(&mut client));
    }
}

#[test]
fn a_server_with_threads_stops_in_good_order_and_takes_its_clients_leave() {
    let Some(ensemble) = ensemble(1) else { return };
    let clients: Vec<_> = (0..9).map(|_| ensemble.client(0)).collect();
    let process = ensemble.server(0).process_id().expect("it runs");
    // SIGTERM, as an operator's tools send it.
    let killed = std::process::Command::new("kill").arg(process.to_string()).status();
    assert!(killed.is_ok_and(|status| status.success()));
    for mut client in clients {
        assert!(client.receive().is_err(), "its connection ends");
    }
    eventually("its log says that it has stopped", || {
        ensemble.server(0).log().contains("stopping").then_some(())
    });
    eventually("its threads have ended", || {
        threads(process).is_none_or(|names| names.is_empty() || names.len() == 1).then_some(())
    });
    assert!(!ensemble.server(0).log().contains("has failed"), "{}", ensemble.server(0).log());
}
