//! The four-letter words that operators and scripts live by.

use std::collections::BTreeMap;

use zokor_tests::raw::{Connection, four_letter};
use zokor_tests::shape::{check, fits};
use zokor_tests::{Ensemble, Program, Shared};

#[test]
fn ruok_is_imok_without_a_line_end() {
    let shared = Shared::join();
    for address in shared.addresses() {
        assert_eq!(four_letter(address, "ruok").expect("an answer"), "imok");
        assert_eq!(four_letter(address, "ruok\n").expect("an answer"), "imok");
    }
}

#[test]
fn isro_is_rw() {
    let shared = Shared::join();
    assert_eq!(four_letter(shared.address(0), "isro").expect("an answer"), "rw");
}

#[test]
fn srvr_has_its_lines_in_their_order() {
    let shared = Shared::join();
    let mut modes = Vec::new();
    for address in shared.addresses() {
        let text = four_letter(address, "srvr").expect("an answer");
        let lines: Vec<&str> = text.lines().collect();
        check_server_lines(&lines);
        let mode = lines[7].strip_prefix("Mode: ").expect("the eighth line is the mode");
        assert_eq!(mode == "leader", lines.len() == 10, "proposal sizes are the leader's");
        if let Some(last) = lines.get(9) {
            let sizes = last.strip_prefix("Proposal sizes last/min/max: ").expect("the sizes");
            assert_eq!(sizes.split('/').filter(|n| n.parse::<i64>().is_ok()).count(), 3);
        }
        assert!(text.ends_with('\n'));
        modes.push(mode.to_owned());
    }
    modes.sort();
    assert_eq!(modes, ["follower", "follower", "leader"]);
}

fn check_server_lines(lines: &[&str]) {
    assert!(lines[0].starts_with("Zookeeper version: "), "{lines:?}");
    let latency = lines[1].strip_prefix("Latency min/avg/max: ").expect("the second line");
    let numbers: Vec<f64> = latency.split('/').map(|n| n.parse().expect("a number")).collect();
    assert_eq!(numbers.len(), 3);
    let starts = ["Received: ", "Sent: ", "Connections: ", "Outstanding: "];
    for (line, start) in lines[2..].iter().zip(starts) {
        let number = line.strip_prefix(start).unwrap_or_else(|| panic!("{start:?} in {lines:?}"));
        number.parse::<u64>().expect("a number");
    }
    let zxid = lines[6].strip_prefix("Zxid: 0x").expect("the seventh line");
    u64::from_str_radix(zxid, 16).expect("a hexadecimal number");
    assert!(lines[7].starts_with("Mode: "), "{lines:?}");
    let count = lines[8].strip_prefix("Node count: ").expect("the ninth line");
    assert!(count.parse::<u64>().expect("a number") >= 5);
}

#[test]
fn stat_lists_the_clients_between_version_and_numbers() {
    let ensemble = Ensemble::standalone();
    let _client = ensemble.client(0);
    let text = four_letter(ensemble.address(0), "stat").expect("an answer");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "Clients:");
    let end = lines.iter().position(|line| line.is_empty()).expect("an empty line ends the list");
    assert_eq!(end, 4, "a client and this very question: {text}");
    for line in &lines[2..end] {
        assert!(line.starts_with(" /127.0.0.1:"), "{line:?}");
        let (_, rest) = line.split_once('[').expect("interest in brackets");
        let (bits, rest) = rest.split_once(']').expect("interest in brackets");
        bits.parse::<u8>().expect("a number");
        assert!(rest.starts_with("(queued=") && rest.ends_with(')'), "{line:?}");
        assert!(rest.contains(",recved=") && rest.contains(",sent="), "{line:?}");
    }
    let without_clients: Vec<&str> = [&lines[..1], &lines[end + 1..]].concat();
    check_server_lines(&without_clients);
    assert_eq!(without_clients[7], "Mode: standalone");
    assert_eq!(without_clients[8], "Node count: 5");
}

#[test]
fn mntr_has_the_keys_that_monitoring_looks_for() {
    let shared = Shared::join();
    let leader = shared.wait_for_leader();
    for index in 0..3 {
        let text = four_letter(shared.address(index), "mntr").expect("an answer");
        let pairs: Vec<(&str, &str)> = text
            .lines()
            .map(|line| line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}")))
            .collect();
        assert!(pairs.iter().all(|(key, _)| key.starts_with("zk_")), "{text}");
        assert_eq!((pairs[0].0, pairs[1].0), ("zk_version", "zk_server_state"));
        let state = if index == leader { "leader" } else { "follower" };
        assert_eq!(pairs[1].1, state);
        let value = |key: &str| {
            let pair = pairs.iter().find(|pair| pair.0 == key);
            pair.unwrap_or_else(|| panic!("no {key} in\n{text}")).1
        };
        for key in [
            "zk_avg_latency",
            "zk_max_latency",
            "zk_min_latency",
            "zk_packets_received",
            "zk_packets_sent",
            "zk_num_alive_connections",
            "zk_outstanding_requests",
            "zk_znode_count",
            "zk_watch_count",
            "zk_ephemerals_count",
            "zk_approximate_data_size",
            "zk_open_file_descriptor_count",
            "zk_max_file_descriptor_count",
        ] {
            value(key).parse::<f64>().unwrap_or_else(|_| panic!("{key} is {}", value(key)));
        }
        if index == leader {
            assert_eq!(value("zk_synced_followers"), "2");
        }
    }
}

#[test]
fn mntr_counts_znodes_watches_and_ephemerals() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/a", b"", 0).expect("create");
    client.create("/e", b"", 1).expect("create");
    client.get_data("/a", true).expect("it is there");
    let text = four_letter(ensemble.address(0), "mntr").expect("an answer");
    for line in ["zk_znode_count\t7", "zk_watch_count\t1", "zk_ephemerals_count\t1"] {
        assert!(text.lines().any(|other| other == line), "{line:?} in\n{text}");
    }
    assert!(text.contains("zk_server_state\tstandalone\n"));
}

#[test]
fn dear_words_are_refused_unless_the_whitelist_says_more() {
    let ensemble = Ensemble::of(1).without_whitelist().start();
    let refused =
        |word: &str| format!("{word} is not executed because it is not in the whitelist.\n");
    // With zokor, `ruok`, `isro` and `mntr` are open: cheap, and health checks want them.
    for word in ["stat", "dump", "cons", "wchc"] {
        let answer = four_letter(ensemble.address(0), word).expect("an answer");
        assert_eq!(answer.trim_end(), refused(word).trim_end());
    }
    let ensemble = Ensemble::of(1)
        .without_whitelist()
        .line("4lw.commands.whitelist=ruok, mntr, nonsense")
        .start();
    assert_eq!(four_letter(ensemble.address(0), "ruok").expect("an answer"), "imok");
    assert!(four_letter(ensemble.address(0), "mntr").expect("an answer").starts_with("zk_"));
    let answer = four_letter(ensemble.address(0), "stat").expect("an answer");
    assert_eq!(answer.trim_end(), refused("stat").trim_end());
}

#[test]
fn a_server_without_a_quorum_says_that_it_does_not_serve() {
    let mut ensemble = Ensemble::trio();
    ensemble.kill(0);
    ensemble.kill(1);
    let address = ensemble.address(2);
    let expected = "This ZooKeeper instance is not currently serving requests";
    zokor_tests::eventually("the last server notices", || {
        let answer = four_letter(address, "srvr").ok()?;
        (answer.trim_end() == expected).then_some(())
    });
    assert_eq!(four_letter(address, "ruok").expect("an answer"), "imok");
}

#[test]
fn an_unknown_word_is_closed_without_an_answer() {
    let shared = Shared::join();
    let mut connection = Connection::open(shared.address(0)).expect("connect");
    connection.send_bytes(b"nope").expect("sent");
    assert!(connection.is_closed_by_server());
    if Program::promises("dump and the like are answered or refused, never hung") {
        for word in ["conf", "cons", "dump", "envi", "wchs", "wchc", "wchp", "dirs", "crst"] {
            four_letter(shared.address(0), word).expect("an answer and an end");
        }
    }
}

#[test]
fn dump_shows_sessions_with_their_deadlines_their_ephemerals_and_connections() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/e", b"", 1).expect("create");
    let session = format!("0x{:x}", client.session());
    let text = four_letter(ensemble.address(0), "dump").expect("an answer");
    let lines: Vec<&str> = text.lines().collect();
    // ZooKeeper may show a set from which all have gone.
    let lines: Vec<&str> =
        lines.into_iter().filter(|line| !line.starts_with("0 expire at ")).collect();
    assert_eq!(lines[0], "SessionTracker dump:", "{text}");
    assert!(fits(lines[1], "Session Sets (#)/(1):"), "{text}");
    assert!(lines[2].starts_with("1 expire at "), "{text}");
    assert_eq!(lines[3], format!("\t{session}"));
    assert_eq!(lines[4..6], ["ephemeral nodes dump:", "Sessions with Ephemerals (1):"], "{text}");
    assert_eq!(lines[6..8], [format!("{session}:"), "\t/e".to_owned()], "{text}");
    assert_eq!(lines[8], "Connections dump:");
    assert!(lines[9].starts_with("Connections Sets (") && lines[9].ends_with("/(2):"), "{text}");
    let connection = lines.iter().find(|line| line.ends_with(&format!(" sessionId: {session}")));
    assert!(connection.is_some_and(|line| line.starts_with("\tip: /127.0.0.1:")), "{text}");
}

#[test]
fn dump_of_a_follower_shows_sessions_without_deadlines() {
    let shared = Shared::join();
    let leader = shared.wait_for_leader();
    let follower = (leader + 1) % 3;
    let client = shared.client(follower);
    let text = four_letter(shared.address(follower), "dump").expect("an answer");
    assert!(text.starts_with("SessionTracker dump:\nGlobal Sessions("), "{text}");
    let line = format!("\n0x{:x}\t", client.session());
    assert!(text.contains(&line), "{text}");
}

#[test]
fn the_words_about_watches_know_who_watches_what() {
    let ensemble = Ensemble::standalone();
    let (mut one, mut two) = (ensemble.client(0), ensemble.client(0));
    one.create("/a", b"", 0).expect("create");
    one.get_data("/a", true).expect("it is there");
    two.get_data("/a", true).expect("it is there");
    two.exists("/", true).expect("it is there");
    two.children("/", true).expect("it is there");
    let ask = |word| four_letter(ensemble.address(0), word).expect("an answer");
    let (one, two) = (format!("0x{:x}", one.session()), format!("0x{:x}", two.session()));
    assert_eq!(ask("wchs"), "2 connections watching 2 paths\nTotal watches:3\n");
    let (wchc, wchp) = (ask("wchc"), ask("wchp"));
    if Program::promises("lists of watches are sorted") {
        assert_eq!(wchc, format!("{one}\n\t/a\n{two}\n\t/\n\t/a\n\n"));
        assert_eq!(wchp, format!("/\n\t{two}\n/a\n\t{one}\n\t{two}\n\n"));
    }
}

#[test]
fn counters_start_anew_when_they_are_told_to() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/a", b"", 0).expect("create");
    let ask = |word| four_letter(ensemble.address(0), word).expect("an answer");
    assert!(ask("cons").contains(",lop=CREA,"));
    assert_eq!(ask("crst"), "Connection stats reset.\n");
    let text = ask("cons");
    assert!(text.contains("recved=0,sent=0,sid=0x"), "{text}");
    assert!(text.contains(",lop=NA,"), "{text}");
    assert_eq!(ask("srst"), "Server stats reset.\n");
    let text = ask("mntr");
    assert!(text.contains("\nzk_packets_received\t1\n"), "{text}");
    assert!(text.contains("\nzk_packets_sent\t1\n"), "the answer to srst itself: {text}");
    assert!(text.contains("zk_last_client_response_size\t-1\n"), "{text}");
    client.get("/a").expect("it is there");
    assert!(!ask("mntr").contains("zk_last_client_response_size\t-1\n"));
}

#[test]
fn credentials_that_are_not_accepted_are_counted() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.authenticate("nonsense", b"x").expect_err("no such scheme");
    let text = four_letter(ensemble.address(0), "mntr").expect("an answer");
    if Program::promises("every refusal is counted, not only those of TLS") {
        assert!(text.contains("zk_auth_failed_count\t1\n"), "{text}");
        four_letter(ensemble.address(0), "srst").expect("an answer");
        let text = four_letter(ensemble.address(0), "mntr").expect("an answer");
        assert!(text.contains("zk_auth_failed_count\t1\n"), "never set back: {text}");
    }
}

/// The lines of `srvr` after the version.
const NUMBERS: [&str; 8] = [
    "Latency min/avg/max: #/$/#",
    "Received: #",
    "Sent: #",
    "Connections: #",
    "Outstanding: #",
    "Zxid: 0x%",
    "Mode: ~",
    "Node count: #",
];
const VERSION: &str = "Zookeeper version: #.#.#-*, built on #-#-# #:# UTC";
const WITH_SESSION: &str = " /127.0.0.1:#[#](queued=#,recved=#,sent=#,sid=0x%,lop=~,est=#,to=#,\
    lcxid=0x%,lzxid=0x%,lresp=#,llat=#,minlat=#,avglat=#,maxlat=#)";
const WITHOUT_SESSION: &str = " /127.0.0.1:#[#](queued=#,recved=1,sent=0)";
const EXPIRE: &str = "# expire at ~ ~ # #:#:# UTC #:";

#[test]
fn every_word_of_a_standalone_server_has_its_shape() {
    let ensemble = Ensemble::standalone();
    let mut client = ensemble.client(0);
    client.create("/e", b"", 1).expect("create");
    client.get_data("/e", true).expect("it is there");
    let ask = |word| four_letter(ensemble.address(0), word).expect("an answer");
    check(&ask("ruok"), &["imok"]);
    check(&ask("isro"), &["rw"]);
    check(&ask("srvr"), &[&[VERSION], &NUMBERS[..], &[""]].concat());
    let stat =
        [&[VERSION, "Clients:", " /127.0.0.1:#[#](queued=#,recved=#,sent=#)..."], &NUMBERS[..]];
    check(&ask("stat"), &[stat[0], &[""], stat[1], &[""]].concat());
    let cons = ask("cons");
    let mut lines: Vec<&str> = cons.split('\n').collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
    assert_eq!(lines.len(), 4, "two connections, an empty line, and its end: {cons}");
    assert!(fits(lines[0], WITH_SESSION) && fits(lines[1], WITHOUT_SESSION), "{cons}");
    check(
        &ask("conf"),
        &[
            "clientPort=#",
            "secureClientPort=-1",
            "dataDir=/~",
            "dataDirSize=#",
            "dataLogDir=/~",
            "dataLogSize=#",
            "tickTime=500",
            "maxClientCnxns=0",
            "minSessionTimeout=1000",
            "maxSessionTimeout=60000",
            "clientPortListenBacklog=-1",
            "serverId=0",
            "",
        ],
    );
    check(
        &ask("dump"),
        &[
            "SessionTracker dump:",
            "Session Sets (#)/(1):",
            "0 expire at *...",
            EXPIRE,
            "\t0x%",
            "ephemeral nodes dump:",
            "Sessions with Ephemerals (1):",
            "0x%:",
            "\t/e",
            "Connections dump:",
            "Connections Sets (#)/(2):",
            EXPIRE,
            "\tip: /127.0.0.1:# sessionId: 0x%...",
            "# expire at ~ ~ # #:#:# UTC #:...",
            "\tip: /127.0.0.1:# sessionId: 0x%...",
            "",
        ],
    );
    check(&ask("wchs"), &["1 connections watching 1 paths", "Total watches:1", ""]);
    check(&ask("wchc"), &["0x%", "\t/e", "", ""]);
    check(&ask("wchp"), &["/e", "\t0x%", "", ""]);
    check(&ask("dirs"), &["datadir_size: #", "logdir_size: #", ""]);
    check(&ask("gtmk"), &["306"]);
    check(&ask("hash"), &[""]);
    check(&ask("crst"), &["Connection stats reset.", ""]);
    check(&ask("srst"), &["Server stats reset.", ""]);
    let envi = ask("envi");
    assert!(
        envi.starts_with("Environment:\nzookeeper.version=") && envi.ends_with("MB\n"),
        "{envi}"
    );
    assert!(envi.contains("\njava.version="), "{envi}");
}

#[test]
fn a_word_may_come_in_pieces_and_with_more_behind_it() {
    let shared = Shared::join();
    let answer = |pieces: &[&[u8]]| {
        let mut connection = Connection::open(shared.address(0)).expect("connect");
        for piece in pieces {
            connection.send_bytes(piece).expect("sent");
            // The pieces are packets of their own: another connection is answered in between.
            four_letter(shared.address(0), "ruok").expect("an answer");
        }
        String::from_utf8(connection.receive_all().expect("an answer")).expect("text")
    };
    assert_eq!(answer(&[b"r", b"u", b"o", b"k"]), "imok");
    assert_eq!(answer(&[b"ru", b"ok\r\n"]), "imok");
    assert_eq!(answer(&[b"ruokstat"]), "imok", "one word a connection");
    assert_eq!(answer(&[b"isro\n\n\n\n"]), "rw");
}

#[test]
fn the_trace_mask_is_set_and_read() {
    let ensemble = Ensemble::standalone();
    let ask = |pieces: &[&[u8]]| {
        let mut connection = Connection::open(ensemble.address(0)).expect("connect");
        for piece in pieces {
            connection.send_bytes(piece).expect("sent");
            if Program::promises("a mask may come after its word") {
                four_letter(ensemble.address(0), "ruok").expect("an answer");
            }
        }
        String::from_utf8(connection.receive_all().expect("an answer")).expect("text")
    };
    assert_eq!(ask(&[b"gtmk"]), "306");
    assert_eq!(ask(&[b"stmk\0\0\0\0\0\0\x01\x02"]), "258");
    assert_eq!(ask(&[b"gtmk"]), "258");
    if Program::promises("a mask may come after its word") {
        assert_eq!(ask(&[b"stmk\xff\xff\xff\xff", b"\xff\xff\xff", b"\xff"]), "-1");
    }
}

#[test]
fn someone_who_says_nothing_keeps_nobody_waiting() {
    let shared = Shared::join();
    let mut silent = Connection::open(shared.address(0)).expect("connect");
    let mut halting = Connection::open(shared.address(0)).expect("connect");
    halting.send_bytes(b"st").expect("sent");
    let client = shared.client(0);
    assert_eq!(four_letter(shared.address(0), "ruok").expect("an answer"), "imok");
    client.close();
    assert_eq!(four_letter(shared.address(0), "ruok").expect("an answer"), "imok");
    silent.send_bytes(b"isro").expect("sent");
    assert_eq!(silent.receive_all().expect("an answer"), b"rw");
}

#[test]
fn the_whitelist_may_hold_a_star_among_words_or_nothing_at_all() {
    let with = |list: &str| {
        let line = format!("4lw.commands.whitelist={list}");
        Ensemble::of(1).without_whitelist().line(&line).start()
    };
    let ensemble = with("ruok, *");
    check(
        &four_letter(ensemble.address(0), "dirs").expect("an answer"),
        &["datadir_size: #", "logdir_size: #", ""],
    );
    let ensemble = with("");
    for word in ["ruok", "mntr", "stat", "stmk"] {
        let refused = format!("{word} is not executed because it is not in the whitelist.");
        let answer = four_letter(ensemble.address(0), word).expect("an answer");
        check(&answer, &[&refused, ""]);
    }
    assert!(four_letter(ensemble.address(0), "srvr").expect("an answer").contains("Mode: "));
}

/// What `mntr` says, by key without `zk_`.
fn monitored(address: std::net::SocketAddr) -> BTreeMap<String, String> {
    let text = four_letter(address, "mntr").expect("an answer");
    let mut pairs = BTreeMap::new();
    for line in text.lines() {
        let pair = line.strip_prefix("zk_").and_then(|line| line.split_once('\t'));
        let (key, value) = pair.unwrap_or_else(|| panic!("{line:?} is no pair"));
        // telegraf: ^zk_(\w+)\s+([\w\.\-]+)
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert!(value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'), "{line}");
        let is_text = ["version", "server_state", "peer_state"].contains(&key);
        assert!(is_text || value.parse::<f64>().is_ok(), "{line}");
        let former = pairs.insert(key.to_owned(), value.to_owned());
        assert_eq!(former, None, "{key} stands there twice");
    }
    pairs
}

#[test]
fn mntr_knows_what_happened_to_this_server() {
    let ensemble = Ensemble::standalone();
    assert_eq!(
        four_letter(ensemble.address(0), "srst").expect("an answer"),
        "Server stats reset.\n"
    );
    let mut client = ensemble.client(0);
    let mut other = ensemble.client(0);
    client.create("/a", b"12345", 0).expect("create");
    for client in [&mut client, &mut other] {
        client.get_data("/a", true).expect("it is there");
    }
    client.set_data("/a", b"", -1).expect("set");
    let session = client.session();
    let resumed = client.resume(ensemble.address(0)).expect("the session goes on");
    assert_eq!(resumed.session(), session);
    drop(resumed);
    let values = zokor_tests::eventually("the connection is gone", || {
        let values = monitored(ensemble.address(0));
        (values["num_alive_connections"] == "2").then_some(values)
    });
    for (key, expected) in [
        ("connection_request_count", "3"),
        ("connection_revalidate_count", "1"),
        ("cnt_node_changed_watch_count", "1"),
        ("sum_node_changed_watch_count", "2"),
        ("cnt_node_created_watch_count", "0"),
        // Twice 16 + 12 + 2 bytes.
        ("watch_bytes", "60"),
        ("cnt_readlatency", "2"),
        ("global_sessions", "2"),
        ("looking_count", "0"),
        ("proposal_count", "0"),
        ("connection_drop_probability", "0.0"),
        ("local_sessions", "0"),
    ] {
        assert_eq!(values[key], expected, "{key}");
    }
    let number = |key: &str| values[key].parse::<f64>().expect("a number");
    // Two sessions, one of them twice, and two writes.
    assert!((4.0..=5.0).contains(&number("cnt_updatelatency")), "{}", values["cnt_updatelatency"]);
    assert!(number("connection_drop_count") >= 1.0);
    assert!(number("bytes_received_count") > 200.0);
    assert!(number("response_bytes") > 200.0);
    assert!(number("cnt_fsynctime") >= 1.0);
    assert!(number("cnt_propagation_latency") >= 4.0);
    assert!(number("p50_updatelatency") <= number("p999_updatelatency"));
    assert!(number("min_updatelatency") <= number("avg_updatelatency"));
    assert!(number("avg_updatelatency") <= number("max_updatelatency"));
    assert!(number("cnt_sync_processor_queue_and_flush_time_ms") >= 1.0);
    four_letter(ensemble.address(0), "srst").expect("an answer");
    let values = monitored(ensemble.address(0));
    for key in ["connection_request_count", "cnt_updatelatency", "watch_bytes", "cnt_fsynctime"] {
        assert_eq!(values[key], "0", "{key}");
    }
    assert_eq!(values["znode_count"], "6", "what is there is not set back");
}

#[test]
fn mntr_of_an_ensemble_tells_leader_from_follower() {
    let mut ensemble = Ensemble::trio();
    let leader = ensemble.wait_for_leader();
    let follower = (leader + 1) % 3;
    let mut client = ensemble.client(follower);
    client.create("/a", b"", 0).expect("create");
    let of_leader = zokor_tests::eventually("both follow in step", || {
        let values = monitored(ensemble.address(leader));
        (values["synced_followers"] == "2").then_some(values)
    });
    let of_follower = monitored(ensemble.address(follower));
    for (key, expected) in [
        ("server_state", "leader"),
        ("peer_state", "leading - broadcast"),
        ("quorum_size", "3"),
        ("learners", "2"),
        ("synced_observers", "0"),
        ("synced_non_voting_followers", "0"),
        ("pending_syncs", "0"),
        ("learner_commit_received_count", "0"),
    ] {
        assert_eq!(of_leader[key], expected, "{key}");
    }
    for key in [
        "commit_count",
        "proposal_count",
        "looking_count",
        "cnt_election_time",
        "leader_uptime",
        "max_proposal_size",
        "cnt_quorum_ack_latency",
    ] {
        let value: f64 = of_leader[key].parse().expect("a number");
        assert!(value >= 1.0, "{key} is {value}");
    }
    assert_eq!(of_follower["peer_state"], "following - broadcast");
    for key in
        ["learner_proposal_received_count", "learner_commit_received_count", "cnt_unavailable_time"]
    {
        assert!(of_follower[key] != "0", "{key}");
    }
    for key in
        ["learners", "synced_followers", "pending_syncs", "leader_uptime", "last_proposal_size"]
    {
        assert!(!of_follower.contains_key(key), "{key} is the leader's");
    }
    let before = |values: &BTreeMap<String, String>| values["cnt_election_time"].clone();
    let (survivor, counted) =
        ((leader + 2) % 3, before(&monitored(ensemble.address((leader + 2) % 3))));
    ensemble.kill(leader);
    zokor_tests::eventually("another election is counted", || {
        let answer = four_letter(ensemble.address(survivor), "mntr").ok()?;
        answer.starts_with("zk_").then_some(())?;
        let values = monitored(ensemble.address(survivor));
        (before(&values) != counted && values["looking_count"] != "1").then_some(())
    });
}

#[test]
fn srst_sets_a_leaders_proposal_sizes_back() {
    let ensemble = Ensemble::trio();
    let leader = ensemble.address(ensemble.wait_for_leader());
    let last = || {
        let text = four_letter(leader, "srvr").expect("an answer");
        text.lines().last().expect("lines").to_owned()
    };
    let mut client = ensemble.client(0);
    client.create("/a", b"", 0).expect("create");
    assert!(fits(&last(), "Proposal sizes last/min/max: #/#/#") && !last().ends_with("-1/-1/-1"));
    assert_eq!(four_letter(leader, "srst").expect("an answer"), "Server stats reset.\n");
    assert_eq!(last(), "Proposal sizes last/min/max: -1/-1/-1");
}

#[test]
fn the_history_of_digests_is_the_same_everywhere() {
    let ensemble = Ensemble::trio();
    let mut client = ensemble.client(0);
    client.create("/a", b"", 0).expect("create");
    for n in 0..300 {
        client.set_data("/a", format!("{n}").as_bytes(), -1).expect("set");
    }
    let lists: Vec<String> = (0..3)
        .map(|index| {
            ensemble.client(index).sync("/").expect("sync");
            four_letter(ensemble.address(index), "hash").expect("an answer")
        })
        .collect();
    check(&lists[0], &["%80: #", "%00: #", ""]);
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:?}");
}
