//! The audit log: who changed what.

use std::fs;

use zokor_tests::client::Part;
use zokor_tests::http::command;
use zokor_tests::{Acl, Ensemble, Program, eventually};

/// The audit lines of a server, without what stands before the fields.
fn lines(text: &str) -> Vec<String> {
    // The first client may be quicker than the word that the server has started.
    let of = |is_start: bool| {
        let lines = text.lines().filter(|line| line.contains("Slf4jAuditLogger"));
        lines.filter(move |line| line.contains("operation=serverStart\t") == is_start)
    };
    let lines = of(true).chain(of(false));
    let fields = |line: &str| {
        let at = ["session=", "user="].iter().filter_map(|field| line.find(field)).min();
        line[at.expect("a field")..].to_owned()
    };
    lines.map(fields).collect()
}

fn audited() -> Ensemble {
    Ensemble::of(1).line("audit.enable=true").line("reconfigEnabled=true").start()
}

#[test]
fn every_change_is_told_with_who_asked_for_it_and_what_came_of_it() {
    let mut ensemble = audited();
    let mut client = ensemble.client(0);
    let session = format!("0x{:x}", client.session());
    client.create("/a", b"", 0).expect("created");
    client.create("/a", b"", 0).expect_err("it is there");
    client.create("/e", b"", 1).expect("created");
    client.create("/s-", b"", 2).expect("created");
    client.set_data("/a", b"x", -1).expect("set");
    client.set_data("/none", b"x", -1).expect_err("it is not there");
    client.get("/a").expect("it is there");
    client.set_acl("/a", &[Acl::new(31, "world", "anyone")], -1).expect("set");
    let create = |path: &str| Part::Create(zokor_tests::op::CREATE, path.into(), vec![], 0);
    let made = [create("/m"), Part::SetData("/m".into(), b"1".into(), -1)];
    client.multi(&made).expect("done");
    let failing = [create("/n"), Part::Delete("/none".into(), -1)];
    client.multi(&failing).expect("results");
    client.delete("/a", -1).expect("deleted");
    client.delete("/a", -1).expect_err("it is gone");
    client.close();
    let expected = [
        "operation=create\tznode=/a\tznode_type=persistent\tresult=success",
        "operation=create\tznode=/a\tznode_type=persistent\tresult=failure",
        "operation=create\tznode=/e\tznode_type=ephemeral\tresult=success",
        "operation=create\tznode=/s-0000000002\tznode_type=persistent_sequential\tresult=success",
        "operation=setData\tznode=/a\tresult=success",
        "operation=setData\tznode=/none\tresult=failure",
        "operation=setAcl\tznode=/a\tacl=world:anyone:cdrwa\tresult=success",
        "operation=create\tznode=/m\tznode_type=persistent\tresult=success",
        "operation=setData\tznode=/m\tresult=success",
        "operation=multiOperation\tresult=failure",
        "operation=delete\tznode=/a\tresult=success",
        "operation=delete\tznode=/a\tresult=failure",
    ];
    let found = eventually("the last line is there", || {
        let found = lines(&ensemble.server(0).log());
        let ends = |line: &String| line.contains("ephemeralZNodeDeletion");
        found.iter().any(ends).then_some(found)
    });
    let (starts, rest): (Vec<&String>, Vec<&String>) =
        found.iter().partition(|line| line.contains("operation=serverStart"));
    let [start] = starts[..] else { panic!("{found:?}") };
    let (user, start) = start.split_once('\t').expect("two fields");
    assert_eq!(start, "operation=serverStart\tresult=success");
    let (last, rest) = rest.split_last().expect("lines");
    let who = format!("session={session}\tuser=127.0.0.1\tip=127.0.0.1\t");
    let rest: Vec<&str> = rest.iter().map(|line| line.strip_prefix(&who).expect(line)).collect();
    assert_eq!(rest, expected);
    let gone = "operation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/e\tresult=success";
    assert_eq!(**last, format!("session={session}\t{user}\t{gone}"));
    ensemble.kill(0);
}

#[test]
fn users_are_named_and_no_hash_of_a_password_is_told() {
    let ensemble = audited();
    let mut client = ensemble.client(0);
    client.authenticate("digest", b"bob:secret").expect("any credentials will do");
    client.create("/a", b"", 0).expect("created");
    let acl = [Acl::new(31, "digest", "bob:hash"), Acl::new(1, "world", "anyone")];
    client.set_acl("/a", &acl, -1).expect("set");
    let found = eventually("both are told", || {
        let found = lines(&ensemble.server(0).log());
        (found.len() == 3).then_some(found)
    });
    let user = found[1].split('\t').nth(1).expect("a field").strip_prefix("user=").expect("it");
    let mut users: Vec<&str> = user.split(',').collect();
    users.sort_unstable();
    assert_eq!(users, ["127.0.0.1", "bob"]);
    if Program::promises("hashes are nobody's business") {
        assert!(found[2].contains("\tacl=digest:bob:x:cdrwaworld:anyone:r\t"), "{found:?}");
    }
}

#[test]
fn each_server_tells_of_its_own_clients_and_all_tell_what_goes_with_a_session() {
    let ensemble = Ensemble::of(3).line("audit.enable=true").start();
    let mut client = ensemble.client(1);
    client.create("/e", b"", 1).expect("created");
    client.close();
    for index in 0..3 {
        let found = eventually("the end of the session is told", || {
            let found = lines(&ensemble.server(index).log());
            found.iter().any(|line| line.contains("ephemeralZNode")).then_some(found)
        });
        let created = found.iter().filter(|line| line.contains("operation=create\t")).count();
        assert_eq!(created, usize::from(index == 1), "{found:?}");
        assert_eq!(found.len(), 2 + created, "{found:?}");
    }
}

#[test]
fn another_membership_that_is_refused_is_told() {
    if !Program::promises("a standalone server's refusal is told") {
        return;
    }
    let ensemble = audited();
    let mut client = ensemble.client(0);
    let record =
        zokor_tests::jute::Writer::new().string("server.2=h:1:2;3").string("").string("").long(-1);
    let reply = client.ask(zokor_tests::op::RECONFIG, record).expect("an answer");
    assert_eq!(reply.error, zokor_tests::ErrorCode::UNIMPLEMENTED, "it is alone");
    eventually("it is told", || {
        let found = lines(&ensemble.server(0).log());
        found.last().filter(|line| line.ends_with("operation=reconfig\tresult=failure")).cloned()
    });
}

#[test]
fn no_path_of_a_client_can_forge_a_line() {
    if !Program::promises("odd characters are escaped") {
        return;
    }
    let ensemble = audited();
    let mut client = ensemble.client(0);
    let path = "/a\tresult=success\n2026-01-01 00:00:00,000 INFO audit.Slf4jAuditLogger: user=x";
    client.create(path, b"", 0).expect_err("it is no path");
    client.set_data(path, b"", -1).expect_err("it is not there");
    let log = eventually("both are told", || {
        let log = ensemble.server(0).log();
        (lines(&log).len() >= 3).then_some(log)
    });
    let found = lines(&log);
    assert_eq!(found.len(), 3, "{log}");
    assert!(found[1].contains("\tznode=/a\\tresult=success\\n2026-01-01 00:00"), "{found:?}");
    assert!(found[1].ends_with("\tresult=failure"), "{found:?}");
}

#[test]
fn the_audit_log_may_have_a_file_of_its_own_and_tells_of_start_and_stop() {
    if !Program::promises("a file by our own key") {
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    let key = format!("zokor.auditFile={}", file.path().display());
    let ensemble = Ensemble::of(1).admin().line("audit.enable=true").line(&key).start();
    ensemble.client(0).create("/a", b"", 0).expect("created");
    let read = || fs::read_to_string(file.path()).expect("it is there");
    eventually("it is told", || read().contains("znode=/a\t").then_some(()));
    assert!(!ensemble.server(0).log().contains("Slf4jAuditLogger"));
    command(ensemble.admin_address(0), "ruok");
    let pid = ensemble.server(0).process_id().expect("it runs");
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a number")).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is told to stop");
    eventually("the stop is told", || {
        let found = lines(&read());
        let stop =
            found.last().filter(|line| line.ends_with("operation=serverStop\tresult=invoked"));
        stop.map(|_| found.len())
    });
    // Whoever reads ZooKeeper's reads ours.
    let text = read();
    let first = text.lines().find(|line| line.contains("serverStart")).expect("a line");
    let (date, rest) = first.split_once(" INFO audit.Slf4jAuditLogger: user=").expect(first);
    assert_eq!((date.len(), rest.contains("\toperation=serverStart\tresult=success")), (23, true));
}

#[test]
fn nothing_is_told_unless_it_is_asked_for() {
    let ensemble = Ensemble::standalone();
    ensemble.client(0).create("/a", b"", 0).expect("created");
    assert_eq!(lines(&ensemble.server(0).log()), [""; 0]);
}
