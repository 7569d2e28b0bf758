//! `/zookeeper/config`, and the wish for another membership (op 16).

use zokor_tests::jute::{Reader, Writer};
use zokor_tests::raw::four_letter;
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, EventKind, Program, Stat, eventually, op};

const CONFIG: &str = "/zookeeper/config";
const NEW_CONFIG_NO_QUORUM: ErrorCode = ErrorCode(-13);
const RECONFIG_DISABLED: ErrorCode = ErrorCode(-123);
const SUPER: &str = "-Dzookeeper.DigestAuthenticationProvider.superDigest=\
                     super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

/// Servers to join, to leave, or all of them, and the version that the present list must have.
struct Wish<'a>(Option<&'a str>, Option<&'a str>, Option<&'a str>, i64);

fn wish(client: &mut Client, Wish(joining, leaving, members, version): Wish<'_>) -> ErrorCode {
    let mut body = Writer::new();
    for text in [joining, leaving, members] {
        body = match text {
            Some(text) => body.string(text),
            None => body.null(),
        };
    }
    let reply = client.ask(op::RECONFIG, body.long(version)).expect("an answer");
    if reply.error == ErrorCode(0) {
        let mut reader = Reader::new(reply.body);
        let text = String::from_utf8(reader.buffer().expect("text")).expect("text");
        let stat = Stat::read(&mut reader);
        reader.finish();
        assert_eq!(stat.version, -1);
        assert!(text.ends_with(&format!("version={:x}", stat.mzxid)), "{text}");
    } else {
        assert!(reply.body.is_empty(), "an error has no body");
    }
    reply.error
}

fn text_of(client: &mut Client) -> (String, Stat) {
    let (data, stat) = client.get_data(CONFIG, false).expect("it is there");
    (String::from_utf8(data.unwrap_or_default()).expect("text"), stat)
}

#[test]
fn an_ensemble_describes_itself_in_zookeepers_words() {
    let ensemble = Ensemble::of(3).line("reconfigEnabled=true").start();
    let mut client = ensemble.client(0);
    let (text, stat) = text_of(&mut client);
    let peers = ensemble.peer_addresses();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (index, line) in lines[..3].iter().enumerate() {
        let (quorum, election) = (peers[2 * index].port(), peers[2 * index + 1].port());
        let expected = format!("server.{}=127.0.0.1:{quorum}:{election}:participant", index + 1);
        assert_eq!(**line, expected);
    }
    assert!(stat.mzxid > 0, "an ensemble that decided something has a version");
    assert_eq!(lines[3], format!("version={:x}", stat.mzxid));
    assert_eq!((stat.version, stat.cversion, stat.aversion), (-1, 0, -1));
    assert_eq!((stat.czxid, stat.pzxid, stat.ctime), (0, 0, 0));
    assert_eq!((stat.ephemeral_owner, stat.num_children), (0, 0));
    assert_eq!(stat.data_length as usize, text.len());
    let (acl, _) = client.acl(CONFIG).expect("anyone may read it");
    assert_eq!(acl, [Acl { perms: 1, scheme: "world".into(), id: "anyone".into() }]);
    for index in 1..3 {
        let mut other = ensemble.client(index);
        other.sync("/").expect("sync");
        let (other_text, mut other_stat) = text_of(&mut other);
        if !Program::promises("the description was set at the same time everywhere") {
            other_stat.mtime = stat.mtime;
        }
        assert_eq!((other_text, other_stat), (text.clone(), stat), "the same everywhere");
    }
    let conf = four_letter(ensemble.address(0), "conf").expect("an answer");
    assert!(conf.ends_with(&format!("\nmembership: \n{text}")), "{conf}");
}

#[test]
fn a_standalone_server_has_nothing_to_describe() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    let (text, stat) = text_of(&mut client);
    assert_eq!((&*text, stat.version, stat.aversion, stat.mzxid), ("", 0, -1, 0));
    client.set_data(CONFIG, b"x", -1).map(|_| ()).expect_err("it is read only");
}

#[test]
fn nobody_without_the_right_writes_deletes_or_shares_it() {
    let ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    let before = text_of(&mut client);
    assert_eq!(client.set_data(CONFIG, b"x", -1).map(|_| ()), Err(ErrorCode::NO_AUTH));
    assert_eq!(client.set_acl(CONFIG, &Acl::open(), -1).map(|_| ()), Err(ErrorCode::NO_AUTH));
    assert_eq!(client.create("/zookeeper/config/x", b"", 0).map(|_| ()), Err(ErrorCode::NO_AUTH));
    assert_eq!(client.delete(CONFIG, -1), Err(ErrorCode::BAD_ARGUMENTS));
    assert_eq!(text_of(&mut client), before);
}

#[test]
fn a_new_leader_leaves_what_is_true_alone() {
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let survivor = (leader + 1) % 3;
    let mut client = ensemble.client(survivor);
    let before = text_of(&mut client);
    client.get_data(CONFIG, true).expect("it is there");
    ensemble.kill(leader);
    eventually("another leads", || ensemble.leader().filter(|&next| next != leader));
    let mut other = eventually("a session", || {
        Client::open(ensemble.address(survivor), &zokor_tests::raw::Hello::fresh(30_000)).ok()
    });
    other.create("/after", b"", 0).expect("create");
    let after = text_of(&mut other);
    assert_eq!((&after.0, after.1.mzxid), (&before.0, before.1.mzxid));
    if Program::promises("an election cuts no client of a surviving server") {
        assert_eq!(client.events(), [], "nothing changed, so nothing is told");
    }
}

#[test]
fn wishes_are_refused_where_they_are_disabled() {
    for ensemble in [Ensemble::standalone(), Ensemble::trio()] {
        let mut client = ensemble.client(0);
        for ask in [
            Wish(None, Some("3"), None, -1),
            Wish(Some("nonsense"), Some("x"), Some("y"), 99),
            Wish(None, None, None, -1),
        ] {
            assert_eq!(wish(&mut client, ask), RECONFIG_DISABLED);
        }
        client.ping().expect("the connection goes on");
    }
}

#[test]
fn a_standalone_server_cannot_be_given_members() {
    let ensemble = Ensemble::of(1).line("reconfigEnabled=true").start();
    let mut client = ensemble.client(0);
    let ask = Wish(Some("server.2=127.0.0.1:1:2;3"), None, None, -1);
    assert_eq!(wish(&mut client, ask), ErrorCode::UNIMPLEMENTED);
    assert_eq!(client.get("/"), Ok(vec![]), "the connection goes on");
}

#[test]
fn wishes_meet_zookeepers_checks_in_their_order() {
    let ensemble = Ensemble::of(3).line("reconfigEnabled=true").start();
    let (bad, no_auth) = (ErrorCode::BAD_ARGUMENTS, ErrorCode::NO_AUTH);
    let leader = ensemble.wait_for_leader();
    let three = "server.1=127.0.0.1:1:2;3,server.7=127.0.0.1:5:6;7,server.8=127.0.0.1:8:9;10";
    for index in [leader, (leader + 1) % 3] {
        let mut client = ensemble.client(index);
        let version = text_of(&mut client).1.mzxid;
        for (n, (ask, expected)) in [
            (Wish(None, Some("x"), None, version + 1), ErrorCode::BAD_VERSION),
            (Wish(None, Some("x"), None, version), ErrorCode::MARSHALLING_ERROR),
            (Wish(None, Some("2,3"), None, -1), bad),
            (Wish(Some("nonsense"), None, None, -1), bad),
            (Wish(Some("server.9=127.0.0.1:1:2"), None, None, -1), bad),
            (Wish(Some("server.9=127.0.0.1:a:2;3"), None, None, -1), bad),
            (Wish(Some("server.9=127.0.0.1:1:2:leader;3"), None, None, -1), bad),
            (Wish(None, None, Some("foo=bar"), -1), bad),
            (Wish(None, None, Some("server.x=a:1:2;3"), -1), ErrorCode::MARSHALLING_ERROR),
            (Wish(None, None, Some("server.1=a:1:2:observer;3"), -1), ErrorCode::MARSHALLING_ERROR),
            (Wish(None, None, Some(three), -1), NEW_CONFIG_NO_QUORUM),
            (Wish(None, Some("3"), None, version), no_auth),
            (Wish(None, Some("9"), None, -1), no_auth),
            (Wish(Some("server.9=127.0.0.1:1:2;3"), None, None, -1), no_auth),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(wish(&mut client, ask), expected, "number {n} at server {index}");
        }
        assert_eq!(text_of(&mut client).1.mzxid, version);
        client.ping().expect("the connection goes on");
    }
}

#[test]
fn in_groups_wishes_are_for_whole_lists_and_groups_must_make_sense() {
    let builder = Ensemble::of(3).line("reconfigEnabled=true").flag(SUPER);
    let ensemble = builder.line("group.1=1:2").line("group.2=3").line("weight.3=4").start();
    let bad = ErrorCode::BAD_ARGUMENTS;
    let leader = ensemble.wait_for_leader();
    for index in [leader, (leader + 1) % 3] {
        let mut client = ensemble.client(index);
        client.authenticate("digest", b"super:test").expect("the super user");
        let (text, stat) = text_of(&mut client);
        let (members, _) = text.split_once("version=").expect("a version");
        let (servers, groups) = members.split_once("group.1").expect("groups");
        let whole = |groups: &str| format!("{servers}{groups}");
        let present = format!("group.1{groups}");
        for (ask, expected) in [
            (Wish(None, Some("3"), None, -1), bad),
            (Wish(Some("server.9=127.0.0.1:1:2;3"), None, None, -1), bad),
            (Wish(None, None, Some(&whole("group.1=1:2")), -1), bad),
            (Wish(None, None, Some(&whole("group.1=1:2:3\ngroup.2=3")), -1), bad),
            (Wish(None, None, Some(&whole("weight.1=1")), -1), bad),
            (Wish(None, None, Some(&whole("group.1=1:x:3")), -1), ErrorCode::MARSHALLING_ERROR),
            (Wish(None, None, Some(&whole(&present)), stat.mzxid), ErrorCode(0)),
            (Wish(None, None, Some(&whole(&present)), stat.mzxid + 1), ErrorCode::BAD_VERSION),
        ] {
            let asked = format!("{:?} at server {index}", ask.2);
            assert_eq!(wish(&mut client, ask), expected, "{asked}");
        }
        // What would change something is not carried out yet.
        let majority = wish(&mut client, Wish(None, None, Some(servers), -1));
        assert_eq!(majority, ErrorCode::UNIMPLEMENTED);
        assert_eq!(text_of(&mut client).1.mzxid, stat.mzxid);
    }
}

#[test]
fn a_wish_that_cannot_be_read_harms_nobody() {
    for line in ["reconfigEnabled=true", "reconfigEnabled=false"] {
        let ensemble = Ensemble::of(1).line(line).start();
        let mut client = ensemble.client(0);
        for body in [
            Writer::new(),
            Writer::new().null().null(),
            Writer::new().null().null().null().int(1),
            Writer::new().int(i32::MAX).raw(b"server"),
            Writer::new().int(-2).null().null().long(-1),
            Writer::new().int(2).raw(&[0xff, 0xfe]).null().null().long(-1),
        ] {
            let reply = client.ask(op::RECONFIG, body).expect("an answer");
            assert_ne!(reply.error, ErrorCode(0));
            assert!(reply.body.is_empty());
        }
        client.create("/a", b"", 0).expect("the connection goes on");
    }
}

#[test]
fn a_watch_on_the_description_stays_while_nothing_changes() {
    let ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    client.get_data(CONFIG, true).expect("it is there");
    client.create("/zookeeper-config", b"", 0).expect("create");
    assert!(client.events().iter().all(|event| event.kind != EventKind::DataChanged));
    client.check_watches(CONFIG, 2).expect("it still watches");
}
