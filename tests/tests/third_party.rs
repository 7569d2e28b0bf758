//! A client library by others, unchanged: its lock, its watches, its reconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use zokor_tests::Ensemble;
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, Error, EventType, LockOptions, LockPrefix,
    MultiWriteResult, SessionState,
};

const PERSISTENT: zookeeper_client::CreateOptions<'static> =
    CreateMode::Persistent.with_acls(Acls::anyone_all());

const BOUND: Duration = Duration::from_secs(60);

/// All servers, as the library wants them.
fn cluster(ensemble: &Ensemble) -> String {
    let addresses: Vec<String> = ensemble.addresses().iter().map(ToString::to_string).collect();
    addresses.join(",")
}

async fn connect(ensemble: &Ensemble) -> Client {
    Client::connect(&cluster(ensemble)).await.expect("a session")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn znodes_are_made_read_changed_and_deleted() {
    let ensemble = Ensemble::trio();
    let client = connect(&ensemble).await;
    let (stat, _) = client.create("/a", b"one", &PERSISTENT).await.expect("create");
    assert_eq!(client.get_data("/a").await.expect("read"), (b"one".to_vec(), stat));
    let again = client.create("/a", b"one", &PERSISTENT).await;
    assert_eq!(again.expect_err("it is there"), Error::NodeExists);
    let stat = client.set_data("/a", b"two", Some(0)).await.expect("set");
    assert_eq!(stat.version, 1);
    let wrong = client.set_data("/a", b"two", Some(0)).await;
    assert_eq!(wrong.expect_err("the version moved"), Error::BadVersion);
    client.mkdir("/a/b/c", &PERSISTENT).await.expect("mkdir");
    assert_eq!(client.list_children("/a").await.expect("list"), ["b"]);
    assert_eq!(client.count_descendants_number("/a").await.expect("count"), 2);
    assert_eq!(client.delete("/a", None).await.expect_err("children"), Error::NotEmpty);
    for path in ["/a/b/c", "/a/b", "/a"] {
        client.delete(path, None).await.expect("delete");
    }
    assert_eq!(client.check_stat("/a").await.expect("exists"), None);
    client.sync("/").await.expect("sync");
    client.auth("digest", b"a:b").await.expect("auth");
    let users = client.list_auth_users().await.expect("who am I");
    assert!(users.iter().any(|user| user.scheme() == "digest" && user.user() == "a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_tell_once_or_for_ever() {
    let ensemble = Ensemble::trio();
    let (client, other) = (connect(&ensemble).await, connect(&ensemble).await);
    let (_, watcher) = client.check_and_watch_stat("/a").await.expect("watch");
    let mut recursive = client.watch("/a", AddWatchMode::PersistentRecursive).await.expect("watch");
    other.create("/a", b"", &PERSISTENT).await.expect("create");
    let event = timeout(BOUND, watcher.changed()).await.expect("an event");
    assert_eq!((event.event_type, event.path.as_str()), (EventType::NodeCreated, "/a"));
    other.create("/a/b", b"", &PERSISTENT).await.expect("create");
    other.set_data("/a/b", b"x", None).await.expect("set");
    for (kind, path) in [
        (EventType::NodeCreated, "/a"),
        (EventType::NodeCreated, "/a/b"),
        (EventType::NodeDataChanged, "/a/b"),
    ] {
        let event = timeout(BOUND, recursive.changed()).await.expect("an event");
        assert_eq!((event.event_type, event.path.as_str()), (kind, path));
    }
    let (children, watcher) = client.list_and_watch_children("/a").await.expect("watch");
    assert_eq!(children, ["b"]);
    other.delete("/a/b", None).await.expect("delete");
    let event = timeout(BOUND, watcher.changed()).await.expect("an event");
    assert_eq!(event.event_type, EventType::NodeChildrenChanged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multi_is_all_or_nothing() {
    let ensemble = Ensemble::standalone();
    let client = connect(&ensemble).await;
    let mut writer = client.new_multi_writer();
    writer.add_create("/a", b"1", &PERSISTENT).expect("valid");
    writer.add_set_data("/a", b"2", Some(0)).expect("valid");
    let results = writer.commit().await.expect("multi");
    assert!(matches!(results[0], MultiWriteResult::Create { .. }), "{results:?}");
    assert!(matches!(results[1], MultiWriteResult::SetData { .. }), "{results:?}");
    let mut writer = client.new_multi_writer();
    writer.add_delete("/a", None).expect("valid");
    writer.add_check_version("/a", 0).expect("valid");
    assert!(writer.commit().await.is_err());
    assert_eq!(client.get_data("/a").await.expect("it is there").0, b"2");
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/a").expect("valid");
    reader.add_get_children("/").expect("valid");
    assert_eq!(reader.commit().await.expect("multi read").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_held_by_one_at_a_time() {
    let ensemble = Ensemble::trio();
    let client = connect(&ensemble).await;
    client.create("/locks", b"", &PERSISTENT).await.expect("create");
    let holders = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let (client, holders) = (connect(&ensemble).await, Arc::clone(&holders));
        tasks.push(tokio::spawn(async move {
            for _ in 0..3 {
                let prefix = LockPrefix::new_curator("/locks", "lock-").expect("valid");
                let options = LockOptions::new(Acls::anyone_all());
                let lock = client.lock(prefix, b"", options).await.expect("the lock");
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                client.sync("/").await.expect("sync");
                assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                drop(lock);
            }
        }));
    }
    for task in tasks {
        timeout(BOUND, task).await.expect("everyone gets the lock").expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_with_another_server() {
    let mut ensemble = Ensemble::trio();
    let client = Client::connector()
        .with_session_timeout(Duration::from_secs(10))
        .connect(&cluster(&ensemble))
        .await
        .expect("a session");
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/e", b"", &ephemeral).await.expect("create");
    let (_, _, watcher) = client.get_and_watch_data("/e").await.expect("watch");
    let session = client.session_id();
    // One after the other dies and comes back, so the client must have moved.
    for index in 0..3 {
        ensemble.kill(index);
        let write = async {
            while client.set_data("/", b"", None).await.is_err() {
                assert_ne!(client.state(), SessionState::Expired);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(BOUND, write).await.expect("the client finds a server");
        ensemble.restart(index);
        ensemble.wait_until_serving();
    }
    assert_eq!(client.session_id(), session);
    assert_eq!(client.list_ephemerals("/").await.expect("list"), ["/e"]);
    let other = connect(&ensemble).await;
    other.set_data("/e", b"x", None).await.expect("set");
    let event = timeout(BOUND, watcher.changed()).await.expect("the watch came along");
    assert_eq!(event.event_type, EventType::NodeDataChanged);
}
