//! A small blocking client: one connection, one request at a time, or many by hand.
//!
//! It does nothing by itself: no reconnect, no ping, no retry. Events that arrive before a reply are
//! kept in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::jute::{Reader, Writer};
use crate::raw::{Connection, Handshake, Hello, is_cut};
use crate::records::{Acl, ErrorCode, Event, EventKind, Stat, mode, op};

/// What a request gives.
pub type Answer<T> = Result<T, ErrorCode>;

/// A session and its present connection.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// What the handshake gave.
    pub granted: Handshake,
    /// The largest zxid seen in a reply.
    pub last_zxid: i64,
    events: VecDeque<Event>,
    next_xid: i32,
}

/// One message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A watch fired.
    Event {
        /// The zxid in the header.
        zxid: i64,
        /// What it tells.
        event: Event,
    },
    /// An answer.
    Reply(Reply),
}

/// An answer's header and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub xid: i32,
    /// The zxid that the server had reached.
    pub zxid: i64,
    /// 0, or why it failed.
    pub error: ErrorCode,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Client {
    /// A fresh session of 30 s. Panics when the server does not grant one.
    pub fn connect(address: SocketAddr) -> Client {
        Client::open(address, &Hello::fresh(30_000)).expect("a session")
    }

    /// A session as asked for; `SESSION_EXPIRED` if refused, `CONNECTION_LOSS` if there is no answer.
    pub fn open(address: SocketAddr, hello: &Hello) -> Answer<Client> {
        let mut connection = Connection::open(address).map_err(|_| ErrorCode::CONNECTION_LOSS)?;
        let granted = connection.handshake(hello).map_err(|_| ErrorCode::CONNECTION_LOSS)?;
        if granted.timeout_ms <= 0 {
            return Err(ErrorCode::SESSION_EXPIRED);
        }
        let last_zxid = hello.last_zxid;
        Ok(Client { connection, granted, last_zxid, events: VecDeque::new(), next_xid: 1 })
    }

    /// The session's id.
    pub fn session(&self) -> i64 {
        self.granted.session
    }

    /// What another connection sends to go on with this session.
    pub fn hello_again(&self) -> Hello {
        Hello {
            last_zxid: self.last_zxid,
            timeout_ms: self.granted.timeout_ms,
            session: self.granted.session,
            password: Some(self.granted.password.clone()),
            read_only: Some(false),
        }
    }

    /// The same session on another connection, here or at another server.
    pub fn resume(&self, address: SocketAddr) -> Answer<Client> {
        let mut client = Client::open(address, &self.hello_again())?;
        client.next_xid = self.next_xid;
        Ok(client)
    }

    /// How long a reply may take from now on.
    pub fn set_patience(&self, bound: Duration) {
        self.connection.set_patience(bound);
    }

    /// The connection below, for what no client would do.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends a request and does not wait. Returns its xid.
    pub fn send(&mut self, op: i32, body: Writer) -> Answer<i32> {
        let xid = match op {
            op::PING => -2,
            op::AUTH => -4,
            op::SET_WATCHES | op::SET_WATCHES2 => -8,
            _ => {
                self.next_xid += 1;
                self.next_xid - 1
            }
        };
        let payload = Writer::new().int(xid).int(op).raw(&body.0).0;
        self.connection.send(&payload).map_err(|_| ErrorCode::CONNECTION_LOSS)?;
        Ok(xid)
    }

    /// The next message, whatever it is.
    pub fn receive(&mut self) -> Answer<Message> {
        let payload = self.connection.receive().map_err(|error| match is_cut(&error) {
            true => ErrorCode::CONNECTION_LOSS,
            false => ErrorCode::OPERATION_TIMEOUT,
        })?;
        let mut r = Reader::new(payload);
        let (xid, zxid, error) = (r.int(), r.long(), ErrorCode(r.int()));
        if xid == -1 {
            assert_eq!(error, ErrorCode(0), "an event's header has no error");
            let kind = EventKind::from_int(r.int());
            assert_eq!(r.int(), 3, "the state in an event is SyncConnected");
            let event = Event { kind, path: r.string() };
            r.finish();
            return Ok(Message::Event { zxid, event });
        }
        self.last_zxid = self.last_zxid.max(zxid);
        Ok(Message::Reply(Reply { xid, zxid, error, body: r.rest().to_vec() }))
    }

    /// Sends a request and waits for its reply, keeping the events that come before.
    pub fn ask(&mut self, op: i32, body: Writer) -> Answer<Reply> {
        let xid = self.send(op, body)?;
        loop {
            match self.receive()? {
                Message::Event { event, .. } => self.events.push_back(event),
                Message::Reply(reply) => {
                    assert_eq!(reply.xid, xid, "replies come in the order of the requests");
                    return Ok(reply);
                }
            }
        }
    }

    fn call<T>(&mut self, op: i32, body: Writer, read: impl Fn(&mut Reader) -> T) -> Answer<T> {
        let reply = self.ask(op, body)?;
        let mut r = Reader::new(reply.body);
        if reply.error != ErrorCode(0) {
            r.finish();
            return Err(reply.error);
        }
        let value = read(&mut r);
        r.finish();
        Ok(value)
    }

    /// Op 1 with the open ACL.
    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Answer<String> {
        self.call(op::CREATE, create_record(path, data, &Acl::open(), flags), Reader::string)
    }

    /// Op 1 with an ACL.
    pub fn create_with_acl(&mut self, path: &str, acl: &[Acl]) -> Answer<String> {
        self.call(op::CREATE, create_record(path, b"", acl, mode::PERSISTENT), Reader::string)
    }

    /// Op 1, 15 or 19 by the caller's choice, with path and stat in the answer (not for op 1).
    pub fn create2(&mut self, path: &str, data: &[u8], flags: i32) -> Answer<(String, Stat)> {
        let op = if flags == mode::CONTAINER { op::CREATE_CONTAINER } else { op::CREATE2 };
        let body = create_record(path, data, &Acl::open(), flags);
        self.call(op, body, |r| (r.string(), Stat::read(r)))
    }

    /// Op 21.
    pub fn create_ttl(&mut self, path: &str, flags: i32, ttl_ms: i64) -> Answer<(String, Stat)> {
        let body = create_record(path, b"", &Acl::open(), flags).long(ttl_ms);
        self.call(op::CREATE_TTL, body, |r| (r.string(), Stat::read(r)))
    }

    /// Op 2.
    pub fn delete(&mut self, path: &str, version: i32) -> Answer<()> {
        self.call(op::DELETE, Writer::new().string(path).int(version), |_| ())
    }

    /// Op 3; a missing znode is `NO_NODE`.
    pub fn exists(&mut self, path: &str, watch: bool) -> Answer<Stat> {
        self.call(op::EXISTS, Writer::new().string(path).bool(watch), Stat::read)
    }

    /// Op 4, null as empty.
    pub fn get(&mut self, path: &str) -> Answer<Vec<u8>> {
        self.get_data(path, false).map(|(data, _)| data.unwrap_or_default())
    }

    /// Op 4.
    pub fn get_data(&mut self, path: &str, watch: bool) -> Answer<(Option<Vec<u8>>, Stat)> {
        let body = Writer::new().string(path).bool(watch);
        self.call(op::GET_DATA, body, |r| (r.buffer(), Stat::read(r)))
    }

    /// Op 5.
    pub fn set_data(&mut self, path: &str, data: &[u8], version: i32) -> Answer<Stat> {
        self.call(op::SET_DATA, Writer::new().string(path).buffer(data).int(version), Stat::read)
    }

    /// Op 8, sorted.
    pub fn children(&mut self, path: &str, watch: bool) -> Answer<Vec<String>> {
        let body = Writer::new().string(path).bool(watch);
        let mut names = self.call(op::GET_CHILDREN, body, |r| r.vector(Reader::string))?;
        names.sort();
        Ok(names)
    }

    /// Op 12, sorted.
    pub fn children2(&mut self, path: &str, watch: bool) -> Answer<(Vec<String>, Stat)> {
        let body = Writer::new().string(path).bool(watch);
        let read = |r: &mut Reader| (r.vector(Reader::string), Stat::read(r));
        let (mut names, stat) = self.call(op::GET_CHILDREN2, body, read)?;
        names.sort();
        Ok((names, stat))
    }

    /// Op 9; the path comes back.
    pub fn sync(&mut self, path: &str) -> Answer<String> {
        self.call(op::SYNC, Writer::new().string(path), Reader::string)
    }

    /// Op 11.
    pub fn ping(&mut self) -> Answer<()> {
        self.call(op::PING, Writer::new(), |_| ())
    }

    /// Op 6.
    pub fn acl(&mut self, path: &str) -> Answer<(Vec<Acl>, Stat)> {
        let read = |r: &mut Reader| (r.vector(Acl::read), Stat::read(r));
        self.call(op::GET_ACL, Writer::new().string(path), read)
    }

    /// Op 7.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Answer<Stat> {
        let body = Acl::write_all(acl, Writer::new().string(path)).int(version);
        self.call(op::SET_ACL, body, Stat::read)
    }

    /// Op 100.
    pub fn authenticate(&mut self, scheme: &str, credentials: &[u8]) -> Answer<()> {
        self.call(op::AUTH, Writer::new().int(0).string(scheme).buffer(credentials), |_| ())
    }

    /// Op 107, sorted.
    pub fn who_am_i(&mut self) -> Answer<Vec<(String, String)>> {
        let read = |r: &mut Reader| r.vector(|r| (r.string(), r.string()));
        let mut ids = self.call(op::WHO_AM_I, Writer::new(), read)?;
        ids.sort();
        Ok(ids)
    }

    /// Op 103, sorted.
    pub fn ephemerals(&mut self, prefix: &str) -> Answer<Vec<String>> {
        let read = |r: &mut Reader| r.vector(Reader::string);
        let mut paths = self.call(op::GET_EPHEMERALS, Writer::new().string(prefix), read)?;
        paths.sort();
        Ok(paths)
    }

    /// Op 104.
    pub fn count_descendants(&mut self, path: &str) -> Answer<i32> {
        self.call(op::GET_ALL_CHILDREN_NUMBER, Writer::new().string(path), Reader::int)
    }

    /// Op 106: 0 persistent, 1 recursive.
    pub fn add_watch(&mut self, path: &str, mode: i32) -> Answer<()> {
        let body = Writer::new().string(path).int(mode);
        let error = self.call(op::ADD_WATCH, body, Reader::int)?;
        assert_eq!(error, 0);
        Ok(())
    }

    /// Op 18: 1 children, 2 data, 3 any.
    pub fn remove_watches(&mut self, path: &str, kind: i32) -> Answer<()> {
        self.call(op::REMOVE_WATCHES, Writer::new().string(path).int(kind), |_| ())
    }

    /// Op 17: 1 children, 2 data, 3 any.
    pub fn check_watches(&mut self, path: &str, kind: i32) -> Answer<()> {
        self.call(op::CHECK_WATCHES, Writer::new().string(path).int(kind), |_| ())
    }

    /// Op 101: the lists are data, exists and child watches.
    pub fn set_watches(&mut self, zxid: i64, lists: [&[&str]; 3]) -> Answer<()> {
        let mut body = Writer::new().long(zxid);
        for list in lists {
            body = body.strings(list);
        }
        self.call(op::SET_WATCHES, body, |_| ())
    }

    /// Op 105: the lists are data, exists, child, persistent and recursive watches.
    pub fn set_watches2(&mut self, zxid: i64, lists: [&[&str]; 5]) -> Answer<()> {
        let mut body = Writer::new().long(zxid);
        for list in lists {
            body = body.strings(list);
        }
        self.call(op::SET_WATCHES2, body, |_| ())
    }

    /// Op 14.
    pub fn multi(&mut self, parts: &[Part]) -> Answer<Vec<Part>> {
        self.call(op::MULTI, Part::write_all(parts), Part::read_all)
    }

    /// Op 22.
    pub fn multi_read(&mut self, parts: &[Part]) -> Answer<Vec<Part>> {
        self.call(op::MULTI_READ, Part::write_all(parts), Part::read_all)
    }

    /// Ends the session in good order and waits until the server closes the connection.
    pub fn close(mut self) {
        self.call(op::CLOSE_SESSION, Writer::new(), |_| ()).expect("close");
        assert!(self.connection.is_closed_by_server(), "the server closes after the last reply");
    }

    /// The events so far, oldest first; asks the server once, so that all that was queued is here.
    pub fn events(&mut self) -> Vec<Event> {
        self.ping().expect("ping");
        self.events.drain(..).collect()
    }

    /// The next event, waiting for it.
    pub fn next_event(&mut self) -> Answer<Event> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        match self.receive()? {
            Message::Event { event, .. } => Ok(event),
            Message::Reply(reply) => panic!("a reply that nobody asked for: {reply:?}"),
        }
    }
}

/// The record of ops 1, 15 and 19.
pub fn create_record(path: &str, data: &[u8], acl: &[Acl], flags: i32) -> Writer {
    Acl::write_all(acl, Writer::new().string(path).buffer(data)).int(flags)
}

/// One operation of a multi, or one result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Asks op 1, 15 or 19: path, data, flags.
    Create(i32, String, Vec<u8>, i32),
    /// Asks op 2: path, version.
    Delete(String, i32),
    /// Asks op 5: path, data, version.
    SetData(String, Vec<u8>, i32),
    /// Asks op 13: path, version.
    Check(String, i32),
    /// Asks op 4: path.
    GetData(String),
    /// Asks op 8: path.
    GetChildren(String),
    /// Result of op 1.
    Created(String),
    /// Result of ops 15 and 19.
    Created2(String, Stat),
    /// Result of op 5.
    DataSet(Stat),
    /// Result of ops 2 and 13: the op.
    Done(i32),
    /// Result of op 4.
    Data(Option<Vec<u8>>, Stat),
    /// Result of op 8.
    Children(Vec<String>),
    /// Result of an operation that failed or was undone.
    Failed(ErrorCode),
}

impl Part {
    /// The record of ops 14 and 22.
    pub fn write_all(parts: &[Part]) -> Writer {
        let mut w = Writer::new();
        for part in parts {
            w = part.write(w);
        }
        w.int(-1).bool(true).int(-1)
    }

    fn write(&self, w: Writer) -> Writer {
        let head = |w: Writer, op| w.int(op).bool(false).int(-1);
        match self {
            Part::Create(op, path, data, flags) => {
                head(w, *op).raw(&create_record(path, data, &Acl::open(), *flags).0)
            }
            Part::Delete(path, version) => head(w, op::DELETE).string(path).int(*version),
            Part::SetData(path, data, version) => {
                head(w, op::SET_DATA).string(path).buffer(data).int(*version)
            }
            Part::Check(path, version) => head(w, op::CHECK).string(path).int(*version),
            Part::GetData(path) => head(w, op::GET_DATA).string(path).bool(false),
            Part::GetChildren(path) => head(w, op::GET_CHILDREN).string(path).bool(false),
            result => panic!("{result:?} is a result"),
        }
    }

    fn read_all(r: &mut Reader) -> Vec<Part> {
        let mut parts = Vec::new();
        loop {
            let (op, done, error) = (r.int(), r.bool(), r.int());
            if done {
                assert_eq!((op, error), (-1, -1), "the end marker");
                return parts;
            }
            parts.push(match op {
                -1 => {
                    assert_eq!(r.int(), error, "the code stands in header and body");
                    Part::Failed(ErrorCode(error))
                }
                op::CREATE => Part::Created(r.string()),
                op::CREATE2 => Part::Created2(r.string(), Stat::read(r)),
                op::SET_DATA => Part::DataSet(Stat::read(r)),
                op::DELETE | op::CHECK => Part::Done(op),
                op::GET_DATA => Part::Data(r.buffer(), Stat::read(r)),
                op::GET_CHILDREN => Part::Children(r.vector(Reader::string)),
                other => panic!("a result of type {other}"),
            });
        }
    }
}
