//! `snapshot` of the admin server: a file of ZooKeeper's, of one moment.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use zokor_tests::http::{Answer, ask, command};
use zokor_tests::program::zokor;
use zokor_tests::{Acl, Client, Ensemble, Program, eventually};

fn snapshot(at: SocketAddr, query: &str) -> Answer {
    let path = format!("/commands/snapshot{query}");
    ask(at, "GET", &path, &[("Authorization", "digest ann:secret")], b"").expect("an answer")
}

/// A server that takes snapshots as often as it is asked.
fn willing() -> Ensemble {
    Ensemble::of(1).admin().line("admin.rateLimiterIntervalInMS=0").start()
}

/// Everything below the root but what is the server's own: path, data, versions, times and owner.
fn tree_of(client: &mut Client) -> Vec<String> {
    let mut found = Vec::new();
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let (data, stat) = client.get_data(&path, false).expect("it is there");
        let (acl, _) = client.acl(&path).expect("it is there");
        found.push(format!("{path} {data:?} {stat:?} {acl:?}"));
        for name in client.children(&path, false).expect("it is there") {
            paths.push(if path == "/" { format!("/{name}") } else { format!("{path}/{name}") });
        }
    }
    found.sort();
    found
}

fn grow(client: &mut Client, n: usize) {
    for n in 0..n {
        client.create(&format!("/n{n}"), format!("data {n}").as_bytes(), 0).expect("created");
    }
    client.authenticate("digest", b"ann:secret").expect("any credentials will do");
    client.create_with_acl("/shut", &[Acl::new(31, "auth", "")]).expect("created");
    client.create("/e", b"gone with me", 1).expect("created");
    client.create("/n1/s-", b"", 2).expect("created");
    client.set_data("/n2", b"again", 0).expect("set");
    client.delete("/n3", -1).expect("deleted");
}

/// Begins a server anew with what `zokor import` makes of a snapshot.
fn import(ensemble: &mut Ensemble, zxid: &str, file: &[u8]) {
    ensemble.kill(0);
    let folder = ensemble.server(0).folder().to_owned();
    let from = folder.join("zookeeper");
    fs::create_dir_all(from.join("version-2")).expect("a folder");
    let name = format!("snapshot.{}", zxid.strip_prefix("0x").expect("a zxid in hex"));
    fs::write(from.join("version-2").join(name), file).expect("written");
    fs::remove_dir_all(folder.join("data")).expect("removed");
    // A file of ZooKeeper's own servers needs the log beside it; this one is of one moment.
    let output = Command::new(zokor())
        .arg("import")
        .arg("--despite-damage")
        .arg("--from")
        .arg(&from)
        .arg("--to")
        .arg(folder.join("data"))
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    ensemble.restart(0);
    ensemble.wait_until_serving();
}

#[test]
fn a_snapshot_is_taken_and_what_is_imported_from_it_is_the_same_tree() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let mut ensemble = willing();
    let mut client = ensemble.client(0);
    grow(&mut client, 50);
    let answer = snapshot(ensemble.admin_address(0), "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let size = answer.body.len().to_string();
    assert_eq!(answer.header("snapshot_size"), Some(size.as_str()));
    assert_eq!(answer.header("content-length"), Some(size.as_str()));
    let stats = command(ensemble.admin_address(0), "srvr");
    let zxid = stats["server_stats"]["last_processed_zxid"].as_i64().expect("a number");
    let told = answer.header("last_zxid").expect("a header").to_owned();
    assert_eq!(told, format!("0x{zxid:x}"));
    // ZooKeeper's own look at a file: how it begins and how it ends.
    assert!(answer.body.starts_with(b"ZKSN\0\0\0\x02"));
    assert!(answer.body.ends_with(b"\0\0\0\x01/"));
    let trailer = &answer.body[answer.body.len() - 21..][..8];
    assert_eq!(trailer, zxid.to_be_bytes(), "what ZooKeeper's restore goes by");
    let before = tree_of(&mut client);
    let session = client.session();
    import(&mut ensemble, &told, &answer.body);
    let mut client = ensemble.client(0);
    client.authenticate("digest", b"ann:secret").expect("any credentials will do");
    let after = tree_of(&mut client);
    assert_eq!(before, after);
    let dump = command(ensemble.admin_address(0), "dump");
    assert_eq!(dump["session_id_to_ephemeral_paths"][session.to_string()], json!(["/e"]));
}

#[test]
fn without_streaming_only_the_headers_come() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let ensemble = willing();
    grow(&mut ensemble.client(0), 10);
    let at = ensemble.admin_address(0);
    let whole = snapshot(at, "?streaming=true");
    let headers = eventually("the next one is allowed", || {
        let answer = snapshot(at, "?streaming=false");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(headers.json(), json!({"command": "snapshot", "error": null}));
    let size = whole.body.len().to_string();
    assert_eq!(headers.header("snapshot_size"), Some(size.as_str()));
    assert_eq!(headers.header("last_zxid"), whole.header("last_zxid"));
    assert_eq!(headers.header("content-type"), Some("application/json"));
}

#[test]
fn what_cannot_be_taken_says_why() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let status = |line: &str| {
        let ensemble = Ensemble::of(1).admin().line(line).start();
        let answer = snapshot(ensemble.admin_address(0), "");
        (answer.status, answer.json()["error"].is_string())
    };
    assert_eq!(status("admin.snapshot.enabled=false"), (503, true));
    assert_eq!(status("serializeLastProcessedZxid.enabled=false"), (500, true));
}

#[test]
fn one_snapshot_is_taken_in_a_time_and_the_others_are_counted() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    // Taken for microseconds: a minute.
    let ensemble = Ensemble::of(1).admin().line("admin.rateLimiterIntervalInMS=60000000").start();
    let at = ensemble.admin_address(0);
    assert_eq!(snapshot(at, "").status, 200);
    for _ in 0..2 {
        let answer = snapshot(at, "");
        assert_eq!((answer.status, answer.json()["error"].is_string()), (429, true));
    }
    assert_eq!(command(at, "mntr")["snapshot_rate_limited_count"], 2);
    command(at, "srst");
    assert_eq!(command(at, "mntr")["snapshot_rate_limited_count"], 0);
    let again = Ensemble::of(1).admin().line("admin.rateLimiterIntervalInMS=1000").start();
    let at = again.admin_address(0);
    let taken = || (snapshot(at, "?streaming=false").status == 200).then_some(());
    (0..3).for_each(|_| eventually("its time has passed", taken));
}

#[test]
fn a_snapshot_is_of_one_moment_while_clients_write_and_holds_nobody_up() {
    if !Program::promises("commands of 3.9") {
        return;
    }
    let mut ensemble = willing();
    let mut client = ensemble.client(0);
    // Both always have the same version, at the end of any request.
    let touch = |client: &mut Client| {
        let both = ["/", "/zookeeper"]
            .map(|path| zokor_tests::client::Part::SetData(path.into(), vec![b'x'; 1_000], -1));
        client.multi(&both).expect("set");
    };
    for n in 0..3_000 {
        client.create(&format!("/{n:05}"), &[b'y'; 1_000], 0).expect("created");
    }
    let at = ensemble.admin_address(0);
    let taken = std::thread::scope(|scope| {
        let taken = scope.spawn(|| snapshot(at, ""));
        while !taken.is_finished() {
            touch(&mut client);
        }
        touch(&mut client);
        taken.join().expect("it is taken")
    });
    assert_eq!(taken.status, 200);
    let zxid = taken.header("last_zxid").expect("a header").to_owned();
    import(&mut ensemble, &zxid, &taken.body);
    let mut client = ensemble.client(0);
    let (_, root) = client.get_data("/", false).expect("it is there");
    let (_, other) = client.get_data("/zookeeper", false).expect("it is there");
    assert_eq!(root.version, other.version);
    assert_eq!(client.children("/", false).expect("it is there").len(), 3_001);
}

#[test]
fn the_last_snapshot_of_the_server_itself_is_told_of() {
    let mut ensemble = Ensemble::of(1).admin().line("snapCount=50").start();
    let at = ensemble.admin_address(0);
    let mut client = ensemble.client(0);
    let zxid = |answer: &Value| {
        let text = answer["zxid"].as_str().expect("a text").to_owned();
        if text == "ffffffffffffffff" { -1 } else { i64::from_str_radix(&text, 16).expect("hex") }
    };
    for _ in 0..200 {
        client.set_data("/", b"", -1).expect("the root takes data");
    }
    let found = eventually("a snapshot is taken", || {
        let answer = command(at, "last_snapshot");
        (zxid(&answer) > 0).then_some(answer)
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let seconds = found["timestamp"].as_u64().expect("a number");
    assert!(seconds.abs_diff(now.as_secs()) < 600, "{found}");
    ensemble.kill(0);
    ensemble.restart(0);
    ensemble.wait_until_serving();
    let again = command(at, "lsnp");
    assert!(zxid(&again) >= zxid(&found), "{again}");
    assert!(again["timestamp"].as_u64() >= Some(seconds.saturating_sub(1)), "{again}");
}
