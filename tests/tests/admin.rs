//! The admin server: every command, by its fields, and how it is asked.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use zokor_tests::http::{ask, command, get};
use zokor_tests::program::zokor;
use zokor_tests::raw::four_letter;
use zokor_tests::{Ensemble, Program, eventually};

/// The names of a command's fields, but for the two that every answer has.
fn fields(answer: &Value, name: &str) -> BTreeSet<String> {
    let object = answer.as_object().expect("an object");
    assert_eq!(object["command"], name);
    assert_eq!(object["error"], Value::Null, "{answer}");
    names(answer).into_iter().filter(|field| field != "command" && field != "error").collect()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

fn standalone() -> Ensemble {
    Ensemble::of(1).admin().start()
}

#[test]
fn every_command_answers_with_exactly_its_fields_by_each_of_its_names() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    let _client = ensemble.client(0);
    let none = "";
    let settings = "client_port data_dir data_log_dir tick_time max_client_cnxns \
                    min_session_timeout max_session_timeout server_id client_port_listen_backlog";
    let machine = "zookeeper.version host.name java.version java.vendor java.home \
                   java.class.path java.library.path java.io.tmpdir java.compiler os.name os.arch \
                   os.version user.name user.home user.dir os.memory.free os.memory.max \
                   os.memory.total";
    let stats = "version read_only server_stats client_response node_count";
    let listed = format!("{stats} connections secure_connections");
    let table = [
        ("configuration conf config", settings),
        ("connections cons", "connections secure_connections"),
        ("connection_stat_reset crst", none),
        ("dirs", "datadir_size logdir_size"),
        ("dump", "expiry_time_to_session_ids session_id_to_ephemeral_paths"),
        ("environment env envi", machine),
        ("get_trace_mask gtmk", "tracemask"),
        ("hash", "digests"),
        ("initial_configuration icfg", "initial_configuration"),
        ("is_read_only isro", "read_only"),
        ("last_snapshot lsnp", "zxid timestamp"),
        ("observers obsr", "synced_observers observers"),
        ("observer_connection_stat_reset orst", none),
        ("ruok", none),
        ("server_stats srvr", stats),
        ("stats stat", &listed),
        ("stat_reset srst", none),
        ("voting_view", "current_config"),
        ("watch_summary wchs", "num_connections num_paths num_total_watches"),
        ("watches wchc", "session_id_to_watched_paths"),
        ("watches_by_path wchp", "path_to_session_ids"),
        ("zabstate", "voting zabstate"),
    ];
    for (command_names, expected) in table {
        let mut command_names = command_names.split(' ').peekable();
        let first = *command_names.peek().expect("a name");
        for name in command_names {
            assert_eq!(fields(&command(at, name), first), set(expected), "{name}");
        }
    }
    let inner = command(at, "srvr");
    let server_stats = "packets_sent packets_received fsync_threshold_exceed_count \
                        client_response_stats provider_null server_state outstanding_requests \
                        min_latency avg_latency max_latency data_dir_size log_dir_size \
                        last_processed_zxid num_alive_client_connections uptime \
                        auth_failed_count non_mtlsremote_conn_count non_mtlslocal_conn_count";
    assert_eq!(names(&inner["server_stats"]), set(server_stats));
    let sizes = set("last_buffer_size min_buffer_size max_buffer_size");
    assert_eq!(names(&inner["client_response"]), sizes);
    assert_eq!(names(&inner["server_stats"]["client_response_stats"]), sizes);
    let lead = command(at, "lead");
    assert_eq!(lead, json!({"command": "leader", "error": "server is not initialized"}));
}

#[test]
fn monitor_has_the_keys_of_mntr_and_numbers_are_numbers() {
    let ensemble = standalone();
    let text = four_letter(ensemble.address(0), "mntr").expect("an answer");
    let expected = text.lines().filter_map(|line| line.split('\t').next()?.strip_prefix("zk_"));
    for name in ["monitor", "mntr"] {
        let answer = command(ensemble.admin_address(0), name);
        assert_eq!(fields(&answer, "monitor"), expected.clone().map(str::to_owned).collect());
        assert_eq!(answer["server_state"], "standalone");
        assert!(answer["znode_count"].is_u64() && answer["avg_latency"].is_number(), "{answer}");
        assert!(answer["version"].is_string());
    }
}

#[test]
fn the_system_properties_are_what_a_java_server_would_have_and_no_secret_among_them() {
    if !Program::promises("settings as properties") {
        return;
    }
    let ensemble = Ensemble::of(1)
        .admin()
        .line("snapCount=777")
        .line("DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
        .flag("-Dzookeeper.globalOutstandingLimit=999")
        .start();
    let at = ensemble.admin_address(0);
    let answer = command(at, "sysp");
    assert_eq!(answer["zookeeper.snapCount"], "777");
    assert_eq!(answer["zookeeper.globalOutstandingLimit"], "999");
    assert!(answer["os.name"].is_string() && answer.get("zookeeper.tickTime").is_none());
    assert_eq!(answer["zookeeper.DigestAuthenticationProvider.superDigest"], "***");
    let answer = command(at, "icfg");
    let text = answer["initial_configuration"].as_str().expect("a text");
    assert!(text.contains("\nsnapCount=777\n") && text.contains("tickTime=500\n"), "{text}");
    assert!(!text.contains("InIHSb7yEEbrWz8b9l71RjZJU"), "{text}");
}

#[test]
fn connections_and_dump_tell_of_sessions_and_what_they_own() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    let mut client = ensemble.client(0);
    client.create("/e", b"", 1).expect("created");
    let session = client.session();
    let answer = command(at, "cons");
    let [connection] = &answer["connections"].as_array().expect("a list")[..] else {
        panic!("{answer}")
    };
    let expected = "remote_socket_address interest_ops outstanding_requests packets_received \
                    packets_sent session_id last_operation established session_timeout \
                    last_cxid last_zxid last_response_time last_latency min_latency avg_latency \
                    max_latency";
    assert_eq!(names(connection), set(expected));
    assert_eq!(connection["session_id"], session);
    assert_eq!(connection["last_operation"], "CREA");
    assert_eq!(connection["session_timeout"], 30_000);
    let address = connection["remote_socket_address"].as_str().expect("a text");
    address.parse::<SocketAddr>().expect("an address without anything before it");
    let brief = set(
        "remote_socket_address interest_ops outstanding_requests packets_received packets_sent",
    );
    let answer = command(at, "stat");
    assert_eq!(names(&answer["connections"][0]), brief);
    assert_eq!(answer["secure_connections"], json!([]));
    let answer = command(at, "dump");
    let owned = json!({ session.to_string(): ["/e"] });
    assert_eq!(answer["session_id_to_ephemeral_paths"], owned);
    let due = answer["expiry_time_to_session_ids"].as_object().expect("an object");
    assert!(due.values().any(|ids| ids.as_array().expect("a list").contains(&json!(session))));
    assert!(due.keys().all(|due| due.parse::<i64>().is_ok()), "{answer}");
}

#[test]
fn watches_are_told_by_session_and_by_path() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    let (mut a, mut b) = (ensemble.client(0), ensemble.client(0));
    a.create("/w", b"", 0).expect("created");
    // More than one part of an answer holds.
    for n in 0..1_500 {
        a.exists(&format!("/none-{n}"), true).expect_err("it is not there");
    }
    for client in [&mut a, &mut b] {
        client.get_data("/w", true).expect("it is there");
    }
    b.children("/w", true).expect("it is there");
    let summary = command(at, "wchs");
    assert_eq!(summary["num_connections"], 2);
    assert_eq!(
        (&summary["num_paths"], &summary["num_total_watches"]),
        (&json!(1_501), &json!(1_502))
    );
    let watches = command(at, "wchc");
    let by_session = &watches["session_id_to_watched_paths"];
    assert_eq!(by_session[b.session().to_string()], json!(["/w"]));
    let of_a: BTreeSet<&str> = by_session[a.session().to_string()]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(of_a.len(), 1_501);
    let watches = command(at, "wchp");
    let by_path = watches["path_to_session_ids"].as_object().expect("an object");
    assert_eq!(by_path.len(), 1_501);
    let sessions = by_path["/w"].as_array().expect("a list").iter().filter_map(Value::as_i64);
    assert_eq!(sessions.collect::<BTreeSet<_>>(), [a.session(), b.session()].into());
}

#[test]
fn counters_are_set_back_and_the_trace_mask_is_kept() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    let mut client = ensemble.client(0);
    client.create("/a", b"", 0).expect("created");
    assert!(command(at, "cons")["connections"][0]["packets_received"].as_u64() > Some(0));
    command(at, "crst");
    assert_eq!(command(at, "cons")["connections"][0]["packets_received"], 0);
    assert!(command(at, "srvr")["server_stats"]["packets_received"].as_u64() > Some(0));
    command(at, "srst");
    assert_eq!(command(at, "srvr")["server_stats"]["packets_received"], 0);
    assert_eq!(command(at, "gtmk")["tracemask"], 306);
    assert_eq!(command(at, "stmk?traceMask=50")["tracemask"], 50);
    assert_eq!(command(at, "gtmk")["tracemask"], 50);
    let needs = "setTraceMask requires long traceMask argument";
    let answer = command(at, "stmk");
    assert_eq!(answer, json!({"command": "set_trace_mask", "error": needs}));
    assert_eq!(command(at, "stmk?traceMask=x")["error"], format!("{needs}, got x"));
    assert_eq!(command(at, "gtmk")["tracemask"], 50);
}

#[test]
fn digests_are_listed_and_say_that_they_are_not_zookeepers() {
    if !Program::promises("digests of its own") {
        return;
    }
    let ensemble = standalone();
    let mut client = ensemble.client(0);
    for _ in 0..260 {
        client.set_data("/", b"", -1).expect("the root takes data");
    }
    let answer = command(ensemble.admin_address(0), "hash");
    let digests = answer["digests"].as_array().expect("a list");
    assert!(digests.len() >= 2, "{answer}");
    for digest in digests {
        assert_eq!(names(digest), set("zxid digest digest_version"));
        assert_eq!(digest["zxid"].as_i64().expect("a number") % 128, 0);
        assert_eq!(digest["digest_version"], 0);
    }
}

#[test]
fn an_ensemble_tells_who_leads_who_votes_and_who_observes() {
    let ensemble = Ensemble::of(3).observers(1).admin().start();
    let leader = ensemble.wait_for_leader();
    let id = leader as u64 + 1;
    eventually("the observer is in step", || {
        let answer = command(ensemble.admin_address(leader), "obsr");
        (answer["synced_observers"] == 1).then_some(())
    });
    for index in 0..3 {
        let at = ensemble.admin_address(index);
        let lead = command(at, "lead");
        assert_eq!(fields(&lead, "leader"), set("is_leader leader_id leader_ip"));
        assert_eq!(lead["is_leader"], index == leader);
        assert_eq!((&lead["leader_id"], &lead["leader_ip"]), (&json!(id), &json!("127.0.0.1")));
        let view = &command(at, "voting_view")["current_config"];
        assert_eq!(names(view), set("1 2"));
        let member = "server_addresses election_addresses client_address learner_type";
        assert_eq!(names(&view["1"]), set(member));
        assert_eq!(view["1"]["learner_type"], "participant");
        let quorum = ensemble.peer_addresses()[0].to_string();
        assert_eq!(view["1"]["server_addresses"], json!([quorum]));
        let zab = command(at, "zabstate");
        let state = "myid is_leader quorum_address election_address client_address voting \
                     last_zxid zab_epoch zab_counter zabstate";
        assert_eq!(fields(&zab, "zabstate"), set(state));
        assert_eq!((&zab["myid"], &zab["zabstate"]), (&json!(index + 1), &json!("broadcast")));
        assert_eq!(
            (&zab["voting"], &zab["is_leader"]),
            (&json!(index < 2), &json!(index == leader))
        );
        assert_eq!(zab["client_address"], ensemble.address(index).to_string());
        assert_eq!(zab["quorum_address"]["one"], ensemble.peer_addresses()[2 * index].to_string());
        assert!(zab["last_zxid"].as_str().is_some_and(|zxid| zxid.starts_with("0x")), "{zab}");
        let stats = command(at, "srvr");
        assert_eq!(stats.get("proposal_stats").is_some(), index == leader);
        let observers = command(at, "obsr");
        assert_eq!(
            observers["observers"].as_array().map(Vec::len),
            Some(usize::from(index == leader))
        );
    }
}

#[test]
fn observers_are_told_of_with_what_went_over_their_connections() {
    let ensemble = Ensemble::of(3).observers(1).admin().start();
    let leader = ensemble.wait_for_leader();
    let at = ensemble.admin_address(leader);
    let mut client = ensemble.client(2);
    for n in 0..20 {
        client.create(&format!("/{n}"), b"", 0).expect("created");
    }
    let observer = || {
        let answer = command(at, "observers");
        let observers = answer["observers"].as_array().expect("a list").clone();
        assert_eq!(observers.len(), 1, "{answer}");
        observers[0].clone()
    };
    let found = observer();
    let expected = "remote_socket_address sid established queued_packets queued_packets_size \
                    packets_received packets_sent requests last_zxid";
    assert_eq!(names(&found), set(expected));
    assert_eq!(found["sid"], 3);
    assert!(
        found["remote_socket_address"].as_str().is_some_and(|it| it.starts_with("/127.0.0.1:"))
    );
    assert!(found["packets_sent"].as_u64() >= Some(20), "{found}");
    assert!(found["established"].as_u64() > Some(1_700_000_000_000));
    if Program::promises("requests of observers counted") {
        assert!(found["requests"].as_u64() >= Some(20), "{found}");
    }
    command(at, "orst");
    let reset = observer();
    assert!(reset["packets_sent"].as_u64() < found["packets_sent"].as_u64(), "{reset}");
    assert!(reset["requests"].as_u64() < Some(20), "{reset}");
    assert_eq!(reset["established"], found["established"]);
}

#[test]
fn without_a_quorum_only_some_commands_are_answered() {
    let mut ensemble = Ensemble::of(3).admin().start();
    let at = ensemble.admin_address(0);
    ensemble.kill(1);
    ensemble.kill(2);
    let refusal = "This ZooKeeper instance is not currently serving requests";
    eventually("it has noticed", || (command(at, "ruok")["error"] == refusal).then_some(()));
    for name in ["conf", "cons", "dump", "srvr", "stat", "wchc", "lsnp", "hash", "isro", "icfg"] {
        let answer = command(at, name);
        assert_eq!(answer["error"], refusal, "{name}");
        assert_eq!(names(&answer), set("command error"), "{name}");
    }
    if Program::promises("commands of 3.9") {
        for path in ["/commands/snapshot", "/commands/snap"] {
            assert_eq!(get(at, path).json()["error"], refusal);
        }
        let body = b"{\"percentage\":1}";
        let posted = ask(at, "POST", "/commands/shed", &[], body).expect("an answer");
        assert_eq!(posted.json()["error"], refusal);
    }
    for name in ["envi", "gtmk", "sysp", "zabstate"] {
        assert_eq!(command(at, name)["error"], Value::Null, "{name}");
    }
    if Program::promises("what it says while it has no leader") {
        assert_eq!(command(at, "zabstate")["zabstate"], "election");
        assert_eq!(command(at, "mntr")["peer_state"], "looking");
    }
}

#[test]
fn the_list_of_commands_is_a_page_of_links() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    for path in ["/commands", "/commands/"] {
        let answer = get(at, path);
        let page = answer.text();
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], "<a href=\"/commands/configuration\">configuration</a>");
        assert!(lines.iter().skip(1).step_by(2).all(|line| *line == "<br/>"), "{page}");
        let links: Vec<&str> = lines.iter().step_by(2).copied().collect();
        assert!(links.is_sorted() && links.len() >= 26, "{page}");
    }
}

#[test]
fn what_is_unknown_is_told_so() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    for name in ["nope", "ruok/x", "RUOK", "a\u{22}b"] {
        let answer = command(at, &name.replace('"', "%22"));
        assert_eq!(answer["error"], format!("Unknown command: {name}"));
        assert_eq!(answer["command"], name);
    }
    for path in ["/", "/nope", "/commandsx", "/commands2/ruok"] {
        assert_eq!(get(at, path).status, 404, "{path}");
    }
}

#[test]
fn an_answer_looks_as_zookeepers_does() {
    let ensemble = standalone();
    let answer = get(ensemble.admin_address(0), "/commands/ruok");
    assert_eq!(answer.text(), "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}");
    assert_eq!(answer.header("content-length"), Some("42"));
}

#[test]
fn each_method_has_its_answer() {
    let ensemble = standalone();
    let at = ensemble.admin_address(0);
    let status = |method: &str, path: &str| {
        let answer = ask(at, method, path, &[], b"").expect("an answer");
        (answer.status, answer.body.len())
    };
    assert_eq!(status("HEAD", "/commands/ruok"), (200, 0));
    for path in ["/commands/ruok", "/commands", "/", "/metrics"] {
        assert_eq!(status("TRACE", path), (403, 0), "{path}");
    }
    assert_eq!(status("OPTIONS", "/commands/ruok").0, 200);
    for method in ["PUT", "DELETE", "PATCH", "POST", "NONSENSE"] {
        let (status, _) = status(method, "/commands/ruok");
        assert!([405, 501].contains(&status), "{method}: {status}");
    }
    if Program::promises("commands that are posted") {
        for path in ["/commands/restore", "/commands/shed"] {
            assert_eq!(status("GET", path).0, 405, "{path}");
        }
    }
}

#[test]
fn the_admin_server_can_be_switched_off_and_be_elsewhere() {
    let off = Ensemble::standalone();
    assert!(std::net::TcpStream::connect(off.admin_address(0)).is_err());
    let ensemble = Ensemble::of(1).admin().line("admin.commandURL=/zoo/ask").start();
    let at = ensemble.admin_address(0);
    assert_eq!(get(at, "/zoo/ask/ruok").json()["command"], "ruok");
    assert!(get(at, "/zoo/ask").text().contains("<a href=\"/zoo/ask/ruok\">"));
    assert_eq!(get(at, "/commands/ruok").status, 404);
}

#[test]
fn a_port_in_use_is_one_warning_and_clients_are_served() {
    if !Program::promises("a standalone server goes on without its admin server") {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let ensemble = Ensemble::of(1)
        .line("admin.enableServer=true")
        .line("admin.serverAddress=127.0.0.1")
        .line(&format!("admin.serverPort={port}"))
        .start();
    let log = eventually("it is told", || {
        let log = ensemble.server(0).log();
        log.contains("admin server").then_some(log)
    });
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("admin server")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains(&port.to_string()), "{log}");
    ensemble.client(0).create("/a", b"", 0).expect("clients are served");
}

#[test]
fn it_is_served_at_an_ipv6_address() {
    if !Program::promises("a line of the log that tells where it is") {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("left out: this machine has no IPv6");
        return;
    }
    for host in ["::1", "[::1]"] {
        let ensemble = Ensemble::of(1)
            .line("admin.enableServer=true")
            .line(&format!("admin.serverAddress={host}"))
            .line("admin.serverPort=0")
            .start();
        let address = eventually("the log tells where it is", || {
            let log = ensemble.server(0).log();
            let address = log.split("the admin server is at http://").nth(1)?;
            address.split_once("/commands").map(|(address, _)| address.to_owned())
        });
        let at: SocketAddr = address.parse().expect("an address");
        assert!(at.is_ipv6());
        assert_eq!(command(at, "ruok")["error"], Value::Null);
    }
}

#[test]
fn a_key_that_would_protect_it_and_cannot_refuses_the_start() {
    if !Program::promises("no TLS") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("zoo.cfg");
    for (line, expected) in [
        ("admin.forceHttps=true", "admin.forceHttps asks for TLS on the admin server"),
        ("admin.needClientAuth=true", "admin.needClientAuth asks for TLS on the admin server"),
        ("admin.serverPort=x", "admin.serverPort is \"x\"; write a whole number"),
    ] {
        let data = folder.path().join("data");
        let text = format!("dataDir={}\nclientPort=0\n{line}\n", data.display());
        std::fs::write(&config, text).expect("written");
        let output = std::process::Command::new(zokor()).arg("serve").arg(&config).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{line}: {said}");
    }
}
