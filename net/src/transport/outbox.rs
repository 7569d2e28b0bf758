//! What is to be sent to one peer.
//!
//! Invariants: order is kept, but for snapshots, between whose chunks other messages may go; memory
//! is bounded: a peer that does not keep up loses its connection, and with it what is queued; what
//! is put in while there is no connection is dropped. But of a snapshot that breaks off the peer
//! may keep a part: then the rest of it goes in the place of the next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use zokor_core::replica::Message;
use zokor_core::time::Instant;
use zokor_core::{maybe, mutated};

use super::codec::{PartHeld, Written, encode, encode_held, name};

/// The queue to one peer, shared by the runtime, which fills it, and the link's task.
pub struct Outbox {
    queue: Mutex<Queue>,
    /// Wakes the link's task when there is something to send.
    wake: Notify,
    /// Wakes it, also from a write that does not move, when the connection is to be given up.
    given_up: Notify,
    /// Wakes it from its pause between attempts.
    nudge: Notify,
    max_bytes: usize,
    broken_off: Mutex<BrokenOff>,
}

/// The snapshot that was sent last, which its connection may have ended with.
#[derive(Default)]
struct BrokenOff {
    snapshot: Option<Message>,
    /// What the peer keeps of it, or of another.
    held: Option<PartHeld>,
    /// When it was looked at first, if nothing has changed since.
    since: Option<Instant>,
}

/// Why a connection is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct GivenUp {
    pub(super) why: &'static str,
    /// It may be the way, and not the peer.
    pub(super) is_way_dead: bool,
}

#[derive(Default)]
struct Queue {
    open: bool,
    /// Why the connection is to be given up.
    broken: Option<GivenUp>,
    bytes: BytesMut,
    /// Messages in them.
    n_messages: usize,
    /// Their frames are made while they are sent. Each with a time to wait for at most, if the peer
    /// may have a part of the one before.
    snapshots: VecDeque<(Message, Option<tokio::time::Instant>)>,
    /// The sender has bytes of its own, of what was taken before.
    taken: usize,
}

impl Outbox {
    /// An empty one for at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        let [wake, given_up, nudge] = [const { Notify::const_new() }; 3];
        let (queue, broken_off) = (Mutex::default(), Mutex::default());
        Outbox { queue, wake, given_up, nudge, max_bytes, broken_off }
    }

    /// Queues a message, with the bytes of its entries if these are known. The link learns of it by
    /// [`Outbox::wake`].
    pub fn push(&self, message: Message, written: Option<&Written>) {
        let mut queue = self.lock();
        if !queue.open || queue.broken.is_some() {
            return;
        }
        if mutated!(FullQueueDrops | FullQueueDropsUnseen if queue.bytes.len() > 500) {
            return;
        }
        let snapshot = encode(&mut queue.bytes, message, written);
        queue.n_messages += usize::from(snapshot.is_none());
        queue.snapshots.extend(snapshot.map(|message| {
            let until =
                self.is_broken_off(&message).then(|| tokio::time::Instant::now() + TOLD_WITHIN);
            (message, until)
        }));
        // Legal: how much a queue holds is up to the server; the link comes back.
        let is_full = maybe!(QueueFull if queue.bytes.len() + queue.taken > 10_000);
        if queue.bytes.len() + queue.taken > self.max_bytes || is_full {
            self.give_up(&mut queue, "it does not keep up: its queue is full", false);
        } else if queue.snapshots.len() > MAX_SNAPSHOTS {
            self.give_up(&mut queue, "it does not keep up: too many snapshots wait", false);
        }
    }

    /// Queues the word that so much of a snapshot of the peer is kept here.
    pub(crate) fn push_held(&self, part: &PartHeld) {
        let mut queue = self.lock();
        if queue.open && queue.broken.is_none() {
            encode_held(&mut queue.bytes, part);
            queue.n_messages += 1;
        }
    }

    /// The peer keeps so much of a snapshot that broke off.
    pub(crate) fn held(&self, part: PartHeld) {
        self.broken_off().held = Some(part);
        self.wake();
    }

    /// This snapshot, or a part of it, has gone.
    pub(super) fn keep(&self, message: Message) {
        *self.broken_off() = BrokenOff { snapshot: Some(message), ..BrokenOff::default() };
    }

    /// Forgets a snapshot that was sent long ago.
    pub(crate) fn forget_old(&self, now: Instant) {
        let mut broken_off = self.broken_off();
        if broken_off.snapshot.is_some() || broken_off.held.is_some() {
            let since = *broken_off.since.get_or_insert(now);
            if now.since(since) >= KEPT_FOR {
                *broken_off = BrokenOff::default();
            }
        }
    }

    /// Whether the one sent last may do in the place of this snapshot: it is of the same
    /// leadership, and reaches as far for the terms of the log.
    fn is_broken_off(&self, message: &Message) -> bool {
        let former = self.broken_off().snapshot.as_ref().and_then(name);
        former.zip(name(message)).is_some_and(|((former_term, former), (term, new))| {
            former_term == term && former.last.term == new.last.term
        })
    }

    /// The snapshot to be sent for `message`, and how much of it the peer has: the rest of the one
    /// that broke off, or the whole of `message`.
    fn rest_of(&self, message: Message) -> (Message, u64) {
        let may_go_on = self.is_broken_off(&message);
        let BrokenOff { snapshot, held, .. } = std::mem::take(&mut *self.broken_off());
        let held = held.filter(|held| {
            may_go_on && snapshot.as_ref().and_then(name).is_some_and(|(_, it)| it == held.name)
        });
        match (snapshot, held) {
            (Some(former), Some(held)) => {
                tracing::info!(n_chunks = held.n_chunks, "going on with a snapshot that broke off");
                (former, held.n_chunks)
            }
            _ => (message, 0),
        }
    }

    /// Asks the link's task to send what is queued.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The peer is there: if the link's task waits to dial again, it need not.
    pub fn nudge(&self) {
        if !self.lock().open {
            self.nudge.notify_one();
        }
    }

    /// Gives the connection up, if there is one; the link dials again.
    pub fn break_link(&self, why: &'static str) {
        self.break_off(why, false);
    }

    /// The same for a connection whose way seems to be dead: the link dials another address first,
    /// if the peer has one.
    pub fn leave_way(&self, why: &'static str) {
        self.break_off(why, true);
    }

    fn break_off(&self, why: &'static str, is_way_dead: bool) {
        let mut queue = self.lock();
        if queue.open {
            self.give_up(&mut queue, why, is_way_dead);
        }
    }

    /// Messages that wait, and their bytes; snapshots are counted and not weighed.
    pub fn queued(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.n_messages + queue.snapshots.len(), queue.bytes.len() + queue.taken)
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Resolves when the connection is to be given up: why.
    pub(super) async fn given_up(&self) -> GivenUp {
        loop {
            if let Some(why) = self.lock().broken {
                return why;
            }
            self.given_up.notified().await;
        }
    }

    /// Whether the connection is to be given up since its way seems to be dead.
    #[cfg(test)]
    pub(crate) fn is_left(&self) -> bool {
        self.lock().broken.is_some_and(|broken| broken.is_way_dead)
    }

    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// A connection stands.
    pub(crate) fn open(&self) {
        *self.lock() = Queue { open: true, ..Queue::default() };
    }

    /// It has ended.
    pub(super) fn close(&self) {
        *self.lock() = Queue::default();
    }

    /// Swaps what is queued into the empty `out`.
    pub(super) fn take(&self, out: &mut BytesMut) {
        assert!(out.is_empty(), "what was taken before has to be sent first");
        let mut queue = self.lock();
        if out.capacity() > KEPT_CAPACITY {
            *out = BytesMut::new();
        }
        std::mem::swap(&mut queue.bytes, out);
        queue.n_messages = 0;
        queue.taken = out.len();
    }

    /// The next snapshot to be sent, and how many of its chunks the peer has. An `Err` says until
    /// when to wait for the peer's word on that.
    pub(super) fn take_snapshot(&self) -> Result<Option<(Message, u64)>, tokio::time::Instant> {
        let mut queue = self.lock();
        if let Some((_, Some(until))) = queue.snapshots.front()
            && *until > tokio::time::Instant::now()
            && self.broken_off().held.is_none()
        {
            return Err(*until);
        }
        let next = queue.snapshots.pop_front();
        drop(queue);
        Ok(next.map(|(message, _)| self.rest_of(message)))
    }

    fn give_up(&self, queue: &mut Queue, why: &'static str, is_way_dead: bool) {
        let broken = Some(GivenUp { why, is_way_dead });
        *queue = Queue { open: true, broken, ..Queue::default() };
        self.given_up.notify_one();
    }

    fn broken_off(&self) -> MutexGuard<'_, BrokenOff> {
        self.broken_off.lock().expect("no code that can panic runs under this lock")
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code that can panic runs under this lock")
    }
}

impl Default for Outbox {
    /// One that holds nothing.
    fn default() -> Self {
        Outbox::new(0)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// A buffer that grew beyond this is not kept for reuse.
const KEPT_CAPACITY: usize = 1 << 20;
/// How long a snapshot that broke off is kept, on either side. It holds what has changed since a
/// second time in memory.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long the peer may take to say what it has of a snapshot that broke off, since the next one
/// was to be sent: it says so when its own connection stands.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// Snapshots that wait behind the one being sent.
const MAX_SNAPSHOTS: usize = 2;

#[cfg(test)]
mod tests {
    use zokor_core::id::SessionId;

    use super::*;

    fn heard(n: usize) -> Message {
        Message::Heard(vec![SessionId(1); n])
    }

    #[test]
    fn nothing_is_kept_for_a_peer_without_a_connection() {
        let outbox = Outbox::new(1000);
        outbox.push(heard(1), None);
        outbox.open();
        let mut out = BytesMut::new();
        outbox.take(&mut out);
        assert!(out.is_empty());
        outbox.push(heard(1), None);
        outbox.close();
        outbox.open();
        outbox.take(&mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn a_full_queue_breaks_the_link_and_frees_its_memory() {
        let outbox = Outbox::new(1000);
        outbox.open();
        let mut out = BytesMut::new();
        outbox.push(heard(100), None);
        outbox.take(&mut out);
        let n = out.len();
        assert!(n > 500);
        outbox.push(heard(100), None);
        assert_eq!(outbox.lock().bytes.len(), 0, "what the sender holds counts as well");
        out.clear();
        assert!(outbox.lock().broken.is_some());
        outbox.push(heard(1), None);
        assert_eq!(outbox.lock().bytes.len(), 0);
        outbox.open();
        outbox.push(heard(1), None);
        outbox.take(&mut out);
        assert!(!out.is_empty());
    }
}
