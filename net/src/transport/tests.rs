//! Tests of the links between peers, over real sockets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use zokor_core::auth::{PeerAuth, Secret};
use zokor_core::id::{Seed, SessionId};
use zokor_core::raft::{self, Body, Term};

mod broken_off;

use super::*;
use crate::wire::frame::split_frame;
use crate::wire::login::{LOGIN_LIMIT, Login, decode_login, encode_login};
use crate::wire::peer::{Hello, decode_hello, encode_hello, encode_message};

/// Notes what links tell.
#[derive(Default)]
struct Notes {
    lines: Mutex<Vec<String>>,
    incoming: Mutex<BTreeMap<ServerId, (u64, oneshot::Sender<()>)>>,
    last_number: Mutex<u64>,
    part: Mutex<Option<Part>>,
    held: Mutex<Option<PartHeld>>,
}

impl Notes {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn count(&self, line: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|noted| noted.as_str() == line).count()
    }

    async fn until(&self, line: &str, n: usize) {
        let waiting = async {
            while self.count(line) < n {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("{line} does not come, but {:?}", self.lines.lock().unwrap());
        }
    }
}

impl PeerPort for Notes {
    fn up(&self, peer: ServerId) {
        self.note(format!("up {peer}"));
    }

    fn down(&self, peer: ServerId) {
        self.note(format!("down {peer}"));
    }

    fn incoming(&self, from: ServerId) -> Incoming {
        let mut number = self.last_number.lock().unwrap();
        *number += 1;
        let (replaced, superseded) = oneshot::channel();
        self.incoming.lock().unwrap().insert(from, (*number, replaced));
        self.note(format!("incoming {from}"));
        Incoming { number: *number, superseded }
    }

    fn heard(&self, from: ServerId, number: u64, messages: Vec<Message>, _: Vec<Written>) -> bool {
        assert_eq!(self.incoming.lock().unwrap()[&from].0, number);
        for message in messages {
            match message {
                Message::Heard(sessions) => self.note(format!("heard {from}: {}", sessions[0].0)),
                Message::Snapshot { term, .. } => self.note(format!("snapshot of {term:?}")),
                message => panic!("nobody said {message:?}"),
            }
        }
        true
    }

    fn incoming_ended(&self, from: ServerId, _: u64) {
        self.note(format!("ended {from}"));
    }

    fn keep_part(&self, from: ServerId, part: Part) {
        self.note(format!("{} chunks of {from} kept", part.held().n_chunks));
        *self.part.lock().unwrap() = Some(part);
    }

    fn take_part(&self, _: ServerId) -> Option<Part> {
        self.part.lock().unwrap().take()
    }

    fn part_held(&self, from: ServerId, part: PartHeld) {
        self.note(format!("{from} holds {}", part.n_chunks));
        *self.held.lock().unwrap() = Some(part);
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const ENSEMBLE: u64 = 99;

fn identity(id: u64) -> Identity {
    Identity { id: ServerId(id), ensemble: ENSEMBLE }
}

fn heard(session: i64) -> Message {
    Message::Heard(vec![SessionId(session)])
}

/// Server 2, which takes in server 1 and nobody else.
async fn taker(notes: Arc<Notes>) -> String {
    taker_with(notes, None).await
}

/// The same, where it knows passwords.
async fn taker_with(notes: Arc<Notes>, credentials: Option<Arc<Credentials>>) -> String {
    let listener = bind("127.0.0.1:0".parse().unwrap(), "peers", None).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(accept(listener, "peers", move |stream, _| {
        let (notes, credentials) = (notes.clone(), credentials.clone());
        let limits =
            ReceiveLimits { hello_timeout: Duration::from_millis(500), ..ReceiveLimits::default() };
        tokio::spawn(async move {
            let is_peer = |peer| peer == ServerId(1);
            match meet(stream, identity(2), credentials.as_deref(), is_peer, limits).await {
                Ok(visitor) => visitor.listen(notes).await,
                Err(why) => notes.note(format!("refused: {why}")),
            }
        });
    }));
    address
}

/// Server 1, which dials server 2 at `address`.
fn dialer(address: String, outbox: &Arc<Outbox>, notes: &Arc<Notes>) {
    dialer_of(vec![address], outbox, notes);
}

/// The same, where server 2 has several.
fn dialer_of(addresses: Vec<String>, outbox: &Arc<Outbox>, notes: &Arc<Notes>) {
    dialer_with(addresses, outbox, notes, None);
}

/// The same, where server 1 knows a password.
fn dialer_with(
    addresses: Vec<String>,
    outbox: &Arc<Outbox>,
    notes: &Arc<Notes>,
    credentials: Option<Arc<Credentials>>,
) {
    let limits = DialLimits {
        least_delay: Duration::from_millis(1),
        longest_delay: Duration::from_millis(5),
        address_timeout: Duration::from_millis(50),
        ..DialLimits::default()
    };
    let dialer = Dialer {
        local: identity(1),
        peer: ServerId(2),
        addresses,
        credentials,
        limits,
        outbox: outbox.clone(),
        port: notes.clone(),
        options: Arc::new(PlainSockets),
    };
    tokio::spawn(dialer.run());
}

/// What server 2 does when it is played by a test: hears a hello and says another.
async fn answer_hello(listener: &TcpListener, answer: Hello) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let size = stream.read_u32().await.unwrap();
    let mut frame = vec![0; size as usize];
    stream.read_exact(&mut frame).await.unwrap();
    let hello = decode_hello(Bytes::from(frame)).unwrap();
    let (from, to) = (ServerId(1), ServerId(2));
    assert_eq!(hello, Hello { from, to, fingerprint: ENSEMBLE, asks: false });
    let mut out = BytesMut::new();
    encode_hello(&answer, &mut out);
    stream.write_all(&out).await.unwrap();
    stream
}

fn proper_answer() -> Hello {
    Hello { from: ServerId(2), to: ServerId(1), fingerprint: ENSEMBLE, asks: false }
}

#[tokio::test]
async fn messages_arrive_in_order_over_a_link_that_was_accepted() {
    let (here, there) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let outbox = Arc::new(Outbox::new(1 << 20));
    dialer(taker(there.clone()).await, &outbox, &here);
    here.until("up 2", 1).await;
    for session in 0..100 {
        outbox.push(heard(session), None);
    }
    outbox.wake();
    there.until("heard 1: 99", 1).await;
    let lines = there.lines.lock().unwrap();
    let expected = (0..100).map(|session| format!("heard 1: {session}"));
    assert_eq!(lines[1..], expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_link_that_breaks_is_told_at_once_and_stands_again() {
    let notes = Arc::new(Notes::default());
    let outbox = Arc::new(Outbox::new(1 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    dialer(listener.local_addr().unwrap().to_string(), &outbox, &notes);
    for n in 1..=3 {
        let stream = answer_hello(&listener, proper_answer()).await;
        notes.until("up 2", n).await;
        assert_eq!(notes.count("down 2"), n - 1);
        drop(stream);
        notes.until("down 2", n).await;
    }
}

#[tokio::test]
async fn a_link_is_not_up_before_the_right_server_has_answered() {
    let notes = Arc::new(Notes::default());
    let outbox = Arc::new(Outbox::new(1 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    dialer(listener.local_addr().unwrap().to_string(), &outbox, &notes);
    let wrong = [
        Hello { from: ServerId(3), ..proper_answer() },
        Hello { to: ServerId(3), ..proper_answer() },
        Hello { fingerprint: 1, ..proper_answer() },
    ];
    for hello in wrong {
        let mut stream = answer_hello(&listener, hello).await;
        let end = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{hello:?}");
    }
    assert_eq!(notes.count("up 2"), 0);
    let _stream = answer_hello(&listener, proper_answer()).await;
    notes.until("up 2", 1).await;
}

#[tokio::test]
async fn of_several_addresses_the_first_that_answers_is_taken() {
    let (here, there) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let outbox = Arc::new(Outbox::new(1 << 20));
    // One that nobody finds, one where nobody listens, one where nobody says a word, and its own.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![
        "no-such-host.invalid:1".to_owned(),
        closed.to_string(),
        mute.local_addr().unwrap().to_string(),
        taker(there.clone()).await,
    ];
    dialer_of(addresses, &outbox, &here);
    here.until("up 2", 1).await;
    outbox.push(heard(3), None);
    outbox.wake();
    there.until("heard 1: 3", 1).await;
    assert_eq!(there.count("incoming 1"), 1);
}

#[tokio::test]
async fn a_link_goes_on_at_its_address_and_at_the_next_only_if_the_way_is_dead() {
    let notes = Arc::new(Notes::default());
    let outbox = Arc::new(Outbox::new(1 << 20));
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [&first, &second].map(|it| it.local_addr().unwrap().to_string());
    dialer_of(addresses.to_vec(), &outbox, &notes);
    drop(answer_hello(&first, proper_answer()).await);
    let stream = answer_hello(&first, proper_answer()).await;
    notes.until("up 2", 2).await;
    outbox.leave_way("it answers nothing");
    let _other = answer_hello(&second, proper_answer()).await;
    notes.until("up 2", 3).await;
    drop(stream);
    outbox.break_link("its queue is full");
    let _again = answer_hello(&second, proper_answer()).await;
    notes.until("up 2", 4).await;
    outbox.leave_way("it answers nothing");
    let _back = answer_hello(&first, proper_answer()).await;
    notes.until("up 2", 5).await;
}

#[tokio::test]
async fn a_peer_that_does_not_keep_up_loses_its_connection_and_not_our_memory() {
    let notes = Arc::new(Notes::default());
    let outbox = Arc::new(Outbox::new(1 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    dialer(listener.local_addr().unwrap().to_string(), &outbox, &notes);
    let _deaf = answer_hello(&listener, proper_answer()).await;
    notes.until("up 2", 1).await;
    let filling = async {
        while notes.count("down 2") == 0 {
            outbox.push(Message::Heard(vec![SessionId(1); 10_000]), None);
            outbox.wake();
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, filling).await.expect("the connection is given up");
    let _stream = answer_hello(&listener, proper_answer()).await;
    notes.until("up 2", 2).await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_for_too_long_loses_its_connection() {
    let (near, _far) = tokio::io::duplex(64);
    let outbox = Outbox::new(1 << 20);
    outbox.open();
    outbox.push(Message::Heard(vec![SessionId(1); 1000]), None);
    let why = dial::speak(near, &outbox, Duration::from_millis(20), dial::Pace::new(0));
    let end = timeout(PATIENCE, why).await.expect("the write is given up");
    assert_eq!((&*end.why, end.is_way_dead), ("it has not taken a byte for too long", true));
}

#[tokio::test]
async fn strangers_are_named_and_disturb_nobody() {
    let (here, there) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let outbox = Arc::new(Outbox::new(1 << 20));
    let address = taker(there.clone()).await;
    dialer(address.clone(), &outbox, &here);
    here.until("up 2", 1).await;
    let hello = |hello: Hello| {
        let mut out = BytesMut::new();
        encode_hello(&hello, &mut out);
        out.to_vec()
    };
    let good = Hello { from: ServerId(1), to: ServerId(2), fingerprint: ENSEMBLE, asks: false };
    let strangers = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "it does not speak to peers: \"GET / HTTP/1.1"),
        (hello(Hello { fingerprint: 5, ..good }), "it belongs to another ensemble"),
        (hello(Hello { to: ServerId(9), ..good }), "it looks for server 9, this is server 2"),
        (hello(Hello { from: ServerId(9), ..good }), "it says that it is server 9"),
        (hello(Hello { from: ServerId(2), ..good }), "it says that it is server 2"),
    ];
    for (n, (bytes, why)) in strangers.iter().enumerate() {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let end = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)));
        let lines = there.lines.lock().unwrap();
        let refused: Vec<_> = lines.iter().filter(|line| line.starts_with("refused")).collect();
        assert_eq!(refused.len(), n + 1);
        assert!(refused[n].contains(why), "{} instead of {why}", refused[n]);
    }
    outbox.push(heard(7), None);
    outbox.wake();
    there.until("heard 1: 7", 1).await;
    assert_eq!(here.count("down 2"), 0);
}

#[tokio::test]
async fn of_a_peers_connections_the_newest_counts() {
    let notes = Arc::new(Notes::default());
    let address = taker(notes.clone()).await;
    let mut streams = Vec::new();
    for n in 1..=2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(&codec::hello(identity(1), ServerId(2), false)).await.unwrap();
        notes.until("incoming 1", n).await;
        streams.push(stream);
    }
    let mut newest = streams.pop().unwrap();
    let mut oldest = streams.pop().unwrap();
    let mut rest = Vec::new();
    // The answer to its hello, and then the end.
    timeout(PATIENCE, oldest.read_to_end(&mut rest)).await.unwrap().unwrap();
    let mut out = BytesMut::new();
    assert!(encode_message(&heard(4), &mut out).is_none());
    newest.write_all(&out).await.unwrap();
    notes.until("heard 1: 4", 1).await;
    assert_eq!(notes.count("ended 1"), 0, "the older one has been replaced, not lost");
    drop(newest);
    notes.until("ended 1", 1).await;
}

#[tokio::test]
async fn a_damaged_message_ends_the_connection() {
    let notes = Arc::new(Notes::default());
    let address = taker(notes.clone()).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(&codec::hello(identity(1), ServerId(2), false)).await.unwrap();
    let mut out = BytesMut::new();
    let message = raft::Message { term: Term(3), body: Body::PreVoteReply { granted: true } };
    assert!(encode_message(&Message::Raft(message), &mut out).is_none());
    *out.last_mut().unwrap() ^= 1;
    stream.write_all(&out).await.unwrap();
    notes.until("ended 1", 1).await;
}

/// Writes what it is told, and reads all the time.
struct Teller {
    say: Vec<&'static [u8]>,
    heard: Arc<Mutex<Vec<Bytes>>>,
}

impl ClientPort for Teller {
    fn turn(&mut self, inbox: &mut Inbox, out: &mut BytesMut) -> Turn {
        while let Ok(Some(frame)) = inbox.frame() {
            self.heard.lock().unwrap().push(frame);
        }
        if out.is_empty() && !self.say.is_empty() {
            out.extend_from_slice(self.say.remove(0));
        }
        if self.say.is_empty() { Turn::Finish } else { Turn::Serve { reading: true } }
    }

    fn wrote(&mut self, _: usize) {}

    fn ended(&mut self, _: Option<std::io::Error>) {}
}

#[tokio::test]
async fn a_connection_reads_while_its_writes_wait_and_writes_all_before_it_closes() {
    let (near, mut far) = tokio::io::duplex(4);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let port = Teller { say: vec![b"a long word", b"another"], heard: heard.clone() };
    let wake = Notify::new();
    let attending = attend(near, port, Inbox::new(100), &wake, Duration::ZERO);
    let other_side = async {
        far.write_all(&[0, 0, 0, 2, 5, 6]).await.unwrap();
        let mut all = String::new();
        far.read_to_string(&mut all).await.unwrap();
        all
    };
    let both = async { tokio::join!(attending, other_side) };
    let ((), all) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(all, "a long wordanother");
    assert_eq!(*heard.lock().unwrap(), [Bytes::from_static(&[5, 6])]);
}

/// What a server knows that asks for proofs and demands them.
fn credentials(password: &str, accepted: &str) -> Option<Arc<Credentials>> {
    let settings = PeerAuth {
        users: [("peer".to_owned(), Secret::new(accepted))].into(),
        user: "peer".to_owned(),
        password: Secret::new(password),
        asks: true,
        demands: true,
    };
    let seed = [password.len(), accepted.len()].map(|n| n as u8).repeat(16);
    Some(Arc::new(Credentials::new(settings, Seed(seed.try_into().unwrap()))))
}

#[tokio::test]
async fn a_link_whose_ends_know_each_others_password_carries_messages() {
    let (here, there) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let outbox = Arc::new(Outbox::new(1 << 20));
    let address = taker_with(there.clone(), credentials("b", "secret")).await;
    dialer_with(vec![address], &outbox, &here, credentials("secret", "x"));
    here.until("up 2", 1).await;
    outbox.push(heard(3), None);
    outbox.wake();
    there.until("heard 1: 3", 1).await;
    assert_eq!(there.lines.lock().unwrap()[0], "incoming 1");
}

#[tokio::test]
async fn without_the_password_a_link_never_stands_at_either_end() {
    let (here, there) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let outbox = Arc::new(Outbox::new(1 << 20));
    let address = taker_with(there.clone(), credentials("b", "secret")).await;
    dialer_with(vec![address], &outbox, &here, credentials("guess", "x"));
    let refusal = TurnedAway::Unproven { peer: ServerId(1), why: greeting::WRONG_PASSWORD };
    there.until(&format!("refused: {refusal}"), 3).await;
    assert_eq!(here.count("up 2") + there.count("incoming 1"), 0);
}

#[tokio::test]
async fn who_claims_to_be_a_peer_and_shows_nothing_leaves_its_connection_alone() {
    let (here, there) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let outbox = Arc::new(Outbox::new(1 << 20));
    let address = taker_with(there.clone(), credentials("b", "secret")).await;
    dialer_with(vec![address.clone()], &outbox, &here, credentials("secret", "x"));
    here.until("up 2", 1).await;
    let mut message = BytesMut::new();
    assert!(encode_message(&heard(66), &mut message).is_none());
    let answer = Login::Answer(Bytes::from_static(b"username=\"peer\",response=0"));
    let mut wrong = BytesMut::new();
    encode_login(&answer, &mut wrong);
    let huge = [&(LOGIN_LIMIT as u32 + 1).to_be_bytes()[..], &[0; 100]].concat();
    let nothing: &[u8] = &[];
    let mut intruders = Vec::new();
    for (n, said) in [&message[..], &wrong, &huge, b"\0\0\0\x01x", nothing].iter().enumerate() {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let asks = n % 2 == 0;
        stream.write_all(&codec::hello(identity(1), ServerId(2), asks)).await.unwrap();
        stream.write_all(said).await.unwrap();
        if !said.is_empty() {
            stream.write_all(&message).await.unwrap();
        }
        intruders.push(stream);
    }
    for stream in &mut intruders {
        let mut said = Vec::new();
        // A challenge, perhaps a refusal, and the end; it may be a hard one.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it is let go");
        let mut said = BytesMut::from(&said[..]);
        while let Some(frame) = split_frame(&mut said, LOGIN_LIMIT).unwrap() {
            let login = decode_login(&frame).expect("no hello, and nothing else");
            assert!(matches!(login, Login::Challenge(_) | Login::Refused(_)), "{login:?}");
        }
    }
    outbox.push(heard(7), None);
    outbox.wake();
    there.until("heard 1: 7", 1).await;
    assert_eq!((here.count("down 2"), there.count("incoming 1")), (0, 1));
    assert_eq!(there.count("heard 1: 66"), 0);
}
