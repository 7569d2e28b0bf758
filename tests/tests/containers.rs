//! Containers and TTL znodes: made by clients, taken away by the leader, on one server and on
//! three.

use zokor_tests::client::Part;
use zokor_tests::records::{mode, op};
use zokor_tests::wait::eventually;
use zokor_tests::{Client, Ensemble, ErrorCode, Event, EventKind, Program};

/// One server alone, and three, that look for what is due several times a second. ZooKeeper takes
/// these settings from its command line only.
fn ensembles(lines: &[&str]) -> impl Iterator<Item = Ensemble> {
    let lines = [lines, &["znode.container.checkIntervalMs=50", "extendedTypesEnabled=true"]];
    let lines = lines.concat();
    [1, 3].into_iter().map(move |n_servers| {
        let builder = Ensemble::of(n_servers);
        lines.iter().fold(builder, |builder, line| builder.line(line)).start()
    })
}

fn until_gone(client: &mut Client, path: &str) {
    eventually(path, || {
        client.sync("/").expect("sync");
        (client.exists(path, false) == Err(ErrorCode::NO_NODE)).then_some(())
    });
}

#[test]
fn a_container_goes_after_its_last_child_and_takes_empty_ones_above_along() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(ensemble.len() - 1);
        for path in ["/unused", "/a", "/a/b", "/a/b/c", "/full"] {
            let (_, stat) = client.create2(path, b"", mode::CONTAINER).expect("a container");
            assert_eq!(stat.ephemeral_owner, 0);
        }
        client.create("/full/child", b"", mode::PERSISTENT).expect("create");
        client.create("/a/b/c/d", b"", mode::EPHEMERAL).expect("create");
        client.exists("/a", true).expect("it is there");
        client.delete("/a/b/c/d", -1).expect("delete");
        until_gone(&mut client, "/a");
        assert_eq!(client.events(), [Event::new(EventKind::Deleted, "/a")]);
        assert!(client.exists("/unused", false).is_ok(), "it never had a child");
        assert!(client.exists("/full", false).is_ok());
        client.delete("/full/child", -1).expect("delete");
        until_gone(&mut client, "/full");
        assert!(client.exists("/unused", false).is_ok());
    }
}

#[test]
fn a_container_that_nobody_uses_goes_if_that_is_asked_for() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for ensemble in ensembles(&["znode.container.maxNeverUsedIntervalMs=300"]) {
        let mut client = ensemble.client(0);
        client.create2("/unused", b"", mode::CONTAINER).expect("a container");
        client.create2("/used", b"", mode::CONTAINER).expect("a container");
        client.create("/used/child", b"", mode::PERSISTENT).expect("create");
        client.create("/plain", b"", mode::PERSISTENT).expect("create");
        until_gone(&mut client, "/unused");
        let mut names = client.children("/", false).expect("children");
        names.retain(|name| name != "zookeeper");
        assert_eq!(names, ["plain", "used"]);
    }
}

#[test]
fn a_ttl_znode_goes_when_it_was_left_alone_and_setting_data_renews_it() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(ensemble.len() - 1);
        let ttl_ms = 1_500;
        for path in ["/renewed", "/parent", "/renewed-once"] {
            client.create_ttl(path, mode::TTL, ttl_ms).expect("create");
        }
        client.create("/parent/child", b"", mode::PERSISTENT).expect("create");
        client.create_ttl("/clock", mode::TTL, ttl_ms).expect("create");
        eventually("the clock to run down", || {
            client.set_data("/renewed", b"", -1).expect("it is there");
            (client.exists("/clock", false) == Err(ErrorCode::NO_NODE)).then_some(())
        });
        assert!(client.exists("/renewed", false).is_ok());
        assert!(client.exists("/parent", false).is_ok(), "it has a child");
        until_gone(&mut client, "/renewed-once");
        client.delete("/parent/child", -1).expect("delete");
        until_gone(&mut client, "/parent");
        until_gone(&mut client, "/renewed");
    }
}

#[test]
fn containers_and_ttl_znodes_in_a_multi_answer_like_create2() {
    for ensemble in ensembles(&[]) {
        let mut client = ensemble.client(0);
        let container = |op| Part::Create(op, format!("/c{op}"), b"x".to_vec(), mode::CONTAINER);
        // The flag makes the container, whichever create it comes with.
        let parts = [op::CREATE_CONTAINER, op::CREATE2, op::CREATE].map(container);
        let results = client.multi(&parts).expect("all is well");
        for (part, name) in results.iter().zip(["/c19", "/c15", "/c1"]) {
            let Part::Created2(path, stat) = part else { panic!("{part:?}") };
            assert_eq!((path.as_str(), stat.ephemeral_owner, stat.data_length), (name, 0, 1));
            client.create(&format!("{name}/child"), b"", 0).expect("create");
        }
    }
}

#[test]
fn a_container_outlives_the_leader_that_would_have_taken_it_away() {
    if !Program::promises("the interval of the sweep can be set in zoo.cfg") {
        return;
    }
    let mut ensemble = Ensemble::of(3).line("znode.container.checkIntervalMs=50").start();
    let leader = ensemble.wait_for_leader();
    let mut client = ensemble.client((leader + 1) % 3);
    client.create2("/c", b"", mode::CONTAINER).expect("a container");
    client.create("/c/child", b"", mode::PERSISTENT).expect("create");
    client.delete("/c/child", -1).expect("delete");
    ensemble.kill(leader);
    until_gone(&mut client, "/c");
    ensemble.restart(leader);
    ensemble.wait_until_serving();
    let mut again = ensemble.client(leader);
    until_gone(&mut again, "/c");
}
