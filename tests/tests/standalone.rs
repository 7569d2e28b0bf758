//! One server alone, from a `zoo.cfg` without `server.N` lines.

use zokor_tests::records::mode;
use zokor_tests::{Ensemble, ErrorCode};

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let mut ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/a", b"", mode::PERSISTENT).expect("create");
    for round in 0..5 {
        for n in 0..20 {
            client.create(&format!("/a/{round}-{n}"), b"x", 0).expect("create");
        }
        client.set_data("/a", format!("{round}").as_bytes(), round).expect("set");
        let before = client.children2("/a", false).expect("it is there");
        ensemble.kill(0);
        ensemble.restart(0);
        ensemble.wait_until_serving();
        client = ensemble.client(0);
        assert_eq!(client.children2("/a", false), Ok(before));
        assert_eq!(client.get("/a"), Ok(format!("{round}").into_bytes()));
    }
}

#[test]
fn deletes_and_failed_writes_stay_what_they_were_after_a_kill() {
    let mut ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/a", b"", mode::PERSISTENT).expect("create");
    client.create("/b", b"", mode::PERSISTENT).expect("create");
    client.delete("/a", -1).expect("delete");
    assert_eq!(client.delete("/b", 9), Err(ErrorCode::BAD_VERSION));
    let zxid = client.last_zxid;
    ensemble.kill(0);
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let mut client = ensemble.client(0);
    assert_eq!(client.exists("/a", false), Err(ErrorCode::NO_NODE));
    let stat = client.exists("/b", false).expect("it is there");
    assert_eq!(stat.version, 0);
    assert!(client.last_zxid > zxid, "zxids only grow");
}

#[test]
fn an_acl_and_a_session_survive_a_kill() {
    let mut ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    let acl =
        [zokor_tests::Acl::new(31, "digest", "a:b"), zokor_tests::Acl::new(17, "world", "anyone")];
    client.create_with_acl("/a", &acl).expect("create");
    ensemble.kill(0);
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let mut again = client.resume(ensemble.address(0)).expect("the session goes on");
    assert_eq!(again.acl("/a").expect("readable").0, acl);
    assert_eq!(again.set_data("/a", b"", -1), Err(ErrorCode::NO_AUTH));
}
