//! `zokor bench` against servers: every kind of work is done, counted, and leaves nothing behind.

use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use zokor_tests::program::zokor;
use zokor_tests::records::mode;
use zokor_tests::{Ensemble, ErrorCode, eventually};

fn bench(ensemble: &Ensemble, arguments: &str) -> Output {
    let hosts: Vec<String> = ensemble.addresses().iter().map(ToString::to_string).collect();
    let mut command = Command::new(zokor());
    command.arg("bench").args(["--hosts", &hosts.join(",")]).args(arguments.split_whitespace());
    command.output().expect("the program runs")
}

/// The JSON of a run without failures.
fn good(ensemble: &Ensemble, arguments: &str) -> String {
    let output = bench(ensemble, &format!("--json --warm-up 50ms {arguments}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {text}\n{problem}");
    assert_eq!(number(&text, "", "n_errors"), 0, "{text}");
    assert!(text.contains("\"left_behind\":null"), "{text}");
    text
}

/// The number of `key` in the first object behind `start`.
fn number(json: &str, start: &str, key: &str) -> u64 {
    let rest = &json[json.find(start).unwrap_or_else(|| panic!("no {start} in {json}"))..];
    let key = format!("\"{key}\":");
    let at = rest.find(&key).unwrap_or_else(|| panic!("no {key} in {json}")) + key.len();
    let digits: String = rest[at..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{key} is no number in {json}"))
}

/// How many operations of this kind were done. Keys are in the order of the alphabet.
fn done(json: &str, kind: &str) -> u64 {
    let at = json.find(&format!("\"kind\":\"{kind}\"")).unwrap_or_else(|| panic!("{kind}: {json}"));
    let object = json[..at].rfind('{').expect("an object");
    number(&json[object..], "", "done")
}

fn is_empty(ensemble: &Ensemble) {
    let mut client = ensemble.client(0);
    client.sync("/").expect("sync");
    assert_eq!(client.children("/", false), Ok(vec!["zookeeper".to_owned()]));
    assert_eq!(client.ephemerals("/"), Ok(vec![]));
    client.close();
}

#[test]
fn every_kind_of_work_is_done_as_often_as_asked() {
    let ensemble = Ensemble::trio();
    for kind in ["get", "exists", "set", "create", "ephemeral", "sequential", "sync"] {
        let json = good(&ensemble, &format!("--mix {kind} --connections 5 --count 700"));
        assert_eq!((done(&json, kind), done(&json, "all")), (700, 700), "{json}");
    }
    let json = good(&ensemble, "--mix multi --parts 7 --count 200");
    assert_eq!(done(&json, "multi"), 200);
    let json = good(&ensemble, "--mix children --names 30 --count 500");
    assert_eq!(done(&json, "children"), 500);
    let json = good(&ensemble, "--mix get=6,set=3,create=2,delete=2,sync=1 --count 2000");
    let kinds = ["get", "set", "create", "delete", "sync"];
    let sum: u64 = kinds.iter().map(|kind| done(&json, kind)).sum();
    assert_eq!((sum, done(&json, "all")), (2_000, 2_000), "{json}");
    is_empty(&ensemble);
}

#[test]
fn what_is_to_be_deleted_is_created_first() {
    let ensemble = Ensemble::standalone();
    let json = good(&ensemble, "--mix delete --connections 1 --outstanding 3 --count 100");
    assert_eq!(done(&json, "create") + done(&json, "delete"), 100);
    assert!(done(&json, "create").abs_diff(done(&json, "delete")) <= 1, "{json}");
    is_empty(&ensemble);
}

#[test]
fn each_watcher_hears_of_each_change_once() {
    let ensemble = Ensemble::trio();
    let json = good(&ensemble, "--mix watch --watchers 40 --count 25");
    assert_eq!((done(&json, "set"), done(&json, "last")), (25, 25), "{json}");
    assert_eq!((done(&json, "watch"), done(&json, "all")), (1_000, 1_000), "{json}");
    let json = good(&ensemble, "--mix watch --watchers 3 --count 10 --rate 200");
    assert_eq!((done(&json, "watch"), done(&json, "last")), (30, 10), "{json}");
    is_empty(&ensemble);
}

#[test]
fn sessions_are_opened_and_closed() {
    let ensemble = Ensemble::trio();
    let json = good(&ensemble, "--mix session --connections 4 --count 300");
    assert_eq!((done(&json, "session"), done(&json, "all")), (300, 300), "{json}");
    let json = good(&ensemble, "--mix session --connections 4 --count 50 --rate 500");
    assert_eq!(done(&json, "session"), 50);
    for index in 0..3 {
        let sessions = ensemble.client(index).count_descendants("/").expect("it serves");
        assert!(sessions >= 0);
    }
    is_empty(&ensemble);
}

#[test]
fn a_paced_run_does_exactly_what_is_due() {
    let ensemble = Ensemble::trio();
    let json = good(&ensemble, "--mix get=1,set=1 --rate 400 --duration 500ms");
    assert_eq!(done(&json, "all"), 200, "{json}");
    is_empty(&ensemble);
}

#[test]
fn a_run_by_time_ends_and_tells_of_costs() {
    let ensemble = Ensemble::standalone();
    let pid = ensemble.server(0).process_id().expect("it runs");
    let json = good(&ensemble, &format!("--duration 300ms --pid {pid}"));
    assert!(done(&json, "get") > done(&json, "set"), "{json}");
    let own = number(&json, "\"generator\"", "cpu_ns");
    assert!(own > 0, "{json}");
    assert_eq!(number(&json, "\"processes\"", "pid"), u64::from(pid));
    assert!(number(&json, "\"processes\"", "resident_bytes") > 1_000_000, "{json}");
    is_empty(&ensemble);
}

#[test]
fn the_table_is_for_people() {
    let ensemble = Ensemble::standalone();
    let output = bench(&ensemble, "--mix set --count 100 --warm-up 0s");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for part in ["set at 127.0.0.1:", "p99.9", "no operation failed", "this program: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_root_that_exists_is_left_alone() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/mine", b"x", mode::PERSISTENT).expect("create");
    let output = bench(&ensemble, "--root /mine --count 10");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(problem.contains("creating /mine failed with NodeExists"), "{problem}");
    assert_eq!(client.get("/mine"), Ok(b"x".to_vec()));
}

#[test]
fn what_is_to_be_kept_stays() {
    let ensemble = Ensemble::standalone();
    let arguments = "--mix create --connections 2 --count 50 --warm-up 0s --root /kept --keep";
    let output = bench(&ensemble, arguments);
    assert!(output.status.success(), "{output:?}");
    let mut client = ensemble.client(0);
    // Two folders and the one above them.
    assert_eq!(client.count_descendants("/kept"), Ok(53));
}

#[test]
fn operations_that_fail_are_named_and_counted() {
    let ensemble = Ensemble::of(1).line("enforceQuota=true").start();
    let mut client = ensemble.client(0);
    client.create("/limited", b"", mode::PERSISTENT).expect("create");
    client.create("/zookeeper/quota/limited", b"", mode::PERSISTENT).expect("create");
    let stats = "/zookeeper/quota/limited/zookeeper_stats";
    client.create(stats, b"count=0,bytes=0", mode::PERSISTENT).expect("create");
    let limits = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=40";
    client.create("/zookeeper/quota/limited/zookeeper_limits", limits, 0).expect("create");
    let arguments = "--mix create --connections 1 --count 100 --warm-up 0s --root /limited/bench";
    let output = bench(&ensemble, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(" x create: QuotaExceeded"), "{text}");
    assert_eq!(client.exists("/limited/bench", false), Err(ErrorCode::NO_NODE));
}

#[test]
fn a_killed_server_costs_what_was_under_way_and_the_run_goes_on() {
    let mut ensemble = Ensemble::trio();
    let hosts: Vec<String> = ensemble.addresses().iter().map(ToString::to_string).collect();
    let mut command = Command::new(zokor());
    command.args(["bench", "--json", "--mix", "set", "--connections", "6", "--outstanding", "2"]);
    command.args(["--hosts", &hosts.join(","), "--duration", "4s", "--root", "/killed"]);
    command.stdout(Stdio::piped());
    let run = command.spawn().expect("the program runs");
    eventually("the run has begun", || {
        let stat = ensemble.client(0).exists("/killed/nodes/00000000", false);
        stat.ok().filter(|stat| stat.version > 0)
    });
    ensemble.kill(2);
    let output = run.wait_with_output().expect("it ends");
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    let n_errors = number(&json, "", "n_errors");
    // Two connections were there, with two operations each.
    assert!(n_errors <= 4, "{json}");
    assert!(done(&json, "set") > 0, "{json}");
    assert!(json.contains("\"left_behind\":null"), "{json}");
    let mut client = ensemble.client(0);
    client.sync("/").expect("sync");
    assert_eq!(client.exists("/killed", false), Err(ErrorCode::NO_NODE));
}

#[test]
fn nobody_there_is_said_in_a_sentence() {
    let mut ensemble = Ensemble::standalone();
    ensemble.kill(0);
    let output = bench(&ensemble, "--count 1");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(problem.starts_with("zokor: no server grants a session: 127.0.0.1:"), "{problem}");
}

#[test]
fn connections_that_a_server_refuses_end_the_run_in_a_sentence() {
    let ensemble = Ensemble::of(1).line("maxClientCnxns=4").start();
    let output = bench(&ensemble, "--connections 9 --count 10 --root /refused");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{problem}");
    assert!(problem.contains("no more than 4 of 9 connections came up: "), "{problem}");
    eventually("the znodes are gone", || {
        let gone = ensemble.client(0).exists("/refused", false);
        (gone == Err(ErrorCode::NO_NODE)).then_some(())
    });
}

#[test]
fn the_first_signal_ends_a_run_that_waits_for_its_connections() {
    let ensemble = Ensemble::of(1).line("maxClientCnxns=4").start();
    let mut client = ensemble.client(0);
    let mut command = Command::new(zokor());
    command.args(["bench", "--hosts", &ensemble.address(0).to_string(), "--connections", "9"]);
    command.args(["--nodes", "20", "--root", "/waiting", "--duration", "1s"]);
    let run = command.stderr(Stdio::piped()).spawn().expect("the program runs");
    eventually("the last znode is made", || client.exists("/waiting/nodes/00000019", false).ok());
    let pid = Pid::from_child(&run);
    kill_process(pid, Signal::TERM).expect("our own child");
    let output = run.wait_with_output().expect("it ends");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{problem}");
    assert!(problem.contains("ended before all connections were up"), "{problem}");
    eventually("the znodes are gone", || {
        (client.exists("/waiting", false) == Err(ErrorCode::NO_NODE)).then_some(())
    });
}

#[test]
fn what_one_run_left_the_next_one_works_on() {
    let ensemble = Ensemble::trio();
    let first = "--mix set --nodes 300 --connections 1 --count 1 --warm-up 0s --root /again --keep";
    assert!(bench(&ensemble, first).status.success());
    for mix in ["get", "set", "set", "multi=1,sequential=1"] {
        let again = format!("--json --mix {mix} --nodes 300 --count 600 --root /again --reuse");
        let output = bench(&ensemble, &again);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if mix.contains("sequential") {
            // No run before has made their parent.
            let problem = String::from_utf8_lossy(&output.stderr).into_owned();
            let words = "finding /again/sequential failed with NoNode: --reuse needs";
            assert!(problem.contains(words), "{problem}");
        } else {
            assert!(output.status.success(), "{output:?}");
            assert_eq!(done(&text, mix), 600);
        }
    }
    let mut client = ensemble.client(0);
    client.sync("/").expect("sync");
    // The nodes, and what is above them.
    assert_eq!(client.count_descendants("/again"), Ok(301));
    let stat = client.exists("/again/nodes/00000299", false).expect("it is there");
    assert!(stat.version > 0, "{stat:?}");
}

#[test]
fn what_no_run_left_is_not_worked_on() {
    let ensemble = Ensemble::standalone();
    for (arguments, words) in [
        ("--root /none --reuse", "failed with NoNode: --reuse needs what a run with the same"),
        ("--root /none --reuse --mix create", "create and delete need a root of their own"),
        ("--reuse", "--root"),
    ] {
        let output = bench(&ensemble, arguments);
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && problem.contains(words), "{arguments}: {problem}");
    }
    is_empty(&ensemble);
}

#[test]
fn servers_that_want_clients_to_authenticate_are_told_of_in_words() {
    let settings = ["enforce.auth.enabled=true", "enforce.auth.schemes=digest"];
    let ensemble = Ensemble::of(1).line(settings[0]).line(settings[1]).start();
    let output = bench(&ensemble, "--count 10");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{problem}");
    assert!(problem.contains("the servers want clients that authenticate"), "{problem}");
}

#[test]
fn a_place_that_cannot_be_is_refused_before_anything_is_asked() {
    for (host, words) in [
        ("127.0.0.1:99999", "\"99999\" is no port from 1 to 65535"),
        ("127.0.0.1:2181/app", "--root says below which znode"),
        ("nobody.invalid:2181", "nobody.invalid:2181 cannot be looked up: "),
    ] {
        let output = Command::new(zokor()).args(["bench", "--hosts", host]).output();
        let output = output.expect("the program runs");
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && problem.contains(words), "{host}: {problem}");
    }
}
