//! Which operation fires which watch: all of ZooKeeper 3.9's table, as data, against one server and
//! against three, from other connections and from the writer's own.

use zokor_tests::client::{Message, Part, create_record};
use zokor_tests::jute::Writer;
use zokor_tests::raw::Hello;
use zokor_tests::records::{mode, op};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, EventKind, Program, eventually};

/// How a watch is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Exists,
    GetData,
    GetChildren,
    GetChildren2,
    Persistent,
    Recursive,
}

use By::{Exists, GetChildren, GetChildren2, GetData, Persistent, Recursive};

impl By {
    fn stays(self) -> bool {
        matches!(self, Persistent | Recursive)
    }

    /// As removeWatches and checkWatches name it.
    fn kind(self) -> i32 {
        match self {
            GetChildren | GetChildren2 => 1,
            Exists | GetData => 2,
            Persistent => 4,
            Recursive => 5,
        }
    }
}

/// What one connection watches, by the name under which the table speaks of it. An operation is
/// about the znode `p`; `q` is its parent, `b` the parent of that, `c` a child of `p`.
const WATCHES: [(&str, &[(By, &str)]); 20] = [
    ("exists p", &[(Exists, "p")]),
    ("data p", &[(GetData, "p")]),
    ("children p", &[(GetChildren, "p")]),
    ("children2 p", &[(GetChildren2, "p")]),
    ("persistent p", &[(Persistent, "p")]),
    ("recursive p", &[(Recursive, "p")]),
    ("data+children p", &[(GetData, "p"), (GetChildren, "p")]),
    ("both p", &[(Persistent, "p"), (Recursive, "p")]),
    ("all p", &[(Exists, "p"), (GetChildren, "p"), (Persistent, "p"), (Recursive, "p")]),
    ("data q", &[(GetData, "q")]),
    ("children q", &[(GetChildren, "q")]),
    ("children2 q", &[(GetChildren2, "q")]),
    ("persistent q", &[(Persistent, "q")]),
    ("recursive q", &[(Recursive, "q")]),
    ("both q", &[(Recursive, "q"), (Persistent, "q")]),
    ("all q", &[(GetData, "q"), (GetChildren, "q"), (Persistent, "q"), (Recursive, "q")]),
    ("children b", &[(GetChildren, "b")]),
    ("persistent b", &[(Persistent, "b")]),
    ("recursive b", &[(Recursive, "b")]),
    ("recursive /", &[(Recursive, "/")]),
];

/// What each of [`WATCHES`] is told, in order; those that are left out are told nothing. `+` is
/// created, `-` deleted, `=` data changed, `<` children changed.
type Told = &'static [(&'static str, &'static str)];

const CREATED: Told = &[
    ("exists p", "+p"),
    ("persistent p", "+p"),
    ("recursive p", "+p"),
    ("both p", "+p"),
    ("all p", "+p"),
    ("children q", "<q"),
    ("children2 q", "<q"),
    ("persistent q", "<q"),
    ("recursive q", "+p"),
    ("both q", "+p <q"),
    ("all q", "+p <q"),
    ("recursive b", "+p"),
    ("recursive /", "+p"),
];

const NUMBERED: Told = &[
    ("children q", "<q"),
    ("children2 q", "<q"),
    ("persistent q", "<q"),
    ("recursive q", "+s"),
    ("both q", "+s <q"),
    ("all q", "+s <q"),
    ("recursive b", "+s"),
    ("recursive /", "+s"),
];

const DATA_SET: Told = &[
    ("exists p", "=p"),
    ("data p", "=p"),
    ("persistent p", "=p"),
    ("recursive p", "=p"),
    ("data+children p", "=p"),
    ("both p", "=p"),
    ("all p", "=p"),
    ("recursive q", "=p"),
    ("both q", "=p"),
    ("all q", "=p"),
    ("recursive b", "=p"),
    ("recursive /", "=p"),
];

const DELETED: Told = &[
    ("exists p", "-p"),
    ("data p", "-p"),
    ("children p", "-p"),
    ("children2 p", "-p"),
    ("persistent p", "-p"),
    ("recursive p", "-p"),
    ("data+children p", "-p"),
    ("both p", "-p"),
    ("all p", "-p"),
    ("children q", "<q"),
    ("children2 q", "<q"),
    ("persistent q", "<q"),
    ("recursive q", "-p"),
    ("both q", "-p <q"),
    ("all q", "-p <q"),
    ("recursive b", "-p"),
    ("recursive /", "-p"),
];

/// Created, set, given a child, rid of it and deleted.
const CAME_AND_WENT: Told = &[
    ("exists p", "+p"),
    ("persistent p", "+p =p <p <p -p"),
    ("recursive p", "+p =p +c -c -p"),
    ("both p", "+p =p +c <p -c <p -p"),
    ("all p", "+p =p +c <p -c <p -p"),
    ("children q", "<q"),
    ("children2 q", "<q"),
    ("persistent q", "<q <q"),
    ("recursive q", "+p =p +c -c -p"),
    ("both q", "+p <q =p +c -c -p <q"),
    ("all q", "+p <q =p +c -c -p <q"),
    ("recursive b", "+p =p +c -c -p"),
    ("recursive /", "+p =p +c -c -p"),
];

/// Two ephemeral znodes of one session, `p` and `r`: the parent's watches are told of each.
const TWO_DELETED: Told = &[
    ("exists p", "-p"),
    ("data p", "-p"),
    ("children p", "-p"),
    ("children2 p", "-p"),
    ("persistent p", "-p"),
    ("recursive p", "-p"),
    ("data+children p", "-p"),
    ("both p", "-p"),
    ("all p", "-p"),
    ("children q", "<q"),
    ("children2 q", "<q"),
    ("persistent q", "<q <q"),
    ("recursive q", "-p -r"),
    ("both q", "-p <q -r <q"),
    ("all q", "-p <q -r <q"),
    ("recursive b", "-p -r"),
    ("recursive /", "-p -r"),
];

const NOTHING: Told = &[];

/// How something is done.
#[derive(Clone, Copy)]
enum Does {
    /// By this request, which is answered so.
    Ask(fn(&Names) -> (i32, Writer), ErrorCode),
    /// The session of the ephemeral znodes is closed.
    Close,
    /// It is not heard from any more.
    FallSilent,
}

use Does::{Ask, Close, FallSilent};

const OK: ErrorCode = ErrorCode(0);

/// What is done; the znodes below `q` that are there before, which are ephemeral and of a session
/// of their own if it is that which ends; how it is done; and who hears what.
const TABLE: [(&str, &[&str], Does, Told); 26] = [
    ("create", &[], Ask(|at| (op::CREATE, at.record(0)), OK), CREATED),
    ("create2", &[], Ask(|at| (op::CREATE2, at.record(0)), OK), CREATED),
    ("create ephemeral", &[], Ask(|at| (op::CREATE, at.record(1)), OK), CREATED),
    ("create container", &[], Ask(|at| (op::CREATE_CONTAINER, at.record(4)), OK), CREATED),
    ("create with a TTL", &[], Ask(|at| (op::CREATE_TTL, at.record(5).long(999_999)), OK), CREATED),
    ("create numbered", &[], Ask(|at| (op::CREATE, at.record(2)), OK), NUMBERED),
    (
        "create what is there",
        &["p"],
        Ask(|at| (op::CREATE, at.record(0)), ErrorCode::NODE_EXISTS),
        NOTHING,
    ),
    ("set data", &["p"], Ask(|at| (op::SET_DATA, at.data(-1)), OK), DATA_SET),
    ("set data of a parent", &["p", "c"], Ask(|at| (op::SET_DATA, at.data(0)), OK), DATA_SET),
    (
        "set data, wrong version",
        &["p"],
        Ask(|at| (op::SET_DATA, at.data(9)), ErrorCode::BAD_VERSION),
        NOTHING,
    ),
    (
        "set data of nothing",
        &[],
        Ask(|at| (op::SET_DATA, at.data(-1)), ErrorCode::NO_NODE),
        NOTHING,
    ),
    ("delete", &["p"], Ask(|at| (op::DELETE, at.version(-1)), OK), DELETED),
    (
        "delete, wrong version",
        &["p"],
        Ask(|at| (op::DELETE, at.version(9)), ErrorCode::BAD_VERSION),
        NOTHING,
    ),
    (
        "delete with a child",
        &["p", "c"],
        Ask(|at| (op::DELETE, at.version(-1)), ErrorCode::NOT_EMPTY),
        NOTHING,
    ),
    ("set ACL", &["p"], Ask(|at| (op::SET_ACL, at.acl(-1)), OK), NOTHING),
    (
        "set ACL, wrong version",
        &["p"],
        Ask(|at| (op::SET_ACL, at.acl(9)), ErrorCode::BAD_VERSION),
        NOTHING,
    ),
    ("read", &["p"], Ask(|at| (op::MULTI_READ, Part::write_all(&at.reads())), OK), NOTHING),
    ("sync", &["p"], Ask(|at| (op::SYNC, Writer::new().string(&at.of("p"))), OK), NOTHING),
    ("multi", &[], Ask(|at| (op::MULTI, at.come_and_go(1)), OK), CAME_AND_WENT),
    ("multi that fails late", &[], Ask(|at| (op::MULTI, at.come_and_go(9)), OK), NOTHING),
    ("multi of a check", &["p"], Ask(|at| (op::MULTI, at.check()), OK), NOTHING),
    ("multi of one", &["p"], Ask(|at| (op::MULTI, at.delete()), OK), DELETED),
    ("close of a session", &["p"], Close, DELETED),
    ("close of a session with two", &["p", "r"], Close, TWO_DELETED),
    ("end of a silent session", &["p"], FallSilent, DELETED),
    ("end of a silent session with two", &["p", "r"], FallSilent, TWO_DELETED),
];

/// The znodes of one row.
struct Names(String);

impl Names {
    fn of(&self, name: &str) -> String {
        let b = &self.0;
        match name {
            "/" => "/".into(),
            "b" => b.clone(),
            "q" => format!("{b}/q"),
            "p" => format!("{b}/q/p"),
            "s" => format!("{b}/q/p0000000000"),
            "r" => format!("{b}/q/r"),
            "c" => format!("{b}/q/p/c"),
            other => panic!("{other} names no znode"),
        }
    }

    fn record(&self, flags: i32) -> Writer {
        create_record(&self.of("p"), b"", &Acl::open(), flags)
    }

    fn data(&self, version: i32) -> Writer {
        Writer::new().string(&self.of("p")).buffer(b"x").int(version)
    }

    fn version(&self, version: i32) -> Writer {
        Writer::new().string(&self.of("p")).int(version)
    }

    fn acl(&self, version: i32) -> Writer {
        Acl::write_all(&Acl::open(), Writer::new().string(&self.of("p"))).int(version)
    }

    fn reads(&self) -> [Part; 2] {
        [Part::GetData(self.of("p")), Part::GetChildren(self.of("q"))]
    }

    fn check(&self) -> Writer {
        Part::write_all(&[Part::Check(self.of("p"), 0)])
    }

    fn delete(&self) -> Writer {
        Part::write_all(&[Part::Delete(self.of("p"), 0)])
    }

    /// Ends well if `version` is 1.
    fn come_and_go(&self, version: i32) -> Writer {
        let (p, c) = (self.of("p"), self.of("c"));
        Part::write_all(&[
            Part::Create(op::CREATE, p.clone(), vec![], 0),
            Part::SetData(p.clone(), vec![1], 0),
            Part::Create(op::CREATE2, c.clone(), vec![], 0),
            Part::Delete(c, 0),
            Part::Delete(p, version),
        ])
    }

    /// `+p <q` as what a client hears.
    fn events(&self, told: &str) -> Vec<(EventKind, String)> {
        let event = |word: &str| {
            let (kind, name) = word.split_at(1);
            let kind = match kind {
                "+" => EventKind::Created,
                "-" => EventKind::Deleted,
                "=" => EventKind::DataChanged,
                "<" => EventKind::ChildrenChanged,
                other => panic!("{other} is no event"),
            };
            (kind, self.of(name))
        };
        told.split_whitespace().map(event).collect()
    }
}

#[test]
fn every_operation_fires_the_watches_of_its_row() {
    for n_servers in [1, 3] {
        let ensemble = Ensemble::of(n_servers).tick_ms(100).line("extendedTypesEnabled=true");
        let ensemble = ensemble.start();
        let mut watchers: Vec<Client> =
            (0..WATCHES.len()).map(|n| ensemble.client(n % n_servers)).collect();
        for (n, row) in TABLE.iter().enumerate() {
            let is_of_two = row.3 == TWO_DELETED;
            if is_of_two && !Program::promises("ephemerals end in the order of their paths") {
                continue;
            }
            let mut writer = ensemble.client(n % n_servers);
            others_are_told(&ensemble, &mut writer, &mut watchers, row);
            if let Ask(..) = row.2 {
                the_writer_is_told_before_its_reply(&mut writer, row);
            }
            writer.close();
        }
    }
}

type Row = (&'static str, &'static [&'static str], Does, Told);

/// A folder of its own, with the znodes that a row wants.
fn prepare(client: &mut Client, row: &Row, mut owner: Option<&mut Client>) -> Names {
    let root = client.create("/w-", b"", mode::SEQUENTIAL).expect("a root");
    let at = Names(root);
    client.create(&at.of("q"), b"", 0).expect("created");
    for name in row.1 {
        let created = match &mut owner {
            Some(owner) => owner.create(&at.of(name), b"", mode::EPHEMERAL),
            None => client.create(&at.of(name), b"", mode::PERSISTENT),
        };
        created.expect("created");
    }
    at
}

/// Sets watches. Says of each whether it is set: of a znode that is not there most are not.
fn watch(client: &mut Client, watches: &[(By, &str)], at: &Names) -> Vec<bool> {
    let set = |&(by, name): &(By, &str)| {
        let path = at.of(name);
        let set = match by {
            Exists => client.exists(&path, true).map(drop),
            GetData => client.get_data(&path, true).map(drop),
            GetChildren => client.children(&path, true).map(drop),
            GetChildren2 => client.children2(&path, true).map(drop),
            Persistent => client.add_watch(&path, 0),
            Recursive => client.add_watch(&path, 1),
        };
        assert!(matches!(set, Ok(()) | Err(ErrorCode::NO_NODE)), "{by:?} {path}: {set:?}");
        set.is_ok() || by == Exists
    };
    watches.iter().map(set).collect()
}

/// Modes on one path are independent since ZooKeeper 3.9.
fn is_promised(name: &str) -> bool {
    let is_mixed = name.starts_with("both") || name.starts_with("all");
    !is_mixed || Program::promises("modes on one path are independent")
}

fn told_of(told: Told, name: &str) -> &'static str {
    told.iter().find(|(watch, _)| *watch == name).map_or("", |(_, events)| events)
}

/// Events, each with the zxid in its header.
type Heard = Vec<(i64, (EventKind, String))>;

/// Messages up to the next reply, which is the last.
fn until_reply(client: &mut Client) -> (Heard, i64, ErrorCode) {
    let mut events = Vec::new();
    loop {
        match client.receive().expect("a message") {
            Message::Event { zxid, event } => events.push((zxid, (event.kind, event.path))),
            Message::Reply(reply) => return (events, reply.zxid, reply.error),
        }
    }
}

fn others_are_told(ensemble: &Ensemble, writer: &mut Client, watchers: &mut [Client], row: &Row) {
    let &(what, _, does, told) = row;
    let mut owner = match does {
        Ask(..) => None,
        Close | FallSilent => {
            Some(Client::open(ensemble.address(0), &Hello::fresh(1_000)).expect("a session"))
        }
    };
    writer.sync("/").expect("sync");
    let at = prepare(writer, row, owner.as_mut());
    let mut sets = Vec::new();
    for (watcher, (_, watches)) in watchers.iter_mut().zip(&WATCHES) {
        watcher.sync("/").expect("sync");
        sets.push(watch(watcher, watches, &at));
        let before = watcher.events();
        if Program::promises("no watch is left of the row before") {
            assert_eq!(before, [], "{what}: nothing has happened yet");
        }
    }
    let zxid = match does {
        Ask(request, error) => {
            let (op, body) = request(&at);
            let reply = writer.ask(op, body).expect("a reply");
            assert_eq!(reply.error, error, "{what}");
            Some(reply.zxid)
        }
        Close => {
            owner.expect("there is one").close();
            None
        }
        FallSilent => {
            drop(owner);
            eventually("the session ends", || {
                writer.sync("/").expect("sync");
                (writer.exists(&at.of("p"), false) == Err(ErrorCode::NO_NODE)).then_some(())
            });
            None
        }
    };
    let mut zxids = Vec::from_iter(zxid);
    let watchers = watchers.iter_mut().zip(&WATCHES).zip(sets);
    for ((watcher, (name, watches)), set) in watchers {
        watcher.send(op::SYNC, Writer::new().string("/")).expect("sent");
        let (events, ..) = until_reply(watcher);
        let expected = at.events(told_of(told, name));
        if !is_promised(name) {
            continue;
        }
        assert!(
            events.iter().map(|(_, event)| event).eq(&expected),
            "{what}: {name} is told {events:?}, should be {expected:?}"
        );
        zxids.extend(events.iter().map(|(zxid, _)| *zxid));
        let set = set.iter().map(|set| *set && expected.is_empty());
        stays_or_goes(watcher, watches, set.collect(), &at, what);
    }
    if !Program::promises("an event bears the zxid of its change") {
        return;
    }
    zxids.dedup();
    assert!(zxids.len() == 1 && zxids[0] > 0, "{what}: one change, one zxid: {zxids:?}");
}

/// What fired once is gone, and everything else is there until it is taken away. `set` says which
/// of the one-shot watches are left.
fn stays_or_goes(
    client: &mut Client,
    watches: &[(By, &str)],
    set: Vec<bool>,
    at: &Names,
    what: &str,
) {
    if !Program::promises("watches are checked and removed by mode (3.9)") {
        for (_, name) in watches {
            // Some have fired.
            let _ = client.remove_watches(&at.of(name), 3);
        }
        return;
    }
    for (&(by, name), set) in watches.iter().zip(set) {
        let (path, kind) = (at.of(name), by.kind());
        let found = client.check_watches(&path, kind);
        // With others on one connection it may not be this one that was told.
        if by.stays() || watches.len() == 1 {
            let expected = if by.stays() || set { Ok(()) } else { Err(ErrorCode::NO_WATCHER) };
            assert_eq!(found, expected, "{what}: {by:?} {name}");
        }
        assert_eq!(client.remove_watches(&path, kind), found, "{what}: {by:?} {name}");
        let again = client.remove_watches(&path, kind);
        assert_eq!(again, Err(ErrorCode::NO_WATCHER), "{what}: {by:?} {name}");
    }
}

fn the_writer_is_told_before_its_reply(writer: &mut Client, row: &Row) {
    let &(what, _, does, told) = row;
    let Ask(request, error) = does else { return };
    for (name, watches) in &WATCHES {
        let at = prepare(writer, row, None);
        watch(writer, watches, &at);
        let (op, body) = request(&at);
        writer.send(op, body).expect("sent");
        let (events, zxid, code) = until_reply(writer);
        assert_eq!(code, error, "{what}");
        let expected: Vec<_> = at.events(told_of(told, name));
        if !is_promised(name) {
            continue;
        }
        let zxid = if Program::promises("an event bears a zxid") { zxid } else { -1 };
        let expected: Vec<_> = expected.into_iter().map(|event| (zxid, event)).collect();
        assert_eq!(events, expected, "{what}: {name}, of the writer itself");
        assert_eq!(writer.events(), [], "{what}: {name}: nothing comes late");
        for &(_, name) in *watches {
            // Some have fired.
            let _ = writer.remove_watches(&at.of(name), 3);
        }
    }
}

/// Each change again, with the ACLs of `p` and `q` closed to strangers or not after they have set
/// their watches: an event is told to who may read the znode of its path, and a one-shot watch is
/// used up all the same.
#[test]
fn no_watch_tells_what_may_not_be_read() {
    if !Program::promises("events are filtered by ACLs (3.8.4, 3.9.2)") {
        return;
    }
    let ensemble = Ensemble::of(3).tick_ms(100).start();
    let connect = |n: usize| ensemble.client(n % 3);
    let mut strangers: Vec<Client> = (0..WATCHES.len()).map(connect).collect();
    let mut friends: Vec<Client> = (0..WATCHES.len()).map(connect).collect();
    let mut writer = ensemble.client(1);
    for friend in friends.iter_mut().chain([&mut writer]) {
        friend.authenticate("digest", b"alice:secret").expect("known");
    }
    let closed = [Acl::new(31, "auth", "")];
    for row in TABLE.iter().filter(|row| ["create", "set data", "delete"].contains(&row.0)) {
        for (shows_p, shows_q) in [(true, true), (true, false), (false, true), (false, false)] {
            let (what, told) = (format!("{} {shows_p} {shows_q}", row.0), row.3);
            let at = prepare(&mut writer, row, None);
            let mut sets = Vec::new();
            for watchers in [&mut strangers, &mut friends] {
                for (watcher, (_, watches)) in watchers.iter_mut().zip(&WATCHES) {
                    watcher.sync("/").expect("sync");
                    sets.push(watch(watcher, watches, &at));
                }
            }
            for (name, is_shown) in [("q", shows_q), ("p", shows_p)] {
                if !is_shown && (name == "q" || !row.1.is_empty()) {
                    writer.set_acl(&at.of(name), &closed, -1).expect("set");
                }
            }
            let open = Acl::open();
            let acl = if shows_p { &open[..] } else { &closed[..] };
            let (op, body) = match row.0 {
                "create" => (op::CREATE, create_record(&at.of("p"), b"", acl, 0)),
                "set data" => (op::SET_DATA, at.data(-1)),
                _ => (op::DELETE, at.version(-1)),
            };
            assert_eq!(writer.ask(op, body).map(|reply| reply.error), Ok(OK), "{what}");
            let mut sets = sets.into_iter();
            for (watchers, are_friends) in [(&mut strangers, false), (&mut friends, true)] {
                for (watcher, (name, watches)) in watchers.iter_mut().zip(&WATCHES) {
                    let all = at.events(told_of(told, name));
                    let is_shown = |(_, path): &&(EventKind, String)| {
                        are_friends || if *path == at.of("q") { shows_q } else { shows_p }
                    };
                    let expected: Vec<_> = all.iter().filter(is_shown).cloned().collect();
                    watcher.send(op::SYNC, Writer::new().string("/")).expect("sent");
                    let events = until_reply(watcher).0.into_iter().map(|(_, event)| event);
                    let events: Vec<_> = events.collect();
                    assert_eq!(events, expected, "{what}: {name}, friend: {are_friends}");
                    let set = sets.next().expect("one for each");
                    let left = set.iter().map(|set| *set && all.is_empty()).collect();
                    stays_or_goes(watcher, watches, left, &at, &what);
                }
            }
        }
    }
}
