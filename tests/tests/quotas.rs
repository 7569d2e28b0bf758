//! Quotas as clients set them up, on one server and on three: what is counted, what is refused, and
//! what nobody may stumble over.

use std::fs::OpenOptions;
use std::io::Write as _;

use zokor_tests::client::Part;
use zokor_tests::raw::four_letter;
use zokor_tests::records::{mode, op};
use zokor_tests::{Client, Ensemble, ErrorCode, Program};

const QUOTA: &str = "/zookeeper/quota";

/// As `setquota` does it: the folders, the limits, and the usage.
fn set_quota(client: &mut Client, path: &str, limits: &str) {
    let mut folder = QUOTA.to_owned();
    for name in path.split('/').skip(1) {
        folder = format!("{folder}/{name}");
        match client.create(&folder, b"", mode::PERSISTENT) {
            Ok(_) | Err(ErrorCode::NODE_EXISTS) => {}
            other => panic!("{folder}: {other:?}"),
        }
    }
    let limits_path = format!("{folder}/zookeeper_limits");
    client.create(&limits_path, limits.as_bytes(), mode::PERSISTENT).expect("limits");
    let stats_path = format!("{folder}/zookeeper_stats");
    client.create(&stats_path, b"count=0,bytes=0", mode::PERSISTENT).expect("stats");
}

fn usage(client: &mut Client, path: &str) -> String {
    client.sync("/").expect("sync");
    let data = client.get(&format!("{QUOTA}{path}/zookeeper_stats")).expect("it is there");
    String::from_utf8(data).expect("it is text")
}

/// Every server shows this usage.
fn assert_usage(ensemble: &Ensemble, path: &str, expected: &str) {
    for index in 0..ensemble.len() {
        assert_eq!(usage(&mut ensemble.client(index), path), expected, "server {index}");
    }
}

/// One server alone, and three.
fn ensembles(lines: &[&str]) -> impl Iterator<Item = Ensemble> {
    [1, 3].into_iter().map(move |n_servers| {
        let builder = Ensemble::of(n_servers);
        lines.iter().fold(builder, |builder, line| builder.line(line)).start()
    })
}

#[test]
fn usage_is_counted_in_place_and_outlives_restarts_and_leaders() {
    for mut ensemble in ensembles(&["snapCount=5"]) {
        let last = ensemble.len() - 1;
        let mut client = ensemble.client(0);
        client.create("/q", b"1234", mode::PERSISTENT).expect("create");
        client.create("/q/old", b"12", mode::PERSISTENT).expect("create");
        set_quota(&mut client, "/q", "count=10,bytes=100");
        assert_usage(&ensemble, "/q", "count=2,bytes=6");
        let stats = format!("{QUOTA}/q/zookeeper_stats");
        let before = client.exists(&stats, true).expect("it is there");
        let mut other = ensemble.client(last);
        other.create("/q/new", b"123456", mode::EPHEMERAL).expect("create");
        other.set_data("/q/old", b"", -1).expect("set");
        other.delete("/q/new", -1).expect("delete");
        other.create("/q/old/deep", b"1", mode::PERSISTENT).expect("create");
        client.sync("/").expect("sync");
        assert_eq!(client.events(), [], "no watch tells of it");
        let after = client.exists(&stats, false).expect("it is there");
        assert_eq!((after.version, after.mzxid, after.mtime), (0, before.mzxid, before.mtime));
        assert_usage(&ensemble, "/q", "count=3,bytes=5");
        let leader = if last == 0 { 0 } else { ensemble.wait_for_leader() };
        ensemble.kill(leader);
        if last == 0 {
            ensemble.restart(0);
        }
        ensemble.wait_until_serving();
        let alive = if last == 0 { 0 } else { (leader + 1) % 3 };
        ensemble.client(alive).create("/q/more", b"22", mode::PERSISTENT).expect("create");
        if last != 0 {
            ensemble.restart(leader);
            ensemble.wait_until_serving();
        }
        assert_usage(&ensemble, "/q", "count=4,bytes=7");
    }
}

#[test]
fn a_hard_limit_refuses_what_is_beyond_it_and_a_soft_one_nothing() {
    if !Program::promises("quotas are enforced") {
        return;
    }
    for ensemble in ensembles(&["enforceQuota=true"]) {
        let mut client = ensemble.client(ensemble.len() - 1);
        for path in ["/hard", "/soft"] {
            client.create(path, b"", mode::PERSISTENT).expect("create");
        }
        set_quota(&mut client, "/hard", "count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3");
        set_quota(&mut client, "/soft", "count=1,bytes=1");
        client.create("/soft/a", b"0123456789", mode::PERSISTENT).expect("only soft");
        client.set_data("/soft/a", b"0123456789a", -1).expect("only soft");
        client.create("/hard/a", b"0123456789", mode::PERSISTENT).expect("just full");
        let exceeded = ErrorCode::QUOTA_EXCEEDED;
        assert_eq!(client.create("/hard/b", b"x", mode::PERSISTENT), Err(exceeded));
        assert_eq!(client.create2("/hard/b", b"x", mode::CONTAINER), Err(exceeded));
        assert_eq!(client.set_data("/hard/a", b"0123456789a", 7), Err(exceeded), "not the version");
        client.create("/hard/a/b", b"", mode::PERSISTENT).expect("the third znode");
        assert_eq!(client.create("/hard/a/b/c", b"", mode::PERSISTENT), Err(exceeded));
        let multi = client.multi(&[
            Part::SetData("/hard/a".into(), b"".to_vec(), -1),
            Part::Create(op::CREATE, "/hard/c".into(), vec![], 0),
        ]);
        assert_eq!(multi, Ok(vec![Part::Failed(ErrorCode(0)), Part::Failed(exceeded)]));
        assert_usage(&ensemble, "/hard", "count=3,bytes=10");
        client.delete(&format!("{QUOTA}/hard/zookeeper_limits"), -1).expect("delete");
        client.create("/hard/a/b/c", b"", mode::PERSISTENT).expect("no limit any more");
    }
}

#[test]
fn limits_below_what_is_there_stop_growth_only() {
    if !Program::promises("quotas are enforced") {
        return;
    }
    let ensemble = Ensemble::of(1).line("enforceQuota=true").start();
    let mut client = ensemble.client(0);
    client.create("/q", &[7; 50], mode::PERSISTENT).expect("create");
    set_quota(&mut client, "/q", "count=-1,bytes=-1=;byteHardLimit=5;countHardLimit=1");
    assert_eq!(client.get("/q").map(|data| data.len()), Ok(50));
    assert_eq!(client.set_data("/q", &[7; 51], -1), Err(ErrorCode::QUOTA_EXCEEDED));
    assert_eq!(client.set_data("/q", &[7; 6], -1), Err(ErrorCode::QUOTA_EXCEEDED));
    assert!(client.set_data("/q", &[8; 50], -1).is_ok(), "no more than before");
    assert!(client.set_data("/q", &[7; 5], -1).is_ok());
    assert_eq!(client.create("/q/a", b"", 0), Err(ErrorCode::QUOTA_EXCEEDED));
    let limits = format!("{QUOTA}/q/zookeeper_limits");
    client.set_data(&limits, b"count=-1,bytes=-1", -1).expect("set");
    assert!(client.create("/q/a", &[7; 500], 0).is_ok());
}

/// Servers whose files differ, as while an operator edits one after the other: whoever leads, all
/// have the same tree.
#[test]
fn servers_that_are_configured_differently_agree() {
    if !Program::promises("the leader's rules are part of the log") {
        return;
    }
    let mut ensemble = Ensemble::trio();
    for (index, lines) in [(0, "enforceQuota=true\n"), (1, "extendedTypesEnabled=true\n")] {
        ensemble.kill(index);
        let file = ensemble.server(index).folder().join("zoo.cfg");
        let mut file = OpenOptions::new().append(true).open(file).expect("it is there");
        file.write_all(lines.as_bytes()).expect("written");
        ensemble.restart(index);
        ensemble.wait_until_serving();
    }
    let mut client = ensemble.client(2);
    client.create("/q", b"", mode::PERSISTENT).expect("create");
    set_quota(&mut client, "/q", "=;countHardLimit=2");
    drop(client);
    for round in 0..4 {
        let leader = ensemble.wait_for_leader();
        let other = (leader + 1) % 3;
        let mut client = ensemble.client(other);
        for n in 0..3 {
            let made = client.create(&format!("/q/{round}-{n}"), b"x", mode::PERSISTENT);
            assert!(matches!(made, Ok(_) | Err(ErrorCode::QUOTA_EXCEEDED)), "{made:?}");
            let made = client.create_ttl(&format!("/t{round}-{n}"), mode::TTL, 1_000_000);
            assert!(matches!(made, Ok(_) | Err(ErrorCode::UNIMPLEMENTED)), "{made:?}");
            assert_eq!(made.is_ok(), leader == 1, "the leader's rules hold");
        }
        client.sync("/").expect("sync");
        let names = client.children("/q", false).expect("children");
        let tree = client.children2("/", false).expect("children");
        let text = usage(&mut client, "/q");
        for index in 0..3 {
            let mut client = ensemble.client(index);
            assert_eq!(usage(&mut client, "/q"), text, "server {index}");
            assert_eq!(client.children("/q", false), Ok(names.clone()));
            assert_eq!(client.children2("/", false), Ok(tree.clone()));
            client.close();
        }
        client.close();
        ensemble.kill(leader);
        ensemble.wait_until_serving();
        ensemble.restart(leader);
        ensemble.wait_until_serving();
    }
}

#[test]
fn nothing_that_clients_store_below_the_quotas_stops_a_server() {
    if !Program::promises("garbage in the quota tree harms nobody") {
        return;
    }
    for mut ensemble in ensembles(&["enforceQuota=true", "snapCount=10"]) {
        let mut client = ensemble.client(0);
        client.create("/q", b"", mode::PERSISTENT).expect("create");
        let texts: [&[u8]; 8] = [
            b"",
            b"\xff\xfe",
            b"nonsense",
            b"=;=,;,",
            b"count=x,bytes=",
            b"count=99999999999999999999,bytes=-99999999999999999999",
            b"count=9223372036854775807,bytes=9223372036854775807",
            b"countHardLimit=;byteHardLimit",
        ];
        let paths = ["", "/zookeeper", "/zookeeper/quota", "/q", "/q/zookeeper_limits", "/none"];
        for path in paths {
            let folder = format!("{QUOTA}{path}");
            let _ = client.create(&folder, b"", mode::PERSISTENT);
            for name in ["zookeeper_limits", "zookeeper_stats"] {
                let _ = client.create(&format!("{folder}/{name}"), b"nonsense", mode::PERSISTENT);
            }
        }
        for (n, text) in texts.into_iter().enumerate() {
            for path in paths {
                for name in ["zookeeper_limits", "zookeeper_stats"] {
                    let path = format!("{QUOTA}{path}/{name}");
                    client.set_data(&path, text, -1).expect("anything can be stored");
                }
            }
            client.create(&format!("/q/{n}"), b"x", mode::PERSISTENT).expect("no limit");
            client.create(&format!("/zookeeper/x{n}"), b"x", 0).expect("no limit");
        }
        let expected = usage(&mut client, "/q");
        ensemble.kill_all();
        for index in 0..ensemble.len() {
            ensemble.restart(index);
        }
        ensemble.wait_until_serving();
        assert_usage(&ensemble, "/q", &expected);
        let mut client = ensemble.client(0);
        assert!(client.create("/q/after", b"", mode::PERSISTENT).is_ok());
    }
}

#[test]
fn mntr_tells_what_quotas_allow_and_what_is_there() {
    if !Program::promises("quotas are enforced as told in zoo.cfg, and counted in all") {
        return;
    }
    for ensemble in ensembles(&["enforceQuota=true"]) {
        let mut client = ensemble.client(0);
        client.create("/team", b"1234", mode::PERSISTENT).expect("create");
        set_quota(&mut client, "/team", "count=9,bytes=100=;byteHardLimit=50;countHardLimit=-1");
        let too_much = client.set_data("/team", &[7; 51], -1);
        assert_eq!(too_much.err(), Some(ErrorCode::QUOTA_EXCEEDED));
        for index in 0..ensemble.len() {
            ensemble.client(index).sync("/").expect("sync");
            let text = four_letter(ensemble.address(index), "mntr").expect("an answer");
            for line in [
                "zk_team_quota_count_limit_per_namespace\t9\n",
                "zk_team_quota_bytes_limit_per_namespace\t50\n",
                "zk_team_quota_count_usage_per_namespace\t1\n",
                "zk_team_quota_bytes_usage_per_namespace\t4\n",
                "zk_quota_refused_count\t1\n",
                "zk_quota_soft_limit_exceeded_count\t0\n",
            ] {
                assert!(text.contains(line), "{line} in\n{text}");
            }
        }
    }
}

#[test]
fn mntr_tells_what_is_read_and_written_below_each_znode_of_the_first_level() {
    if !Program::promises("quotas are enforced as told in zoo.cfg, and refusals counted everywhere")
    {
        return;
    }
    for ensemble in ensembles(&["enforceQuota=true"]) {
        let last = ensemble.len() - 1;
        let mut client = ensemble.client(last);
        client.create("/team", b"1234", mode::PERSISTENT).expect("create");
        client.create("/team/a", b"", mode::PERSISTENT).expect("create");
        client.set_data("/team", b"12", -1).expect("set");
        let part = |path: &str| Part::Create(op::CREATE, path.into(), b"123".to_vec(), 0);
        client.multi(&[part("/other"), part("/other/b")]).expect("multi");
        client.multi(&[part("/other/c"), part("/other")]).expect("none of it is done");
        client.delete("/team/a", -1).expect("delete");
        client.get("/team").expect("it is there");
        client.exists("/team", false).expect("it is there");
        client.children("/other", false).expect("it is there");
        client.multi_read(&[Part::GetData("/other/b".into())]).expect("it is there");
        client.get("/team/none").expect_err("it is not there, and not counted");
        client.get("/").expect("it is in no namespace");
        set_quota(&mut client, "/team", "=;countHardLimit=1");
        let exceeded = ErrorCode::QUOTA_EXCEEDED;
        assert_eq!(client.create("/team/b", b"", mode::PERSISTENT), Err(exceeded));
        let results = client.multi(&[part("/other/d"), part("/team/c")]).expect("answered");
        assert_eq!(results[1], Part::Failed(exceeded));
        // Every server writes; the client's own answers its reads.
        for index in 0..=last {
            ensemble.client(index).sync("/").expect("sync");
            let text = four_letter(ensemble.address(index), "mntr").expect("an answer");
            for line in [
                "zk_team_quota_exceeded_error_per_namespace\t2\n",
                // 5 + 4, 7 + 0, 5 + 2 and 7 bytes.
                "zk_cnt_team_write_per_namespace\t4\n",
                "zk_sum_team_write_per_namespace\t30\n",
                "zk_min_team_write_per_namespace\t7\n",
                "zk_max_team_write_per_namespace\t9\n",
                "zk_avg_team_write_per_namespace\t7.5\n",
                // 6 + 3 and 8 + 3.
                "zk_sum_other_write_per_namespace\t20\n",
            ] {
                assert!(text.contains(line), "{line} in\n{text}");
            }
            assert!(!text.contains("other_quota_exceeded"), "{text}");
            for line in [
                // 5 + 2 + 68 and 5 + 68.
                "zk_cnt_team_read_per_namespace\t2\n",
                "zk_sum_team_read_per_namespace\t148\n",
                // 6 + 1 + 68 and 8 + 3 + 68.
                "zk_sum_other_read_per_namespace\t154\n",
            ] {
                assert_eq!(text.contains(line), index == last, "{line} in\n{text}");
            }
        }
        four_letter(ensemble.address(last), "srst").expect("an answer");
        let text = four_letter(ensemble.address(last), "mntr").expect("an answer");
        assert!(!text.contains("read_per_namespace") && !text.contains("exceeded_error"), "{text}");
    }
}
