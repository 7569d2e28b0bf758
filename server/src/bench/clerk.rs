//! What is made before a run and deleted after it, by one session of its own.
//!
//! Invariant: only what lies below the root of this run is ever deleted, and the root was not there
//! before.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use zokor_core::id::{SessionId, Xid};
use zokor_core::proto::{ConnectRequest, Read, Request, Response, Text, Write};
use zokor_net::wire::frame::split_frame;
use zokor_net::wire::request::{encode_connect, encode_request};
use zokor_net::wire::response::{decode_connected, decode_reply_header, decode_response};

use super::link::{MAX_FRAME, name_of};
use super::operations::delete;

/// A session that asks many things and waits for all the answers.
#[derive(Debug)]
pub(super) struct Clerk {
    stream: TcpStream,
    input: BytesMut,
}

impl Clerk {
    /// A session at the first server that grants one.
    pub(super) fn open(hosts: &[SocketAddr], timeout: Duration) -> Result<Clerk, String> {
        let end = Instant::now() + CONNECT_PATIENCE;
        loop {
            let mut problems = Vec::new();
            for host in hosts {
                match Clerk::greet(*host, timeout) {
                    Ok(clerk) => return Ok(clerk),
                    Err(error) => problems.push(format!("{host}: {error}")),
                }
            }
            if Instant::now() >= end {
                return Err(format!("no server grants a session: {}", problems.join("; ")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn greet(host: SocketAddr, timeout: Duration) -> Result<Clerk, String> {
        let stream = TcpStream::connect_timeout(&host, GREETING_PATIENCE);
        let stream = stream.map_err(|error| error.to_string())?;
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(GREETING_PATIENCE)))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_PATIENCE)));
        set.map_err(|error| error.to_string())?;
        let mut clerk = Clerk { stream, input: BytesMut::new() };
        let mut out = BytesMut::new();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        };
        encode_connect(&mut out, &request);
        clerk.send(&out)?;
        let frame = clerk.frame()?;
        let granted = decode_connected(frame).map_err(|error| error.to_string())?;
        if granted.timeout_ms <= 0 {
            return Err("it refuses the session".into());
        }
        let set = clerk.stream.set_read_timeout(Some(ANSWER_PATIENCE));
        set.map_err(|error| error.to_string())?;
        Ok(clerk)
    }

    /// Asks for all of `requests`; the first that fails ends it.
    pub(super) fn make(&mut self, requests: &[Request]) -> Result<(), String> {
        for part in requests.chunks(WINDOW) {
            for (request, result) in part.iter().zip(self.ask(part)?) {
                if let Err(error) = result {
                    let (what, name) = (what(request), name_of(error));
                    return Err(format!("{what} failed with {name}{}", advice(error)));
                }
            }
        }
        Ok(())
    }

    /// Deletes `root` and all below it. What is gone already does not matter.
    pub(super) fn clear(&mut self, root: &str) -> Result<u64, String> {
        self.make(&[Request::Sync(root.into())])?;
        let mut all = vec![Text::from(root)];
        let mut next = 0;
        while next < all.len() {
            let end = all.len().min(next + WINDOW);
            let list = |path: &Text| {
                Request::Read(Read::GetChildren {
                    path: path.clone(),
                    watch: false,
                    with_stat: false,
                })
            };
            let requests: Vec<Request> = all[next..end].iter().map(list).collect();
            let answers = self.ask(&requests)?;
            for (at, answer) in (next..end).zip(answers) {
                match answer {
                    Ok(Response::Names(names)) => {
                        let children = names.iter().map(|name| format!("{}/{name}", all[at]));
                        let children: Vec<Text> = children.map(Text::from).collect();
                        all.extend(children);
                    }
                    Ok(_) | Err(NO_NODE) => {}
                    Err(error) => {
                        return Err(format!("cannot list {}: {}", all[at], name_of(error)));
                    }
                }
            }
            next = end;
        }
        // Children come after their parents there.
        all.reverse();
        for part in all.chunks(WINDOW) {
            self.delete(part)?;
        }
        Ok(all.len() as u64)
    }

    /// Many at once, since that costs the servers least; one by one where that fails.
    fn delete(&mut self, paths: &[Text]) -> Result<(), String> {
        let one = |path: &Text| Write::Delete { path: path.clone(), version: -1 };
        let parts: Vec<&[Text]> = paths.chunks(PARTS).collect();
        let multis =
            parts.iter().map(|part| Request::Write(Write::Multi(part.iter().map(one).collect())));
        let multis: Vec<Request> = multis.collect();
        let answers = self.ask(&multis)?;
        for (part, answer) in parts.into_iter().zip(answers) {
            let deleted = matches!(&answer, Ok(Response::Multi(results))
                if results.iter().all(|r| !matches!(r, zokor_core::proto::OpResult::Error(_))));
            if deleted {
                continue;
            }
            let singles: Vec<Request> = part.iter().cloned().map(delete).collect();
            for (path, answer) in part.iter().zip(self.ask(&singles)?) {
                if let Err(error) = answer
                    && error != NO_NODE
                {
                    return Err(format!("cannot delete {path}: {}", name_of(error)));
                }
            }
        }
        Ok(())
    }

    /// Ends the session.
    pub(super) fn close(mut self) {
        // If it fails, the session's timeout ends it.
        let _ = self.ask(&[Request::Write(Write::CloseSession)]);
    }

    /// All the answers: a response, or an error's number.
    fn ask(&mut self, requests: &[Request]) -> Result<Vec<Result<Response, i32>>, String> {
        let mut out = BytesMut::new();
        let mut answers = Vec::with_capacity(requests.len());
        let mut n_sent = 0;
        for (n, request) in requests.iter().enumerate() {
            encode_request(&mut out, Xid(n as i32 + 1), request);
            if out.len() >= BATCH_SIZE || n + 1 == requests.len() {
                self.send(&out.split())?;
                while n_sent <= n {
                    answers.push(self.answer(&requests[n_sent])?);
                    n_sent += 1;
                }
            }
        }
        Ok(answers)
    }

    fn answer(&mut self, request: &Request) -> Result<Result<Response, i32>, String> {
        loop {
            let frame = self.frame()?;
            let (header, body) = decode_reply_header(frame).map_err(|error| error.to_string())?;
            if header.xid.0 < 0 {
                continue;
            }
            return match header.error {
                0 => decode_response(request, body).map(Ok).map_err(|error| error.to_string()),
                error => Ok(Err(error)),
            };
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    fn frame(&mut self) -> Result<Bytes, String> {
        let mut space = [0; 16 * 1024];
        loop {
            let frame = split_frame(&mut self.input, MAX_FRAME);
            if let Some(frame) = frame.map_err(|error| error.to_string())? {
                return Ok(frame);
            }
            let read = self.stream.read(&mut space);
            match read.map_err(|error| in_words(&error))? {
                0 => return Err("the server closed the connection".into()),
                n => self.input.extend_from_slice(&space[..n]),
            }
        }
    }
}

/// What to do about an error, where there is more to say than its name.
fn advice(error: i32) -> &'static str {
    match error {
        NO_AUTH => ": not everybody may do that here; --root names a znode where all may",
        AUTH_FAILED | REQUIRES_AUTH => {
            ": the servers want clients that authenticate, which this load does not"
        }
        _ => "",
    }
}

/// The system's words for a wait that was too long are of no use to anybody.
fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "no answer; does it speak ZooKeeper's protocol?".into()
        }
        _ => error.to_string(),
    }
}

fn what(request: &Request) -> String {
    match request {
        Request::Write(Write::Create(create)) => format!("creating {}", create.path),
        Request::Read(Read::Exists { path, .. }) => format!("finding {path}"),
        Request::Sync(path) => format!("sync of {path}"),
        _ => "a request".to_owned(),
    }
}

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const GREETING_PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Requests under way at a time.
const WINDOW: usize = 1_000;
/// Deletes in one multi.
const PARTS: usize = 100;
/// Bytes sent before answers are read: less than any server buffers.
const BATCH_SIZE: usize = 64 * 1024;
const NO_NODE: i32 = -101;
const NO_AUTH: i32 = -102;
const AUTH_FAILED: i32 = -115;
const REQUIRES_AUTH: i32 = -124;
