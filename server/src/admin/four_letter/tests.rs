//! Golden answers: what ZooKeeper prints, line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{Member, Zxid};
use zokor_core::replica::{Mode, Sizes, Stats};
use zokor_core::time::WallTime;
use zokor_core::watch::WatchSummary;
use zokor_net::runtime::{ConnectionFacts, Latency, SessionFacts, SessionTable, Traffic};

use super::*;
use crate::version::ZOOKEEPER_VERSION;

const SID: SessionId = SessionId(0x0100_002c_cc2a_0001);
const EST: WallTime = WallTime(1_795_448_516_118);

fn settings() -> Settings {
    Settings {
        client_port: 2181,
        data_dir: PathBuf::from("/nowhere/data"),
        log_dir: PathBuf::from("/nowhere/log"),
        tick_time_ms: 2_000,
        max_connections_per_address: 60,
        min_session_timeout_ms: 4_000,
        max_session_timeout_ms: 40_000,
        client_backlog: None,
        member: None,
    }
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn facts() -> ServerFacts {
    let traffic = Traffic {
        received: 2,
        sent: 2,
        last_operation: "GETD",
        last_xid: Some(Xid(1)),
        last_zxid: Some(Zxid(4)),
        last_reply: Some(Duration::from_millis(2_938_413)),
        latency: Latency {
            count: 2,
            total: us(1_500),
            least: us(400),
            longest: us(1_100),
            last: us(400),
        },
    };
    let client = ConnectionFacts {
        address: "10.1.2.3:47582".parse().unwrap(),
        session: Some(SID),
        timeout: Duration::from_secs(10),
        queued: 0,
        reading: true,
        writing: false,
        since: EST,
        expires: WallTime(EST.0 + 10_000),
        traffic,
    };
    let asking = ConnectionFacts {
        address: "10.1.2.4:47602".parse().unwrap(),
        session: None,
        reading: false,
        traffic: Traffic { received: 1, ..Traffic::default() },
        ..client.clone()
    };
    ServerFacts {
        stats: Stats {
            mode: Mode::Leader,
            serving: true,
            zxid: Zxid(0x3_0000_002a),
            znodes: 7,
            ephemerals: 1,
            data_bytes: 44,
            sessions: 2,
            watches: 3,
            quorum_size: 3,
            learners: 2,
            synced_followers: 2,
            proposal_bytes: Sizes { last: Some(48), min: Some(32), max: Some(210) },
            config_version: 0x1_0000_0000,
            ..Stats::default()
        },
        uptime: Duration::from_millis(90_001),
        leader_uptime: Some(Duration::from_millis(80_001)),
        traffic: Traffic {
            received: 120,
            sent: 119,
            latency: Latency {
                count: 10_000,
                total: us(12_345_000),
                least: us(12),
                longest: us(17_900),
                last: us(12),
            },
            ..Traffic::default()
        },
        connections_rejected: 6,
        membership: "server.1=h1:2888:3888:participant;0.0.0.0:2181\nversion=100000000".to_owned(),
        digests: vec![(Zxid(0x1_0000_0080), 7), (Zxid(0x1_0000_0100), u64::MAX)],
        n_connections: 2,
        connections: vec![client, asking],
        ..ServerFacts::default()
    }
}

fn words(settings: Settings) -> Words {
    Words::new(settings, Whitelist::all())
}

fn ask(word: &str, facts: &ServerFacts) -> String {
    words(settings()).answer(word, facts).text
}

#[test]
fn srvr_is_zookeepers_text() {
    let expected = format!(
        "Zookeeper version: {ZOOKEEPER_VERSION}\nLatency min/avg/max: 0/1.2345/17\n\
         Received: 120\nSent: 119\nConnections: 2\nOutstanding: 0\nZxid: 0x30000002a\n\
         Mode: leader\nNode count: 7\nProposal sizes last/min/max: 48/32/210\n"
    );
    assert_eq!(ask("srvr", &facts()), expected);
}

#[test]
fn only_a_leader_has_proposal_sizes() {
    let mut facts = facts();
    facts.stats.proposal_bytes = Sizes::default();
    assert!(ask("srvr", &facts).ends_with("Proposal sizes last/min/max: -1/-1/-1\n"));
    for mode in [Mode::Follower, Mode::Observer, Mode::Standalone] {
        facts.stats.mode = mode;
        let text = ask("srvr", &facts);
        assert!(text.ends_with(&format!("Mode: {}\nNode count: 7\n", mode.as_str())), "{text}");
    }
}

#[test]
fn stat_lists_the_connections_before_the_rest() {
    let expected = format!(
        "Zookeeper version: {ZOOKEEPER_VERSION}\nClients:\n \
         /10.1.2.3:47582[1](queued=0,recved=2,sent=2)\n \
         /10.1.2.4:47602[0](queued=0,recved=1,sent=0)\n\nLatency min/avg/max: 0/1.2345/17\n"
    );
    let text = ask("stat", &facts());
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.ends_with(ask("srvr", &facts()).split_once('\n').unwrap().1));
}

#[test]
fn cons_shows_all_of_a_connection_with_a_session() {
    let mut facts = facts();
    let known = " /10.1.2.3:47582[1](queued=0,recved=2,sent=2,sid=0x100002ccc2a0001,lop=GETD,\
                 est=1795448516118,to=10000,lcxid=0x1,lzxid=0x4,lresp=2938413,llat=0,minlat=0,\
                 avglat=0,maxlat=1)\n";
    let asking = " /10.1.2.4:47602[0](queued=0,recved=1,sent=0)\n\n";
    assert_eq!(ask("cons", &facts), format!("{known}{asking}"));
    facts.connections[0].writing = true;
    facts.connections[0].address = "[::1]:5".parse().unwrap();
    let traffic = &mut facts.connections[0].traffic;
    (traffic.last_xid, traffic.last_zxid) = (Some(Xid(-2)), None);
    let text = ask("cons", &facts);
    assert!(text.starts_with(" /[0:0:0:0:0:0:0:1]:5[5](queued=0"), "{text}");
    assert!(text.contains(",to=10000,lzxid=0xffffffffffffffff,lresp="), "{text}");
}

#[test]
fn conf_of_a_standalone_server_stops_after_its_id() {
    let expected = "clientPort=2181\nsecureClientPort=-1\ndataDir=/nowhere/data\ndataDirSize=0\n\
                    dataLogDir=/nowhere/log\ndataLogSize=0\ntickTime=2000\nmaxClientCnxns=60\n\
                    minSessionTimeout=4000\nmaxSessionTimeout=40000\n\
                    clientPortListenBacklog=-1\nserverId=0\n";
    assert_eq!(ask("conf", &facts()), expected);
}

#[test]
fn conf_of_a_member_shows_the_ensemble() {
    let line = "h1:2888:3888:participant;0.0.0.0:2181";
    let member = MemberSettings {
        id: ServerId(1),
        init_limit_ticks: 10,
        sync_limit_ticks: 5,
        election_port: 3888,
        quorum_port: 2888,
        is_observer: false,
        ensemble: Ensemble {
            members: vec![Member { id: ServerId(1), line: line.into() }],
            ..Ensemble::default()
        },
    };
    let settings = Settings { member: Some(member), client_backlog: Some(9), ..settings() };
    let text = words(settings).answer("conf", &facts()).text;
    let expected = "clientPortListenBacklog=9\nserverId=1\ninitLimit=10\nsyncLimit=5\n\
                    electionAlg=3\nelectionPort=3888\nquorumPort=2888\npeerType=0\nmembership: \n\
                    server.1=h1:2888:3888:participant;0.0.0.0:2181\nversion=100000000";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn dump_of_a_leader_groups_by_deadline() {
    let mut facts = facts();
    let session = |low: i64, expires| SessionFacts {
        id: SessionId(SID.0 - 1 + low),
        timeout_ms: 10_000,
        expires,
    };
    let due = Some(WallTime(1_795_448_525_000));
    facts.sessions = SessionTable {
        sessions: vec![session(0, due), session(1, due)],
        local: None,
        ephemerals: BTreeMap::from([(SessionId(SID.0 - 1), ["/e".into()].into())]),
    };
    let expected = "SessionTracker dump:\nSession Sets (1)/(2):\n\
                    2 expire at Mon Nov 23 15:42:06 UTC 2026:\n\
                    \t0x100002ccc2a0000\n\t0x100002ccc2a0001\nephemeral nodes dump:\n\
                    Sessions with Ephemerals (1):\n0x100002ccc2a0000:\n\t/e\n\
                    Connections dump:\nConnections Sets (1)/(2):\n\
                    2 expire at Mon Nov 23 15:42:08 UTC 2026:\n\
                    \tip: /10.1.2.3:47582 sessionId: 0x100002ccc2a0001\n\
                    \tip: /10.1.2.4:47602 sessionId: 0x0\n";
    assert_eq!(ask("dump", &facts), expected);
    facts.stats.mode = Mode::Follower;
    facts.sessions.sessions = vec![session(1, None)];
    let text = ask("dump", &facts);
    let expected = "SessionTracker dump:\nGlobal Sessions(1):\n0x100002ccc2a0001\t10000ms\n\
                    ephemeral nodes dump:\n";
    assert!(text.starts_with(expected), "{text}");
    facts.sessions.local = Some(vec![session(0, due)]);
    let text = ask("dump", &facts);
    let expected = "SessionTracker dump:\nLocal Session Sets (1)/(1):\n\
                    1 expire at Mon Nov 23 15:42:06 UTC 2026:\n\t0x100002ccc2a0000\n\
                    Global Sessions(1):\n0x100002ccc2a0001\t10000ms\nephemeral nodes dump:\n";
    assert!(text.starts_with(expected), "{text}");
    facts.stats.mode = Mode::Leader;
    let text = ask("dump", &facts);
    assert!(text.contains("\nGlobal Session Sets (0)/(0):\n"), "{text}");
}

#[test]
fn a_server_that_only_reads_says_so() {
    let mut facts = facts();
    facts.stats.mode = Mode::ReadOnly;
    facts.stats.local_sessions = 3;
    assert_eq!(ask("isro", &facts), "ro");
    for word in ["srvr", "stat"] {
        let text = ask(word, &facts);
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("Zookeeper version: "));
        assert_eq!(lines.next(), Some("READ-ONLY mode; serving only read-only clients"));
        assert!(text.contains("\nMode: read-only\n"), "{text}");
    }
    let text = ask("mntr", &facts);
    assert!(text.contains("zk_server_state\tread-only\n"), "{text}");
    assert!(text.contains("zk_local_sessions\t3\n"), "{text}");
}

#[test]
fn the_words_about_watches_count_and_list_them() {
    let mut facts = facts();
    let other = SessionId(0x2);
    facts.watch_summary = WatchSummary { n_connections: 2, n_paths: 2, n_watches: 3 };
    facts.watches =
        BTreeMap::from([(other, ["/a".into()].into()), (SID, ["/a".into(), "/b".into()].into())]);
    assert_eq!(ask("wchs", &facts), "2 connections watching 2 paths\nTotal watches:3\n");
    assert_eq!(ask("wchc", &facts), "0x2\n\t/a\n0x100002ccc2a0001\n\t/a\n\t/b\n\n");
    assert_eq!(ask("wchp", &facts), "/a\n\t0x2\n\t0x100002ccc2a0001\n/b\n\t0x100002ccc2a0001\n\n");
}

#[test]
fn only_the_words_that_show_much_ask_for_much() {
    for word in Word::ALL {
        let expected = match word {
            Word::Cons | Word::Stat => Detail::Connections,
            Word::Dump => Detail::Sessions,
            Word::Wchs => Detail::WatchSummary,
            Word::Wchc | Word::Wchp => Detail::Watches,
            Word::Conf => Detail::Membership,
            Word::Hash => Detail::Digests,
            Word::Mntr => Detail::Counts,
            _ => Detail::Plain,
        };
        assert_eq!(words(settings()).detail(word.as_str()), expected, "{word:?}");
    }
}

#[test]
fn the_short_words_say_their_words() {
    let facts = facts();
    assert_eq!(ask("ruok", &facts), "imok");
    assert_eq!(ask("isro", &facts), "rw");
    assert_eq!(ask("dirs", &facts), "datadir_size: 0\nlogdir_size: 0\n");
    assert_eq!(ask("gtmk", &facts), "306");
    assert_eq!(ask("hash", &facts), "100000080: 7\n100000100: -1\n");
    let reset = |word| words(settings()).answer(word, &facts);
    let (crst, srst) = (reset("crst"), reset("srst"));
    assert_eq!((&*crst.text, crst.reset), ("Connection stats reset.\n", Reset::Connections));
    assert_eq!((&*srst.text, srst.reset), ("Server stats reset.\n", Reset::Server));
}

#[test]
fn mntr_of_a_leader_has_every_gauge_before_all_other_metrics() {
    let expected = format!(
        "zk_version\t{ZOOKEEPER_VERSION}\nzk_server_state\tleader\n\
         zk_peer_state\tleading - broadcast\nzk_avg_latency\t1.2345\n\
         zk_max_latency\t17\nzk_min_latency\t0\nzk_packets_received\t120\n\
         zk_packets_sent\t119\nzk_num_alive_connections\t2\nzk_outstanding_requests\t0\n\
         zk_znode_count\t7\nzk_watch_count\t3\nzk_ephemerals_count\t1\n\
         zk_approximate_data_size\t44\nzk_open_file_descriptor_count\t40\n\
         zk_max_file_descriptor_count\t1024\nzk_followers\t2\nzk_learners\t2\n\
         zk_synced_followers\t2\nzk_synced_non_voting_followers\t0\nzk_synced_observers\t0\n\
         zk_pending_syncs\t0\nzk_last_proposal_size\t48\n\
         zk_max_proposal_size\t210\nzk_min_proposal_size\t32\nzk_leader_uptime\t80001\n\
         zk_quorum_size\t3\nzk_uptime\t90001\n\
         zk_global_sessions\t2\nzk_local_sessions\t0\nzk_connection_drop_probability\t0.0\n\
         zk_last_client_response_size\t-1\n\
         zk_max_client_response_size\t-1\nzk_min_client_response_size\t-1\n\
         zk_auth_failed_count\t0\nzk_outstanding_tls_handshake\t0\n\
         zk_non_mtls_remote_conn_count\t0\nzk_non_mtls_local_conn_count\t0\n\
         zk_quota_refused_count\t0\nzk_quota_soft_limit_exceeded_count\t0\n\
         zk_disk_short_of_room\t0\nzk_disk_room_waits\t0\nzk_growth_refused\t0\n\
         zk_log_repairing\t0\nzk_log_entries_lost\t0\nzk_log_repaired\t0\n\
         zk_scrub_rounds\t0\nzk_scrub_read_bytes\t0\nzk_scrub_damage_found\t0\n\
         zk_scrub_damage_repaired\t0\nzk_scrub_damage_left\t0\nzk_scrub_last_round_ms\t0\n\
         zk_scrub_since_last_round_ms\t-1\n\
         zk_state_in_doubt\t0\nzk_digest_agreements_count\t0\n\
         zk_first_start_waits_for\t0\n\
         zk_looking_count\t0\n"
    );
    let mut lines = Lines::default();
    monitor::put(&mut lines, &facts(), Some((40, 1_024)), None, &AdminCounts::default());
    let text = lines.0;
    assert!(text.starts_with(&expected), "{text}");
    assert!(expected.len() < 4_096, "collectd reads no more");
    assert!(text.contains("zk_connection_rejected\t6\n"), "{text}");
}

#[test]
fn mntr_keeps_the_leaders_keys_to_leaders() {
    let mut facts = facts();
    facts.stats.mode = Mode::Follower;
    let text = ask("mntr", &facts);
    assert!(text.contains("zk_peer_state\tfollowing - broadcast\n"), "{text}");
    assert!(!text.contains("zk_synced_followers"), "{text}");
    assert!(text.contains("zk_synced_observers\t0\n"), "{text}");
    facts.stats.synced_observers = 2;
    let text = ask("mntr", &facts);
    assert!(text.contains("zk_synced_observers\t2\n"), "those that it feeds: {text}");
    (facts.stats.mode, facts.stats.leader) = (Mode::Observer, Some(ServerId(1)));
    facts.stats.fed_by = Some(ServerId(3));
    let text = ask("mntr", &facts);
    assert!(text.contains("zk_observer_master_id\t3\n"), "{text}");
    assert!(!text.contains("zk_synced_observers"), "{text}");
    facts.stats.mode = Mode::Standalone;
    let text = ask("mntr", &facts);
    assert!(text.contains("zk_server_state\tstandalone\n"), "{text}");
    assert!(!text.contains("zk_quorum_size") && !text.contains("zk_peer_state"), "{text}");
}

#[test]
fn averages_have_up_to_four_places() {
    let table = [
        (0, 0, "0.0"),
        (1, 0, "0.0"),
        (1, 1_500, "1.5"),
        (3, 1_000, "0.3333"),
        (3, 2_000, "0.6667"),
        (2, 4_000, "2.0"),
        (8, 100, "0.0125"),
        (1, u64::MAX, "18446744073709551.615"),
    ];
    for (count, total_us, expected) in table {
        let latency = Latency { count, total: us(total_us), ..Latency::default() };
        assert_eq!(report::average_ms(&latency), expected);
    }
}

#[test]
fn without_a_quorum_only_some_words_are_answered() {
    let mut facts = facts();
    facts.stats.serving = false;
    for word in Word::ALL {
        let text = ask(word.as_str(), &facts);
        let ending = if word == Word::Hash { "" } else { "\n" };
        let refused =
            text == format!("This ZooKeeper instance is not currently serving requests{ending}");
        let expected =
            !matches!(word, Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Isro);
        assert_eq!(refused, expected, "{word:?}: {text}");
    }
    assert_eq!(ask("isro", &facts), "null");
    assert_eq!(ask("ruok", &facts), "imok");
}

#[test]
fn a_word_that_is_not_allowed_is_refused_by_name() {
    let words = Words::new(settings(), Whitelist::new(Some("ruok")));
    let text = |word| words.answer(word, &facts()).text;
    assert_eq!(text("stat"), "stat is not executed because it is not in the whitelist.\n");
    assert_eq!(text("crst"), "crst is not executed because it is not in the whitelist.\n");
    assert_eq!(text("ruok"), "imok");
    assert_eq!((text("abcd"), text("RUOK")), (String::new(), String::new()));
    assert_eq!(words.answer("crst", &facts()).reset, Reset::Nothing);
    assert_eq!(words.detail("dump"), Detail::Plain, "what is refused is not gathered");
}

#[test]
fn the_whitelist_follows_zookeepers_rules() {
    use Word::{Conf, Isro, Mntr, Ruok, Srvr, Stat};
    let table: [(Option<&str>, &[Word]); 9] = [
        (None, &[Isro, Mntr, Ruok, Srvr]),
        (Some(""), &[Srvr]),
        (Some("stat"), &[Srvr, Stat]),
        (Some(" stat , ruok,conf "), &[Conf, Ruok, Srvr, Stat]),
        (Some("stat,nope,"), &[Srvr, Stat]),
        (Some("*"), &Word::ALL),
        (Some(" * "), &Word::ALL),
        (Some("stat, *"), &Word::ALL),
        (Some("STAT,ru ok,*s"), &[Srvr]),
    ];
    for (list, allowed) in table {
        let whitelist = Whitelist::new(list);
        for word in Word::ALL {
            assert_eq!(whitelist.allows(word), allowed.contains(&word), "{list:?} {word:?}");
        }
    }
}

#[test]
fn a_folders_size_counts_the_files_below_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), [0; 100]).unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    std::fs::write(dir.path().join("log/b"), [0; 23]).unwrap();
    assert_eq!(folder_bytes(dir.path()), 123);
}

#[test]
fn the_trace_mask_is_what_was_set_last() {
    let words = words(settings());
    let text = |word| words.answer(word, &facts()).text;
    assert_eq!((words.argument_bytes("stmk"), words.argument_bytes("gtmk")), (8, 0));
    words.argument("stmk", &50_i64.to_be_bytes());
    assert_eq!((text("stmk"), text("gtmk")), ("50".to_owned(), "50".to_owned()));
    words.argument("gtmk", &[0; 8]);
    words.argument("stmk", &[0; 7]);
    assert_eq!(text("gtmk"), "50");
    let refused = Words::new(settings(), Whitelist::new(None));
    assert_eq!(refused.argument_bytes("stmk"), 0, "what is refused is not waited for");
}

#[test]
fn what_the_start_took_is_told_until_it_is_set_back() {
    let words = words(settings());
    words.started(Start { load_ms: 21, n_entries: 4 }, None);
    let loads = || words.answer("mntr", &facts()).text.contains("zk_max_dbinittime\t21\n");
    assert!(loads());
    words.answer("srst", &facts());
    assert!(!loads());
}
