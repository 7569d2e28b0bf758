//! Settings that decide what may be done to the tree, and requests that no client may make, on one
//! server and on three.

use zokor_tests::jute::Writer;
use zokor_tests::records::{mode, op, perms};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Program};

fn ensembles(line: &str) -> impl Iterator<Item = Ensemble> {
    [1, 3].into_iter().map(move |n_servers| Ensemble::of(n_servers).line(line).start())
}

/// A znode that lets nobody do anything but `bob`, who is not here.
fn shut(client: &mut Client) {
    client.create("/shut", b"", mode::PERSISTENT).expect("create");
    client.create("/shut/x", b"", mode::PERSISTENT).expect("create");
    let acl = [Acl::new(perms::ALL, "digest", "bob:hash")];
    client.set_acl("/shut", &acl, -1).expect("set");
}

#[test]
fn where_acls_are_skipped_everybody_may_do_everything() {
    for ensemble in ensembles("skipACL=yes") {
        shut(&mut ensemble.client(0));
        let mut client = ensemble.client(ensemble.len() - 1);
        client.sync("/").expect("sync");
        assert!(client.get("/shut").is_ok());
        assert!(client.children("/shut", true).is_ok());
        assert_eq!(client.acl("/shut").expect("readable").0[0].id, "bob:hash");
        assert!(client.create("/shut/y", b"", mode::PERSISTENT).is_ok());
        assert_eq!(client.events().len(), 1, "and hears of everything");
        assert!(client.set_data("/shut", b"x", -1).is_ok());
        assert!(client.delete("/shut/x", -1).is_ok());
        assert!(client.set_acl("/shut", &Acl::open(), -1).is_ok());
        assert_eq!(client.set_acl("/shut", &[], -1), Err(ErrorCode::INVALID_ACL));
    }
}

#[test]
fn an_eager_check_refuses_in_order_and_takes_no_zxid() {
    if !Program::promises("an eager refusal keeps its place") {
        return;
    }
    for ensemble in ensembles("enableEagerACLCheck=true") {
        shut(&mut ensemble.client(0));
        let mut client = ensemble.client(ensemble.len() - 1);
        client.sync("/").expect("sync");
        let zxid = client.last_zxid;
        let bodies = [
            (op::SET_DATA, Writer::new().string("/shut").buffer(b"").int(-1)),
            (op::DELETE, Writer::new().string("/shut/x").int(-1)),
            (op::SET_ACL, Acl::write_all(&Acl::open(), Writer::new().string("/shut")).int(-1)),
        ];
        for (op, body) in bodies {
            let reply = client.ask(op, body).expect("an answer");
            assert_eq!((reply.error, reply.zxid), (ErrorCode::NO_AUTH, 0), "op {op}");
        }
        assert_eq!(client.create("/shut/y", b"", 0), Err(ErrorCode::NO_AUTH));
        assert_eq!(client.set_acl("/shut", &[], -1), Err(ErrorCode::INVALID_ACL));
        client.sync("/").expect("sync");
        assert_eq!(client.last_zxid, zxid, "nothing has reached the log");
        // Behind a write, and before another, in the same breath.
        let create = |path: &str| zokor_tests::client::create_record(path, b"", &Acl::open(), 0);
        let xids = ["/a", "/shut/z", "/b"].map(|path| client.send(op::CREATE, create(path)));
        for (xid, code) in xids.into_iter().zip([0, -102, 0]) {
            let Ok(zokor_tests::client::Message::Reply(reply)) = client.receive() else {
                panic!("a reply is due")
            };
            assert_eq!((Ok(reply.xid), reply.error), (xid, ErrorCode(code)));
        }
        assert!(client.set_data("/shut/x", b"", -1).is_ok(), "what is allowed works");
        assert_eq!(client.set_data("/none", b"", -1), Err(ErrorCode::NO_NODE));
    }
}

#[test]
fn what_only_servers_do_is_refused_and_leaves_nothing_behind() {
    if !Program::promises("internal operations are refused") {
        return;
    }
    for mut ensemble in ensembles("snapCount=3") {
        let last = ensemble.len() - 1;
        let mut owner = ensemble.client(last);
        owner.create2("/c", b"", mode::CONTAINER).expect("a container");
        for (op, body) in [
            (op::CHECK, Writer::new().string("/c").int(0)),
            (op::DELETE_CONTAINER, Writer::new().string("/c")),
            (op::CREATE_SESSION, Writer::new().int(30_000)),
        ] {
            let mut client = ensemble.client(last);
            let reply = client.ask(op, body).expect("an answer");
            assert_eq!((reply.error, reply.body), (ErrorCode::UNIMPLEMENTED, vec![]), "op {op}");
            assert!(client.connection().is_closed_by_server(), "op {op}");
            assert!(client.resume(ensemble.address(last)).is_ok(), "the session lives on");
        }
        ensemble.kill_all();
        for index in 0..=last {
            ensemble.restart(index);
        }
        ensemble.wait_until_serving();
        assert!(ensemble.client(last).exists("/c", false).is_ok());
    }
}

/// Whatever came in whole goes out whole: also from a snapshot, from a follower, and after a
/// restart.
#[test]
fn the_largest_request_reads_back_from_everywhere() {
    const LIMIT: usize = 0xf_ffff;
    for mut ensemble in ensembles("snapCount=4") {
        let last = ensemble.len() - 1;
        let mut client = ensemble.client(last);
        client.create("/big", b"", mode::PERSISTENT).expect("create");
        // Header, path, length, version.
        let data = vec![7; LIMIT - 8 - 8 - 4 - 4];
        for _ in 0..8 {
            client.set_data("/big", &data, -1).expect("a frame of exactly the limit");
        }
        let over = [&data[..], b"x"].concat();
        assert_eq!(client.set_data("/big", &over, -1), Err(ErrorCode::CONNECTION_LOSS));
        for _ in 0..2 {
            for index in 0..=last {
                let mut client = ensemble.client(index);
                client.sync("/").expect("sync");
                assert_eq!(client.get("/big").as_ref(), Ok(&data), "server {index}");
            }
            ensemble.kill_all();
            for index in 0..=last {
                ensemble.restart(index);
            }
            ensemble.wait_until_serving();
        }
    }
}
