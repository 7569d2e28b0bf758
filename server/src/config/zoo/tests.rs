//! Tests of `zoo.cfg` as a whole: what is read, every error, every warning.

use std::fs;
use std::time::Duration;

use zokor_core::db::Rules;

use super::super::member::PeerAddress;
use super::*;

/// A folder with a data folder, and perhaps `myid`, in it.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(myid: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        if let Some(text) = myid {
            fs::write(dir.path().join("data/myid"), text).unwrap();
        }
        Desk { dir }
    }

    /// Reads `text` as `zoo.cfg`; DIR in it stands for the folder.
    fn read(&self, text: &str) -> Result<ZooConfig, ConfigError> {
        self.read_with(text, "")
    }

    /// The same with `flags` in JVMFLAGS.
    fn read_with(&self, text: &str, flags: &str) -> Result<ZooConfig, ConfigError> {
        let here = |text: &str| text.replace("DIR", &self.dir.path().display().to_string());
        let file = self.dir.path().join("zoo.cfg");
        fs::write(&file, here(text)).unwrap();
        ZooConfig::read(&file, &Flags::parse("", &here(flags)))
    }

    /// The error in `text`, with the folder as DIR again.
    fn error(&self, text: &str) -> String {
        let error = self.read(text).expect_err(text).to_string();
        error.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

const ALONE: &str = "dataDir=DIR/data\nclientPort=2181\n";
const TRIO: &str = "dataDir=DIR/data\nclientPort=2181\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
                    server.1=h1:2888:3888\nserver.2=h2:2888:3888\nserver.3=h3:2888:3888\n";

#[test]
fn zookeepers_sample_file_is_a_standalone_server() {
    let desk = Desk::new(None);
    let text = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\n\
                syncLimit=5\ndataDir=DIR/data\nclientPort=2181\n#maxClientCnxns=60\n";
    let config = desk.read(text).unwrap();
    let data_dir = desk.dir.path().join("data");
    let client = HostPort { host: "0.0.0.0".into(), port: 2181 };
    let expected = ZooConfig {
        max_connections_per_address: 60,
        admin: config.admin.clone(),
        file_text: text.replace("DIR", &desk.dir.path().display().to_string()),
        ..ZooConfig::minimal(ServerId(1), data_dir, client)
    };
    assert_eq!(config, expected);
    assert!(config.admin.http.is_some(), "the admin server is on, as in 3.9");
    assert!(config.is_standalone() && config.ensemble().members.is_empty());
}

#[test]
fn defaults_follow_the_tick() {
    let config = Desk::new(None).read(ALONE).unwrap();
    assert_eq!(config.tick_time_ms, 3_000);
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (6_000, 60_000));
    let tree = &config.tree;
    assert_eq!((tree.reap_interval, tree.reap_per_minute), (Duration::from_secs(60), 10_000));
    assert_eq!(tree.reap_unused_after, Duration::ZERO, "for ever");
    let config =
        Desk::new(None).read(&format!("{ALONE}tickTime=500\nmaxSessionTimeout=-1")).unwrap();
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (1_000, 10_000));
}

#[test]
fn every_honoured_key_has_its_effect() {
    let text = format!(
        "{TRIO}dataLogDir=/log\nclientPortAddress=10.0.0.2\nmaxClientCnxns=0\nmaxCnxns=500\n\
         minSessionTimeout=1000\nmaxSessionTimeout=90000\n4lw.commands.whitelist=ruok, mntr\n\
         clientPortListenBacklog=128\nstandaloneEnabled=FALSE\npeerType=participant\n\
         globalOutstandingLimit=77\nsnapCount=1\nsnapSizeLimitInKb=2\nextendedTypesEnabled=true\n\
         autopurge.snapRetainCount=1\nquorumListenOnAllIPs=true\nelectionAlg=3\n\
         skipACL=yes\nenforceQuota=true\nenableEagerACLCheck=true\nemulate353TTLNodes=true\n\
         znode.container.checkIntervalMs=250\nznode.container.maxPerMinute=6\n\
         znode.container.maxNeverUsedIntervalMs=300000\n\
         localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n\
         readonlymode.enabled=true\ndigest.enabled=false\n"
    );
    let config = Desk::new(Some("2\n")).read(&text).unwrap();
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.starts_with("skipACL is set: whoever connects"), "{warning}");
    assert_eq!(config.id, ServerId(2));
    assert_eq!(config.data_log_dir, PathBuf::from("/log"));
    assert_eq!(config.client, HostPort { host: "10.0.0.2".into(), port: 2181 });
    assert_eq!((config.max_connections_per_address, config.max_connections), (0, 500));
    assert_eq!((config.init_limit_ticks, config.sync_limit_ticks), (10, 5));
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (1_000, 90_000));
    assert_eq!(config.four_letter_words.as_deref(), Some("ruok, mntr,isro"));
    assert_eq!(config.client_backlog, Some(128));
    assert_eq!(config.outstanding_limit, Some(77));
    assert_eq!((config.snapshot_entries, config.snapshot_bytes), (2, Some(2_048)));
    assert_eq!(config.snapshots_kept, 3);
    assert!(config.quorum_listen_on_all_ips);
    let rules = Rules { extended_types: true, skip_acl: true, enforce_quota: true, no_room: false };
    let tree = TreeConfig {
        rules,
        eager_acl: true,
        reap_interval: Duration::from_millis(250),
        reap_per_minute: 6,
        reap_unused_after: Duration::from_secs(300),
        compares_states: false,
    };
    assert_eq!(config.tree, tree);
    assert!(config.local_sessions && config.local_upgrading && config.read_only_mode);
}

#[test]
fn skip_acl_is_yes_or_no_as_in_zookeeper() {
    let skips = |text: &str| {
        let read = Desk::new(None).read(&format!("{ALONE}skipACL={text}\n"));
        read.map(|config| config.tree.rules.skip_acl)
    };
    assert_eq!((skips("yes"), skips("no")), (Ok(true), Ok(false)));
    for text in ["true", "YES", "1"] {
        assert!(skips(text).unwrap_err().problem.contains("write yes or no"), "{text}");
    }
}

#[test]
fn only_small_server_ids_have_sessions_of_their_own() {
    let read = |id: u64, alone: bool| {
        let line = if alone { "" } else { "server.ID=h:1:2;3\nserver.1=i:1:2;3\n" };
        let line = line.replace("ID", &id.to_string());
        let limits = "initLimit=10\nsyncLimit=5\nlocalSessionsEnabled=true\n";
        let base = if alone { ALONE } else { "dataDir=DIR/data\n" };
        let read = Desk::new(Some(&id.to_string())).read(&format!("{base}{limits}{line}"));
        read.map(|config| config.local_sessions)
    };
    assert_eq!(read(65_535, false), Ok(true));
    assert_eq!(read(65_536, true), Ok(true), "one that stands alone has none anyway");
    let problem = read(65_536, false).unwrap_err().problem;
    assert!(problem.contains("give it a smaller id"), "{problem}");
}

#[test]
fn extended_types_leave_less_room_for_server_ids() {
    let read = |id: u64, more: &str| {
        let text = format!("{ALONE}{more}\n");
        Desk::new(Some(&id.to_string())).read(&text).map(|config| config.id.0)
    };
    let (extended, emulated) = ("extendedTypesEnabled=true", "\nemulate353TTLNodes=true");
    assert_eq!(read(255, ""), Ok(255));
    assert_eq!(read(255, emulated), Ok(255));
    assert_eq!(read(254, extended), Ok(254));
    assert_eq!(read(127, &format!("{extended}{emulated}")), Ok(127));
    for (id, more) in [(255, extended.to_owned()), (128, format!("{extended}{emulated}"))] {
        let problem = read(id, &more).unwrap_err().problem;
        assert!(problem.contains("give it a smaller id"), "{problem}");
    }
}

#[test]
fn an_ensemble_has_its_canonical_text() {
    let text = "dataDir=DIR/data\ninitLimit=10\nsyncLimit=5\n\
                server.3=h3:2888:3888:observer;2183\nserver.1=h1:2888:3888;h1:2181\n\
                server.2=[::1]:2888:3888;2182\nserver.4=b:1:2|a:3:4;2184\n\
                multiAddress.enabled=true\n";
    let config = Desk::new(Some("1")).read(text).unwrap();
    assert_eq!(
        config.ensemble().to_text(0x1_0000_0000),
        "server.1=h1:2888:3888:participant;h1:2181\n\
         server.2=[0:0:0:0:0:0:0:1]:2888:3888:participant;0.0.0.0:2182\n\
         server.3=h3:2888:3888:observer;0.0.0.0:2183\n\
         server.4=a:3:4|b:1:2:participant;0.0.0.0:2184\n\
         version=100000000"
    );
    assert_eq!(config.client, HostPort { host: "h1".into(), port: 2181 });
    assert_eq!(
        config.own_line().unwrap().addresses,
        [PeerAddress { host: "h1".into(), quorum_port: 2888, election_port: 3888 }]
    );
}

#[test]
fn a_client_port_of_the_static_file_stays_out_of_the_canonical_text() {
    let config = Desk::new(Some("1")).read(TRIO).unwrap();
    assert_eq!(config.own_line().unwrap().canonical(), "h1:2888:3888:participant");
}

#[test]
fn one_server_line_is_standalone_unless_that_is_switched_off() {
    let text = "dataDir=DIR/data\ninitLimit=10\nsyncLimit=5\nserver.7=h:1:2;2187\n";
    let config = Desk::new(None).read(text).unwrap();
    assert!(config.is_standalone());
    assert_eq!((config.id, config.client.port), (ServerId(7), 2187));
    let text = format!("{text}standaloneEnabled=false\n");
    let config = Desk::new(Some("7")).read(&text).unwrap();
    assert_eq!(config.servers.len(), 1);
}

#[test]
fn the_members_may_stand_in_a_dynamic_file() {
    let desk = Desk::new(Some("2"));
    let lines = "server.1=h1:1:2;2181\nserver.2=h2:1:2;2182\nserver.3=h3:1:2;2183\nversion=100\n";
    fs::write(desk.dir.path().join("zoo.cfg.dynamic"), lines).unwrap();
    let text =
        "dataDir=DIR/data\ninitLimit=1\nsyncLimit=1\ndynamicConfigFile=DIR/zoo.cfg.dynamic\n";
    let config = desk.read(text).unwrap();
    assert_eq!((config.servers.len(), config.client.port), (3, 2182));
    assert_eq!(config.warnings, Vec::<String>::new());

    let error = desk.error(&format!("{text}server.1=h1:1:2\n"));
    assert!(error.starts_with("DIR/zoo.cfg, line 5: server.1 cannot stand beside"), "{error}");
    fs::write(desk.dir.path().join("zoo.cfg.dynamic"), format!("{lines}tickTime=1\n")).unwrap();
    let error = desk.error(text);
    assert!(error.starts_with("DIR/zoo.cfg.dynamic, line 5: tickTime cannot stand in"), "{error}");
    fs::remove_file(desk.dir.path().join("zoo.cfg.dynamic")).unwrap();
    let error = desk.error(text);
    assert!(error.starts_with("DIR/zoo.cfg.dynamic: cannot read"), "{error}");
}

#[test]
fn the_client_address_of_file_and_line_must_agree() {
    let with = |address: &str| {
        format!(
            "dataDir=DIR/data\ninitLimit=1\nsyncLimit=1\n{address}\nserver.1=h:1:2;10.0.0.1:2181\n\
             server.2=h:3:4;2182\nserver.3=h:5:6;2183\n"
        )
    };
    let desk = Desk::new(Some("1"));
    let expected = HostPort { host: "10.0.0.1".into(), port: 2181 };
    for agreed in ["", "clientPort=2181", "clientPort=2181\nclientPortAddress=10.0.0.1"] {
        assert_eq!(desk.read(&with(agreed)).unwrap().client, expected, "{agreed}");
    }
    for differing in ["clientPort=2182", "clientPort=2181\nclientPortAddress=10.0.0.9"] {
        let error = desk.error(&with(differing));
        assert!(error.contains("remove one of them"), "{error}");
    }
}

#[test]
fn every_mistake_in_a_standalone_file_is_one_clear_sentence() {
    let table = [
        ("clientPort=1", "DIR/zoo.cfg: dataDir is missing; add a line dataDir="),
        ("dataDir=\nclientPort=1", "DIR/zoo.cfg, line 1: dataDir is missing"),
        ("dataDir=DIR/data", "DIR/zoo.cfg: clientPort is missing"),
        ("dataDir=DIR/data\nsecureClientPort=1", "DIR/zoo.cfg, line 2: clientPort is missing"),
        (
            "dataDir=DIR/data\nclientPortAddress=h",
            "DIR/zoo.cfg, line 2: clientPortAddress is without",
        ),
        (
            "dataDir=DIR/data\nclientPort=",
            "line 2: clientPort is \"\"; write a whole number from 0",
        ),
        ("dataDir=DIR/data\nclientPort=65536", "clientPort is \"65536\"; write a whole number"),
        ("dataDir=DIR/data\nclientPort=21x", "clientPort is \"21x\"; write a whole number"),
        (
            "dataDir=DIR/data\nclientPort=1\ntickTime=0",
            "line 3: tickTime is \"0\"; write a whole number from 1",
        ),
        ("dataDir=DIR/data\nclientPort=1\ntickTime=2s", "line 3: tickTime is \"2s\""),
        ("dataDir=DIR/data\nclientPort=1\ntickTime=99999999999", "tickTime is \"99999999999\""),
        (
            "dataDir=DIR/data\nclientPort=1\ninitLimit=-1",
            "initLimit is \"-1\"; write a whole number",
        ),
        ("dataDir=DIR/data\nclientPort=1\nsyncLimit=x", "syncLimit is \"x\"; write a whole number"),
        (
            "dataDir=DIR/data\nclientPort=1\nminSessionTimeout=0",
            "minSessionTimeout is 0; write milliseconds",
        ),
        ("dataDir=DIR/data\nclientPort=1\nmaxSessionTimeout=-2", "maxSessionTimeout is \"-2\""),
        (
            "dataDir=DIR/data\nclientPort=1\nminSessionTimeout=9\nmaxSessionTimeout=8",
            "line 3: minSessionTimeout (9 ms) is larger than maxSessionTimeout (8 ms",
        ),
        ("dataDir=DIR/data\nclientPort=1\nmaxClientCnxns=-1", "maxClientCnxns is \"-1\""),
        ("dataDir=DIR/data\nclientPort=1\nmaxCnxns=many", "maxCnxns is \"many\""),
        (
            "dataDir=DIR/data\nclientPort=1\nclientPortListenBacklog=-2",
            "clientPortListenBacklog is \"-2\"",
        ),
        (
            "dataDir=DIR/data\nclientPort=1\nglobalOutstandingLimit=0",
            "globalOutstandingLimit is \"0\"",
        ),
        ("dataDir=DIR/data\nclientPort=1\nsnapCount=x", "snapCount is \"x\""),
        ("dataDir=DIR/data\nclientPort=1\nsnapSizeLimitInKb=x", "snapSizeLimitInKb is \"x\""),
        (
            "dataDir=DIR/data\nclientPort=1\nautopurge.snapRetainCount=x",
            "autopurge.snapRetainCount is \"x\"",
        ),
        (
            "dataDir=DIR/data\nclientPort=1\nstandaloneEnabled=yes",
            "standaloneEnabled is \"yes\"; write true or false",
        ),
        (
            "dataDir=DIR/data\nclientPort=1\nextendedTypesEnabled=1",
            "extendedTypesEnabled is \"1\"; write true or false",
        ),
        (
            "dataDir=DIR/data\nclientPort=1\nquorumListenOnAllIPs=",
            "quorumListenOnAllIPs is \"\"; write true or false",
        ),
        (
            "dataDir=DIR/data\nclientPort=1\npeerType=leader",
            "peerType is \"leader\"; write participant or observer",
        ),
        ("dataDir=DIR/data\nclientPort=1\nelectionAlg=0", "electionAlg is \"0\"; remove the line"),
        (
            "dataDir=DIR/data\nclientPort=1\nstandaloneEnabled=false",
            "standaloneEnabled=false needs server lines",
        ),
    ];
    let desk = Desk::new(None);
    for (text, expected) in table {
        let error = desk.error(text);
        assert!(error.starts_with("DIR/zoo.cfg"), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn every_mistake_about_the_members_is_one_clear_sentence() {
    let lines = "dataDir=DIR/data\nclientPort=1\ninitLimit=1\nsyncLimit=1\n";
    let two = "server.1=a:1:2\nserver.2=b:1:2\n";
    let table = [
        (format!("{lines}server.1=a:1:1\n{two}"), "line 5: server.1 has 1 as quorum port and as"),
        (format!("{lines}server.1=a:1\n"), "line 5: server.1 has the address \"a:1\""),
        (format!("{lines}server.x=a:1:2\n"), "line 5: \"server.x\" is no server id"),
        (format!("{lines}server.-1=a:1:2\n"), "line 5: \"server.-1\" is no server id"),
        (format!("{lines}{two}server.1=c:1:2\n"), "line 7: server.1 stands on line 5 already"),
        (format!("{lines}{two}server.01=c:1:2\n"), "line 7: server.1 stands on line 5 already"),
        (format!("{lines}{two}server.257=c:1:2\n"), "line 7: server.1 and server.257 would give"),
        (format!("{lines}server.1=a:1:2:observer\n"), "all servers are observers"),
        (format!("{lines}server.1=a:1:2\nserver.2=b:1:2:observer\n"), "add that line, or more"),
        (
            format!("dataDir=DIR/data\nclientPort=1\nsyncLimit=1\n{two}"),
            "initLimit is missing or 0",
        ),
        (
            format!("dataDir=DIR/data\nclientPort=1\ninitLimit=1\n{two}"),
            "syncLimit is missing or 0",
        ),
    ];
    let desk = Desk::new(Some("1"));
    for (text, expected) in table {
        let error = desk.error(&text);
        assert!(error.starts_with("DIR/zoo.cfg"), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_same_line_twice_is_one_server() {
    let config = Desk::new(Some("1")).read(&format!("{TRIO}server.1=h1:2888:3888\n")).unwrap();
    assert_eq!(config.servers.len(), 3);
}

#[test]
fn myid_must_name_a_server_of_the_ensemble() {
    let table = [
        (None, "DIR/data/myid: the file is missing; write into it which of the servers 1, 2, 3"),
        (Some("4"), "DIR/data/myid: this server is 4, and the configuration has only the servers"),
        (Some(""), "DIR/data/myid: \"\" is no server id"),
        (Some("one"), "DIR/data/myid: \"one\" is no server id"),
        (Some("-1"), "DIR/data/myid: \"-1\" is no server id"),
        (Some("99999999999999999999"), "DIR/data/myid: \"99999999999999999999\" is no server id"),
    ];
    for (myid, expected) in table {
        let error = Desk::new(myid).error(TRIO);
        assert!(error.starts_with(expected), "{myid:?}: {error}");
    }
    for good in ["3", "3\n", " 3 \nrest", "03\r\n"] {
        assert_eq!(Desk::new(Some(good)).read(TRIO).unwrap().id, ServerId(3), "{good:?}");
    }
}

#[test]
fn each_kind_of_key_without_effect_has_one_warning_that_names_all() {
    let text = format!(
        "{ALONE}autopurge.purgeInterval=24\nnio.numWorkerThreads=2\nforceSync=no\n\
         ssl.keyStore.location=/k\nsecureClientPort=2281\nsslQuorum=false\n\
         requireClientAuthScheme=sasl\nquorum.auth.kerberos.servicePrincipal=zkquorum/h\n\
         tikTime=1\nClientPort=3\nzookeeper.superUser=bob\n"
    );
    let flags = "-Dzookeeper.preAllocSize=1 -Dzookeeper.ssl.keyStore.password=hunter2 \
                 -Dzookeeper.magic=1 -Xmx1g -Dzookeeper.tickTime=1";
    let config = Desk::new(None).read_with(&text, flags).unwrap();
    assert_eq!(
        config.warnings,
        [
            "these flags are for a Java machine and have no effect in zokor: -Xmx1g",
            "these settings count in the configuration file alone: -Dzookeeper.tickTime",
            "these settings protect a ZooKeeper server and are NOT in force in zokor, which \
             neither encrypts nor authenticates by them: quorum.auth.kerberos.servicePrincipal, \
             requireClientAuthScheme, secureClientPort, ssl.keyStore.location, \
             -Dzookeeper.ssl.keyStore.password",
            "these settings of ZooKeeper have no effect in zokor: autopurge.purgeInterval, \
             forceSync, nio.numWorkerThreads, -Dzookeeper.preAllocSize",
            "these settings have no effect as they are written; leave out the \"zookeeper.\": \
             zookeeper.superUser",
            "these settings are unknown to ZooKeeper and to zokor, check the spelling: \
             ClientPort, -Dzookeeper.magic, tikTime",
        ]
    );
    assert_eq!(Desk::new(None).read(ALONE).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn doubtful_memberships_are_warned_of() {
    let base = "dataDir=DIR/data\nclientPort=1\ninitLimit=1\nsyncLimit=1\n";
    let desk = Desk::new(Some("1"));
    let warnings = |lines: &str| desk.read(&format!("{base}{lines}")).unwrap().warnings;
    assert_eq!(
        warnings("server.1=a:1:2\nserver.2=b:1:2\n"),
        ["2 participants survive no more failures than 1 would; consider an odd number"]
    );
    let trio = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
    assert_eq!(warnings(trio), Vec::<String>::new());
    assert_eq!(
        warnings(&format!("{trio}peerType=observer\n")),
        ["peerType says something else than the line of server.1; the line counts, and this \
          server is a participant"]
    );
    assert_eq!(
        warnings("server.1=a:1:2;;2281\nserver.2=b:1:2\nserver.3=c:1:2\n"),
        ["server.1 names a TLS port for clients, which is NOT in force: zokor does not speak TLS \
          to clients yet"]
    );
}

#[test]
fn several_addresses_of_a_server_are_refused_unless_they_are_enabled() {
    let desk = Desk::new(Some("1"));
    let base = "dataDir=DIR/data\nclientPort=1\ninitLimit=1\nsyncLimit=1\n";
    let lines = "server.1=a:1:2\nserver.2=b:1:2|c:1:2\nserver.3=c:1:2\n";
    for off in ["", "multiAddress.enabled=false\n"] {
        let error = desk.error(&format!("{base}{off}{lines}"));
        assert!(error.contains("server.2 has 2 addresses, and one is all"), "{error}");
        assert!(error.contains("add a line multiAddress.enabled=true"), "{error}");
    }
    let text = format!("{base}multiAddress.enabled=true\n{lines}");
    let config = desk.read(&text).unwrap();
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.servers[1].addresses.len(), 2);
    assert_eq!(&*config.ensemble().members[1].line, "b:1:2|c:1:2:participant");
    let flag = desk.read_with(&format!("{base}{lines}"), "-Dzookeeper.multiAddress.enabled=true");
    assert_eq!(flag.unwrap().servers, config.servers);
}

#[test]
fn zookeepers_other_command_line_is_a_standalone_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let read = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        ZooConfig::from_arguments(&arguments, &Flags::parse("", "-Dzookeeper.snapCount=9"))
    };
    let config = read(&["2181", &data]).unwrap();
    assert_eq!((config.client.port, config.tick_time_ms), (2181, 3_000));
    assert_eq!(config.snapshot_entries, 9);
    let config = read(&["2181", &data, "500", "7"]).unwrap();
    assert_eq!((config.tick_time_ms, config.max_connections_per_address), (500, 7));
    let error = read(&["x", &data]).unwrap_err().to_string();
    assert_eq!(error, "clientPort is \"x\"; write a whole number from 0 to 65535");
    assert!(read(&["2181"]).unwrap_err().to_string().starts_with("write PORT DATADIR"));
}

#[test]
fn flags_count_like_lines_and_less_than_those_that_are_there() {
    let desk = Desk::new(None);
    let flags = "-Dzookeeper.snapCount=7 -Dzookeeper.snapCount=8 -Dzookeeper.maxCnxns=9";
    let config = desk.read_with(ALONE, flags).unwrap();
    assert_eq!((config.snapshot_entries, config.max_connections), (8, 9));
    let config = desk.read_with(&format!("{ALONE}snapCount=6\n"), flags).unwrap();
    assert_eq!((config.snapshot_entries, config.max_connections), (6, 9));
    assert_eq!(config.warnings, Vec::<String>::new());
    let file = desk.dir.path().join("zoo.cfg");
    fs::write(&file, ALONE.replace("DIR", &desk.dir.path().display().to_string())).unwrap();
    let both = Flags::parse("-Dzookeeper.snapCount=5", "-Dzookeeper.snapCount=4");
    assert_eq!(ZooConfig::read(&file, &both).unwrap().snapshot_entries, 4, "JVMFLAGS come later");
}

#[test]
fn a_mistake_in_a_flag_names_the_variable_and_the_flag() {
    let desk = Desk::new(None);
    let error = desk.read_with(ALONE, "-Dzookeeper.snapCount=x").unwrap_err().to_string();
    assert_eq!(
        error,
        "JVMFLAGS, flag -Dzookeeper.snapCount: snapCount is \"x\"; write a whole number from 0 to \
         2147483647"
    );
    let error = desk.read_with(ALONE, "-Dzookeeper.extendedTypesEnabled").unwrap_err();
    assert!(error.to_string().starts_with("JVMFLAGS, flag -Dzookeeper.extendedTypesEnabled: "));
    let good = format!("{ALONE}snapCount=6\n");
    assert!(desk.read_with(&good, "-Dzookeeper.snapCount=x").is_ok(), "the file's line counts");
}

#[test]
fn an_empty_whitelist_is_one_and_a_server_that_may_be_read_only_says_whether_it_is() {
    let desk = Desk::new(None);
    let words = |lines: &str| desk.read(&format!("{ALONE}{lines}")).unwrap().four_letter_words;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(words(""), None);
    assert_eq!(words("4lw.commands.whitelist=\n"), text(""));
    assert_eq!(words("4lw.commands.whitelist=\nreadonlymode.enabled=true\n"), text(",isro"));
    assert_eq!(words("4lw.commands.whitelist=ruok\nreadonlymode.enabled=false\n"), text("ruok"));
    assert_eq!(words("readonlymode.enabled=true\n"), None, "it is allowed without a list");
}

#[test]
fn wishes_for_another_membership_are_off_unless_they_are_switched_on() {
    let desk = Desk::new(Some("1"));
    let config = desk.read(TRIO).unwrap();
    assert_eq!((config.reconfig_enabled, config.standalone_enabled), (false, true));
    let lines = "reconfigEnabled=true\nstandaloneEnabled=false\n";
    let config = desk.read(&format!("{TRIO}{lines}")).unwrap();
    assert_eq!((config.reconfig_enabled, config.standalone_enabled), (true, false));
    let rules = crate::plan::Plan::new(&config).replica.reconfig;
    assert_eq!((rules.enabled, rules.least_voters), (true, 1));
}

/// Three groups: server 1, server 2 that weighs as much as it likes, and the others.
const GROUPS: &str = "dataDir=DIR/data\ninitLimit=10\nsyncLimit=5\nclientPort=2181\n\
                      server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:1:2\nserver.4=h4:1:2\n\
                      server.5=h5:1:2:observer\n";

#[test]
fn groups_and_weights_are_read_and_shown_as_zookeeper_shows_them() {
    let desk = Desk::new(Some("2"));
    let lines = "group.3=3:4\nweight.4=0\ngroup.1=1\ngroup.2=2\nweight.2=7\n";
    let shown = "group.1=1\ngroup.2=2\ngroup.3=3:4\n\
                 weight.1=1\nweight.2=7\nweight.3=1\nweight.4=0\nversion=0";
    let config = desk.read(&format!("{GROUPS}{lines}")).unwrap();
    assert_eq!(config.groups.to_lines() + "version=0", shown);
    assert!(config.ensemble().to_text(0).ends_with(shown));
    assert_eq!(config.warnings, Vec::<String>::new(), "4 participants are not too many");
    let plan = crate::plan::Plan::new(&config);
    assert_eq!(plan.replica.raft.membership.groups, config.groups);
    assert_eq!(plan.replica.ensemble.groups, config.groups);

    // The same in a dynamic file.
    let (fixed, members) = GROUPS.split_once("server.1").unwrap();
    let dynamic = format!("server.1{members}{lines}version=1f\n");
    fs::write(desk.dir.path().join("zoo.cfg.dynamic"), dynamic).unwrap();
    let text = format!("{fixed}dynamicConfigFile=DIR/zoo.cfg.dynamic\n");
    assert_eq!(desk.read(&text).unwrap().groups, config.groups);
    let error = desk.error(&format!("{text}group.1=1\n"));
    assert!(error.contains("group.1 cannot stand beside dynamicConfigFile"), "{error}");
}

#[test]
fn an_observer_may_stand_in_a_group_if_its_weight_is_named() {
    let desk = Desk::new(Some("2"));
    let lines = "group.1=1:2:3:4:5\nweight.5=0\n";
    let config = desk.read(&format!("{GROUPS}{lines}")).unwrap();
    assert_eq!(config.groups.weight(ServerId(5)), Some(0));
    assert!(config.ensemble().to_text(0).contains("group.1=1:2:3:4:5\n"));
}

#[test]
fn a_standalone_server_has_no_groups() {
    let desk = Desk::new(None);
    let config = desk.read(&format!("{ALONE}server.1=h1:1:2\ngroup.1=1\n")).unwrap();
    assert!(config.is_standalone() && config.groups.is_empty());
    let error = desk.error(&format!("{ALONE}group.1=1\n"));
    assert!(error.contains("there is no server.1 line"), "{error}");
}

#[test]
fn wrong_groups_are_refused_with_advice() {
    let desk = Desk::new(Some("2"));
    for (lines, problem) in [
        ("group.1=1:2:3", "DIR/zoo.cfg: server.4 is in no group; add it to a group.N line"),
        ("weight.1=2", "server.1 is in no group"),
        ("group.1=1:2:3:4\ngroup.2=4", "server.4 stands in groups twice; leave it in one"),
        ("group.1=1:2:2:3:4", "server.2 stands in groups twice"),
        ("group.1=1:2:3:4:9", "line 10: group.1 speaks of server 9, for which there is no"),
        ("group.1=1:2:3:4\nweight.9=1", "line 11: weight.9 speaks of server 9"),
        (
            "group.1=1:2:3:4:5",
            "server.5 observes, is in a group, and has no weight; add weight.5=0",
        ),
        ("group.1=1:2:3:4\nweight.5=1", "server.5 is in no group"),
        ("group.1=1:2:3:4\nweight.2=-1", "line 11: weight.2 is -1, and nothing weighs less"),
        ("group.1=1:2:3:4\nweight.2=two", "weight.2 has \"two\" where a number belongs"),
        ("group.1=1:2:x:4", "group.1 has \"x\" where a number belongs; write group.N=ID:ID"),
        ("group.one=1:2:3:4", "group.one has \"one\" where a number belongs"),
        ("group.1=", "group.1 has \"\" where a number belongs"),
        ("group.1=1:2\ngroup.1=3:4", "line 11: group.1 stands on line 10 already"),
        (
            "group.1=1:2:3:4\nweight.1=0\nweight.2=0\nweight.3=0\nweight.4=0",
            "nothing could ever be decided; give more of them a weight",
        ),
        ("group.1=1:2:3:4:5\nweight.5=9", "nothing could ever be decided"),
    ] {
        let error = desk.error(&format!("{GROUPS}{lines}\n"));
        assert!(error.contains(problem), "{lines}: {error}");
    }
}
