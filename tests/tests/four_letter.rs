//! The four-letter words that operators and scripts live by.

use zokor_tests::raw::four_letter;
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
    let mut connection = zokor_tests::raw::Connection::open(shared.address(0)).expect("connect");
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
    assert_eq!(lines[..2], ["SessionTracker dump:", "Session Sets (1)/(1):"], "{text}");
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
    assert_eq!(ask("wchc"), format!("{one}\n\t/a\n{two}\n\t/\n\t/a\n\n"));
    assert_eq!(ask("wchp"), format!("/\n\t{two}\n/a\n\t{one}\n\t{two}\n\n"));
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
    assert!(text.contains("zk_packets_received\t1\nzk_packets_sent\t0\n"), "{text}");
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
    assert!(text.contains("zk_auth_failed_count\t1\n"), "{text}");
}
