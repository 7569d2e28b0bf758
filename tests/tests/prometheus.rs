//! Metrics as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use zokor_tests::http::{ask, get};
use zokor_tests::program::zokor;
use zokor_tests::raw::four_letter;
use zokor_tests::{Ensemble, Program};

/// The kinds of all metrics, and the value of each sample; what is not well formed fails.
fn read(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a kind");
            let former = kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(former, None, "{name} is there twice");
            current = name.to_owned();
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
        let name = sample.split('{').next().expect("a name");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(name.chars().all(is_plain), "{line}");
        let of_summary = [format!("{current}_count"), format!("{current}_sum")];
        assert!(name == current || of_summary.contains(&name.to_owned()), "{line} in {current}");
        let former = samples.insert(sample.to_owned(), value.parse().expect("a number"));
        assert_eq!(former, None, "{sample} is there twice");
    }
    (kinds, samples)
}

#[test]
fn all_that_mntr_tells_is_told_under_the_names_of_zookeepers_dashboards() {
    if !Program::promises("Debian's package has no such class") {
        return;
    }
    let ensemble = Ensemble::of(1).metrics().start();
    let mut client = ensemble.client(0);
    for n in 0..20 {
        client.create(&format!("/a{n}"), b"data", 0).expect("created");
        client.get_data(&format!("/a{n}"), false).expect("it is there");
    }
    let answer = get(ensemble.metrics_address(0), "/metrics");
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").expect("a header").to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.text();
    let (kinds, samples) = read(&text);
    for (name, kind) in [
        ("znode_count", "gauge"),
        ("num_alive_connections", "gauge"),
        ("outstanding_requests", "gauge"),
        ("avg_latency", "gauge"),
        ("approximate_data_size", "gauge"),
        ("open_file_descriptor_count", "gauge"),
        ("uptime", "gauge"),
        ("snap_count", "counter"),
        ("commit_count", "counter"),
        ("connection_rejected", "counter"),
        ("stale_sessions_expired", "counter"),
        ("digest_mismatches_count", "counter"),
        ("fsynctime", "summary"),
        ("snapshottime", "summary"),
        ("election_time", "summary"),
        ("unavailable_time", "summary"),
        ("readlatency", "summary"),
        ("updatelatency", "summary"),
        ("write_per_namespace", "summary"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_open_fds", "gauge"),
    ] {
        assert_eq!(kinds.get(name).map(String::as_str), Some(kind), "{name} in\n{text}");
    }
    assert_eq!(samples["znode_count"], 25.0);
    assert!(text.contains("\n# TYPE snap_count counter\nsnap_count 0.0\n"), "{text}");
    for sample in ["readlatency{quantile=\"0.5\",}", "readlatency{quantile=\"0.99\",}"] {
        assert!(samples.contains_key(sample), "{sample}");
    }
    assert!(samples["readlatency_count"] >= 20.0 && samples.contains_key("readlatency_sum"));
    assert_eq!(samples["write_per_namespace_count{key=\"a7\",}"], 1.0);
    assert_eq!(samples["read_per_namespace_sum{key=\"a7\",}"], f64::from(3 + 4 + 68));
    let mntr = four_letter(ensemble.address(0), "mntr").expect("an answer");
    let told: BTreeSet<&str> =
        mntr.lines().filter_map(|line| line.split('\t').next()?.strip_prefix("zk_")).collect();
    for name in told {
        let summed = ["avg", "min", "max", "cnt", "sum", "p50", "p95", "p99", "p999"];
        let plain = name.split_once('_').filter(|(what, _)| summed.contains(what));
        let plain = plain.map_or(name, |(_, plain)| plain);
        let is_known = kinds.contains_key(name)
            || kinds.contains_key(plain)
            || name.ends_with("_per_namespace")
            || ["version", "server_state"].contains(&name);
        assert!(is_known, "{name} of mntr is missing");
    }
}

#[test]
fn an_ensemble_tells_its_leaders_metrics() {
    if !Program::promises("Debian's package has no such class") {
        return;
    }
    let ensemble = Ensemble::of(3).metrics().start();
    let leader = ensemble.wait_for_leader();
    ensemble.client(leader).create("/a", b"", 0).expect("created");
    for index in 0..3 {
        let (_, samples) = read(&get(ensemble.metrics_address(index), "/metrics").text());
        assert_eq!(samples["quorum_size"], 3.0);
        assert_eq!(samples.get("synced_followers").copied(), (index == leader).then_some(2.0));
        assert_eq!(samples["proposal_count"] > 0.0, index == leader);
    }
}

#[test]
fn quotas_are_labelled_with_the_znode_that_they_stand_on() {
    if !Program::promises("Debian's package has no such class") {
        return;
    }
    let ensemble = Ensemble::of(1).metrics().start();
    let mut client = ensemble.client(0);
    client.create("/app", b"", 0).expect("created");
    client.create("/zookeeper/quota/app", b"", 0).expect("created");
    let path = "/zookeeper/quota/app/zookeeper_limits";
    client.create(path, b"count=5,bytes=77", 0).expect("created");
    let (_, samples) = read(&get(ensemble.metrics_address(0), "/metrics").text());
    assert_eq!(samples["quota_count_limit_per_namespace{key=\"app\",}"], 5.0);
    assert_eq!(samples["quota_bytes_limit_per_namespace{key=\"app\",}"], 77.0);
}

#[test]
fn only_metrics_are_behind_that_port_and_only_to_be_read() {
    if !Program::promises("Debian's package has no such class") {
        return;
    }
    let ensemble =
        Ensemble::of(1).metrics().admin().line("metricsProvider.exportJvmInfo=false").start();
    let at = ensemble.metrics_address(0);
    assert_eq!(get(at, "/commands/ruok").status, 404);
    assert_eq!(get(at, "/").status, 404);
    let status = |method: &str| ask(at, method, "/metrics", &[], b"").expect("an answer").status;
    assert_eq!((status("POST"), status("TRACE"), status("HEAD")), (405, 403, 200));
    assert!(!get(at, "/metrics").text().contains("process_open_fds"));
    // The admin server has them, too.
    assert!(get(ensemble.admin_address(0), "/metrics").text().contains("\nznode_count "));
}

#[test]
fn a_wrong_class_or_port_refuses_the_start() {
    if !Program::promises("Debian's package has no such class") {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let class = "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.\
                 PrometheusMetricsProvider\nmetricsProvider.httpHost=127.0.0.1";
    let in_use = format!("{class}\nmetricsProvider.httpPort={port}");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("zoo.cfg");
    for (lines, expected) in [
        ("metricsProvider.className=Nope", "metricsProvider.className is \"Nope\", which is not"),
        (&format!("{class}\nmetricsProvider.httpPort=65536"), "metricsProvider.httpPort is"),
        (&format!("{class}\nmetricsProvider.httpsPort=7001"), "metrics over TLS"),
        (&in_use, "for metrics: "),
    ] {
        let data = folder.path().join("data");
        let text = format!(
            "dataDir={}\nclientPort=0\nadmin.enableServer=false\n{lines}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("written");
        let output = Command::new(zokor()).arg("serve").arg(&config).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{lines}: {said}");
    }
}
