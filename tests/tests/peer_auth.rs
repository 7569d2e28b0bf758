//! Servers that prove to each other who they are, and those who cannot.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use zokor_tests::ensemble::{Builder, mode};
use zokor_tests::load::Load;
use zokor_tests::records::mode::PERSISTENT;
use zokor_tests::{Client, Ensemble, Program, eventually};

const ENABLED: &str = "quorum.auth.enableSasl=true";
const ASKS: &str = "quorum.auth.learnerRequireSasl=true";
const DEMANDS: &str = "quorum.auth.serverRequireSasl=true";

/// The file of passwords as ZooKeeper's documentation has it.
fn jaas(own_password: &str) -> String {
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    format!(
        "QuorumServer {{\n    {module}\n    user_zk=\"{PASSWORD}\";\n}};\n\
         QuorumLearner {{\n    {module}\n    username=\"zk\"\n    \
         password=\"{own_password}\";\n}};\n"
    )
}

const PASSWORD: &str = "a long \\\"secret\\\"";

/// Servers that have the passwords and, so far, no key that makes use of them.
fn with_passwords(n_servers: usize) -> Builder {
    Ensemble::of(n_servers)
        .file("jaas.conf", &jaas(PASSWORD))
        .flag("-Djava.security.auth.login.config=jaas.conf")
        .flag("-Dzookeeper.fips-mode=false")
}

fn demanding(n_servers: usize) -> Builder {
    with_passwords(n_servers).line(ENABLED).line(ASKS).line(DEMANDS)
}

/// Adds a line to the configuration of a server, for its next start.
fn add_line(ensemble: &Ensemble, index: usize, line: &str) {
    let file = ensemble.server(index).folder().join("zoo.cfg");
    let text = fs::read_to_string(&file).expect("it has one");
    fs::write(file, format!("{text}{line}\n")).expect("the folder is writable");
}

/// Takes one out again.
fn remove_line(ensemble: &Ensemble, index: usize, line: &str) {
    let file = ensemble.server(index).folder().join("zoo.cfg");
    let text = fs::read_to_string(&file).expect("it has one");
    fs::write(file, text.replace(&format!("{line}\n"), "")).expect("the folder is writable");
}

fn n_lines(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

fn wait_for_words(ensemble: &Ensemble, index: usize, words: &str) {
    eventually(words, || ensemble.server(index).log().contains(words).then_some(()));
}

#[test]
fn servers_that_demand_proofs_form_an_ensemble_and_serve() {
    let ensemble = demanding(4).observers(1).start();
    for index in 0..4 {
        let mut client = ensemble.client(index);
        client.create(&format!("/{index}"), b"", PERSISTENT).expect("create");
    }
    for index in 0..4 {
        let mut client = ensemble.client(index);
        client.sync("/").expect("sync");
        for n in 0..4 {
            client.get(&format!("/{n}")).expect("what was written anywhere");
        }
        if Program::promises("the words of its log") {
            let log = ensemble.server(index).log();
            assert!(log.contains("SASL between servers: by DIGEST-MD5"), "{log}");
            assert!(n_lines(&log, "authenticated=true") >= 6, "to three others and from them");
            assert_eq!(n_lines(&log, "authenticated=false"), 0, "{log}");
            assert!(!log.contains("a long"), "no password is shown: {log}");
        }
    }
}

#[test]
fn observers_that_followers_feed_are_authenticated_as_well() {
    if !Program::promises("a port for observers that is not opened") {
        return;
    }
    let ensemble = demanding(4).observers(1).line("observerMasterPort=2191").start();
    let mut client = ensemble.client(0);
    client.create("/a", b"b", PERSISTENT).expect("create");
    let mut observer = ensemble.client(3);
    observer.sync("/").expect("sync");
    assert_eq!(observer.get("/a"), Ok(b"b".to_vec()));
    for index in 0..4 {
        assert_eq!(n_lines(&ensemble.server(index).log(), "authenticated=false"), 0);
    }
}

#[test]
fn a_server_with_a_wrong_password_is_kept_out_and_told_why_until_it_has_the_right_one() {
    if !Program::promises("the words of its log") {
        return;
    }
    let mut ensemble = demanding(4).observers(1).stopped();
    let file = ensemble.server(3).folder().join("jaas.conf");
    fs::write(&file, jaas("guessed")).expect("the folder is writable");
    for index in 0..3 {
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();
    let leader = ensemble.wait_for_leader();
    let mut client = ensemble.client(0);
    client.create("/a", b"1", PERSISTENT).expect("create");

    ensemble.restart(3);
    wait_for_words(&ensemble, 3, "it does not accept our user and password; compare the section");
    for index in 0..3 {
        let told = "it says that it is server 4, which is not shown: its user or password is not \
                    right; compare the section";
        wait_for_words(&ensemble, index, told);
    }
    // It goes on trying, and the others go on as if it were not there.
    for n in 0..200 {
        client.set_data("/a", n.to_string().as_bytes(), -1).expect("they go on");
    }
    assert_eq!(ensemble.leader(), Some(leader));
    assert!(!matches!(mode(ensemble.address(3)).as_deref(), Some("observer")), "it has no state");
    let out = ensemble.server(3).log();
    assert!(n_lines(&out, "it does not accept our user") <= 3, "once a peer: {out}");
    assert_eq!(n_lines(&out, "connected to peer") + n_lines(&out, "guessed"), 0, "{out}");
    for index in 0..3 {
        let log = ensemble.server(index).log();
        assert!(n_lines(&log, "which is not shown") <= 2, "once in a minute: {log}");
    }

    ensemble.kill(3);
    fs::write(&file, jaas(PASSWORD)).expect("the folder is writable");
    ensemble.restart(3);
    ensemble.wait_until_serving();
    let mut observer = ensemble.client(3);
    observer.sync("/").expect("sync");
    assert_eq!(observer.get("/a"), Ok(b"199".to_vec()));
}

#[test]
fn one_that_is_not_set_up_for_proofs_is_told_which_keys_it_lacks() {
    if !Program::promises("the words of its log") {
        return;
    }
    let mut ensemble = with_passwords(4).observers(1).stopped();
    for index in 0..3 {
        for line in [ENABLED, ASKS, DEMANDS] {
            add_line(&ensemble, index, line);
        }
        ensemble.restart(index);
    }
    ensemble.wait_until_serving();
    ensemble.restart(3);
    // It is told when it calls, and when it is called; so are the others.
    let words = "it lets in only servers that show who they are (quorum.auth.serverRequireSasl is \
                 true there); set quorum.auth.enableSasl=true and \
                 quorum.auth.learnerRequireSasl=true here";
    wait_for_words(&ensemble, 3, words);
    wait_for_words(&ensemble, 3, "it wants to be authenticated");
    for index in 0..3 {
        wait_for_words(&ensemble, index, "it is not set up to show who it is");
        wait_for_words(&ensemble, index, "it authenticates no servers, and this one wants it to");
    }
    ensemble.client(0).create("/a", b"", PERSISTENT).expect("the others go on");
    let log = ensemble.server(3).log();
    assert_eq!(n_lines(&log, "a peer has connected") + n_lines(&log, "connected to peer"), 0);

    ensemble.kill(3);
    add_line(&ensemble, 3, ENABLED);
    ensemble.restart(3);
    ensemble.wait_until_serving();
    ensemble.client(3).sync("/").expect("it shows who it is where that is demanded");
}

/// Changes one server after the other while clients write: each is in step before the next.
fn roll(ensemble: &mut Ensemble, load: &Load, change: impl Fn(&Ensemble, usize)) {
    for index in 0..ensemble.len() {
        load.progress(20);
        ensemble.kill(index);
        change(ensemble, index);
        ensemble.restart(index);
        ensemble.wait_until_serving();
        ensemble.client(index).sync("/").expect("it is back, and in step");
    }
    if Program::promises("the words of its log") {
        for index in 0..ensemble.len() {
            let log = ensemble.server(index).log();
            for words in [
                "which is not shown",
                "it lets in only servers",
                "it authenticates no servers",
                "it does not accept our",
                "asked to be authenticated",
            ] {
                assert_eq!(n_lines(&log, words), 0, "nobody was ever kept out: {words}: {log}");
            }
        }
    }
}

#[test]
fn proofs_are_switched_on_server_by_server_while_clients_write_and_off_again() {
    let mut ensemble = with_passwords(3).start();
    let load = Load::start(&ensemble.addresses(), 3);
    for step in [ENABLED, ASKS, DEMANDS] {
        roll(&mut ensemble, &load, |ensemble, index| add_line(ensemble, index, step));
    }
    if Program::promises("the words of its log") {
        // The last one that was started has nothing but proofs on its connections.
        let log = ensemble.server(2).log();
        assert!(n_lines(&log, "authenticated=true") >= 4, "{log}");
        assert_eq!(n_lines(&log, "authenticated=false"), 0, "{log}");
    }
    for step in [DEMANDS, ASKS, ENABLED] {
        roll(&mut ensemble, &load, |ensemble, index| remove_line(ensemble, index, step));
    }
    load.progress(50);
    let promises = load.stop();
    for index in 0..3 {
        let mut client = ensemble.client(index);
        for promise in &promises {
            promise.check(&mut client);
        }
    }
}

#[test]
fn without_the_passwords_a_server_does_not_start_and_says_what_to_do() {
    if !Program::promises("one line on standard error") {
        return;
    }
    let table: [(&[&str], &str); 3] = [
        (&[DEMANDS], "quorum.auth.serverRequireSasl is true and needs quorum.auth.enableSasl"),
        (&[ENABLED], "no file with the passwords of servers is named; add -Djava.security.auth"),
        (
            &[ENABLED, "quorum.auth.server.loginContext=Nowhere"],
            "there is no section Nowhere, which quorum.auth.enableSasl needs",
        ),
    ];
    for (lines, words) in table {
        let mut builder = Ensemble::of(3).file("jaas.conf", &jaas(PASSWORD));
        if lines.len() == 2 {
            builder = builder.flag("-Djava.security.auth.login.config=jaas.conf");
        }
        let builder = lines.iter().fold(builder, |builder, line| builder.line(line));
        let mut ensemble = builder.stopped();
        ensemble.restart(0);
        wait_for_words(&ensemble, 0, words);
        ensemble.kill(0);
    }
}

/// A hello by which somebody says that he is server `from`, with its length.
fn hello(from: u64, to: u64, asks: bool) -> Vec<u8> {
    let mut content = b"zkpr".to_vec();
    content.extend(if asks { [0x80, 1] } else { [0, 1] });
    for number in [from, to, 0] {
        content.extend(number.to_be_bytes());
    }
    framed(&content)
}

/// `content` with its checksum behind it and its length before.
fn framed(content: &[u8]) -> Vec<u8> {
    let sum = crc32c(content).to_be_bytes();
    let length = (content.len() + sum.len()) as u32;
    [&length.to_be_bytes()[..], content, &sum].concat()
}

/// Castagnoli's, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (if sum & 1 == 1 { 0x82f6_3b78 } else { 0 });
        }
    }
    !sum
}

/// Says `said` to a port for peers; all that comes back, until the port ends it.
fn intrude(address: SocketAddr, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a bound can be set");
    stream.write_all(said).expect("a few bytes are taken");
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return heard,
            Ok(n) => heard.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return heard,
            Err(error) => panic!("he is not let go: {error}"),
        }
    }
}

#[test]
fn an_intruder_gets_a_challenge_and_disturbs_nobody() {
    if !Program::promises("the words between servers") {
        return;
    }
    let ensemble = demanding(3).start();
    let leader = ensemble.wait_for_leader();
    let mut client = ensemble.client(leader);
    client.create("/secret", b"nobody's business", PERSISTENT).expect("create");
    let (ids, target) = ([1, 2, 3], leader as u64 + 1);
    // Behind each is the one for elections, which nobody uses.
    let address = ensemble.peer_addresses()[2 * leader];
    let before = (client.session(), n_lines(&ensemble.server(leader).log(), "has connected"));
    let wrong = framed(&[b"zkpl\0\x01\x02", &b"username=\"zk\",response=0"[..]].concat());
    let proven = framed(b"zkpl\0\x01\x03rspauth=0");
    let garbage = [0xff; 4096];
    for from in ids.into_iter().filter(|id| *id != target) {
        for asks in [false, true] {
            for then in [&b""[..], &wrong, &proven, &hello(from, target, asks), &garbage] {
                // What comes after that is said at once, as if he had been let in.
                let vote = framed(b"\x01\0\xfb\xff\xff\x02");
                let said = [&hello(from, target, asks), then, &vote].concat();
                let heard = intrude(address, &said);
                assert!(heard.len() < 200 && !heard.windows(6).any(|part| part == b"nobody"));
                assert!(heard.is_empty() || heard[4..8] == *b"zkpl", "no hello: {heard:?}");
            }
        }
    }
    client.set_data("/secret", b"still nobody's", -1).expect("the same connection goes on");
    assert_eq!(client.session(), before.0);
    assert_eq!(ensemble.leader(), Some(leader), "there was no election");
    let log = ensemble.server(leader).log();
    assert_eq!(n_lines(&log, "has connected"), before.1, "nobody was replaced: {log}");
    assert_eq!(n_lines(&log, "connection has ended"), 0, "{log}");
    let told = n_lines(&log, "which is not shown");
    assert!((1..20).contains(&told), "{told} lines about twenty attempts: {log}");
    for index in 0..3 {
        Client::connect(ensemble.address(index)).sync("/").expect("all serve");
    }
}
