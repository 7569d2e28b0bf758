//! Frames over one socket, and nothing above them: for tests that send what no client would.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::jute::{Reader, Writer};

/// One connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

/// What a handshake gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The timeout granted, in milliseconds; 0 or less if the session was refused.
    pub timeout_ms: i32,
    /// The session; 0 if refused.
    pub session: i64,
    /// Its password.
    pub password: Vec<u8>,
    /// The trailing byte, if there is one.
    pub read_only: Option<bool>,
}

/// What a handshake asks for.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The largest zxid seen.
    pub last_zxid: i64,
    /// The timeout wanted, in milliseconds.
    pub timeout_ms: i32,
    /// The session to resume, or 0.
    pub session: i64,
    /// Its password; `None` for null.
    pub password: Option<Vec<u8>>,
    /// The trailing byte, if it is to be sent.
    pub read_only: Option<bool>,
}

impl Hello {
    /// A fresh session with this timeout.
    pub fn fresh(timeout_ms: i32) -> Hello {
        Hello {
            last_zxid: 0,
            timeout_ms,
            session: 0,
            password: Some(vec![0; 16]),
            read_only: Some(false),
        }
    }

    /// The record as bytes, without the frame's length.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new().int(0).long(self.last_zxid).int(self.timeout_ms);
        w = w.long(self.session);
        w = match &self.password {
            Some(password) => w.buffer(password),
            None => w.null(),
        };
        if let Some(read_only) = self.read_only {
            w = w.bool(read_only);
        }
        w.0
    }
}

impl Connection {
    /// Connects; reads and writes give up after a bound.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream })
    }

    /// How long a read waits from now on.
    pub fn set_patience(&self, bound: Duration) {
        self.stream.set_read_timeout(Some(bound)).expect("the bound is not zero");
    }

    /// How long a write waits from now on.
    pub fn set_write_patience(&self, bound: Duration) {
        self.stream.set_write_timeout(Some(bound)).expect("the bound is not zero");
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one frame.
    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend(payload);
        self.stream.write_all(&frame)
    }

    /// The next frame's payload. An error of kind `UnexpectedEof` says that the server closed.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        assert!(length < 64 << 20, "the server announces a frame of {length} bytes");
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }

    /// All bytes until the server closes.
    pub fn receive_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server closes without sending another byte.
    pub fn is_closed_by_server(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(n) => n == 0,
            Err(error) => is_cut(&error),
        }
    }

    /// Sends `hello` and reads the answer.
    pub fn handshake(&mut self, hello: &Hello) -> io::Result<Handshake> {
        self.send(&hello.encode())?;
        let payload = self.receive()?;
        let mut r = Reader::new(payload);
        assert_eq!(r.int(), 0, "the protocol version is always 0");
        let (timeout_ms, session) = (r.int(), r.long());
        let password = r.buffer().expect("a password is never null");
        let read_only = (!r.rest().is_empty()).then(|| r.bool());
        r.finish();
        Ok(Handshake { timeout_ms, session, password, read_only })
    }
}

/// Whether the error says that the other side is gone, rather than silent.
pub fn is_cut(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends a four-letter word and returns all of the answer.
pub fn four_letter(address: SocketAddr, word: &str) -> io::Result<String> {
    let mut connection = Connection::open(address)?;
    connection.set_patience(Duration::from_secs(5));
    connection.send_bytes(word.as_bytes())?;
    Ok(String::from_utf8_lossy(&connection.receive_all()?).into_owned())
}

/// The bound of every read and write.
const TIMEOUT: Duration = Duration::from_secs(30);
