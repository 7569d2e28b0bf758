//! Who reads from and writes to clients' sockets: the event loop, or threads beside it.
//!
//! With threads, what the system takes for a call and what it copies is spent on several cores;
//! replica, storage and peers stay where they are, behind the driver's lock. A request then crosses
//! no thread either: the thread that has read it puts it into the replica and carries out what
//! follows, once for all that one of its turns has brought. What others decide (a write that became
//! durable) wakes it.
//!
//! Invariant: a socket stays with one thread from its first byte to its last.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::client::Client;
use super::error::Error;
use super::shared::Shared;
use crate::transport::{Inbox, attend};

/// A client's connection, to be attended to.
pub(super) struct Guest {
    pub(super) stream: TcpStream,
    pub(super) client: Client,
    pub(super) inbox: Inbox,
    pub(super) wake: Arc<Notify>,
    pub(super) linger: Duration,
}

impl Guest {
    /// Until it ends.
    async fn attend(self) {
        let Guest { stream, client, inbox, wake, linger } = self;
        attend(stream, client, inbox, &wake, linger).await;
    }
}

/// Who attends to clients.
pub(super) struct Sockets {
    #[cfg(feature = "real-sockets")]
    threads: Vec<threads::Thread>,
}

impl Sockets {
    /// The event loop alone if `n_threads` is 0.
    ///
    /// # Errors
    /// If the system gives no thread.
    #[cfg(feature = "real-sockets")]
    pub(super) fn new(shared: &Arc<Shared>, n_threads: usize) -> Result<Self, Error> {
        let threads = (1..=n_threads).map(|n| threads::Thread::start(shared, n));
        Ok(Sockets { threads: threads.collect::<Result<_, _>>()? })
    }

    /// The event loop: a simulated world has no other thread.
    #[cfg(not(feature = "real-sockets"))]
    pub(super) fn new(_: &Arc<Shared>, _: usize) -> Result<Self, Error> {
        Ok(Sockets {})
    }

    /// Has somebody attend to `guest` until it ends.
    pub(super) fn take(&self, guest: Guest) {
        #[cfg(feature = "real-sockets")]
        if let Some(thread) = self.threads.iter().min_by_key(|thread| thread.n_guests()) {
            return thread.take(guest);
        }
        drop(tokio::spawn(guest.attend()));
    }
}

#[cfg(feature = "real-sockets")]
mod threads {
    use std::io;
    use std::sync::Arc;
    use std::thread::{Builder, JoinHandle};

    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::{Guest, Shared};
    use crate::runtime::error::Error;
    use crate::runtime::part::{Part, pump};

    /// One thread with an event loop of its own. Ends, and is waited for, when this is dropped.
    pub(super) struct Thread {
        /// `None` while it ends.
        guests: Option<UnboundedSender<Newcomer>>,
        /// Rung by its guests.
        bell: Arc<Notify>,
        /// Held by each of its guests.
        presence: Arc<()>,
        thread: Option<JoinHandle<()>>,
    }

    /// A guest on its way to its thread, its socket with no event loop.
    struct Newcomer {
        stream: std::net::TcpStream,
        presence: Arc<()>,
        guest: Box<dyn FnOnce(TcpStream) -> Guest + Send>,
    }

    impl Thread {
        pub(super) fn start(shared: &Arc<Shared>, n: usize) -> Result<Self, Error> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(Error::Thread)?;
            let (guests, newcomers) = unbounded_channel();
            let bell = Arc::new(Notify::new());
            let part = Part { shared: shared.clone(), name: "a thread for clients" };
            let pumping = pump(part, bell.clone());
            let body = move || {
                runtime.block_on(async {
                    let pumping = tokio::spawn(pumping);
                    receive(newcomers).await;
                    pumping.abort();
                });
            };
            let thread = Builder::new().name(format!("zokor-io-{n}")).spawn(body);
            let thread = Some(thread.map_err(Error::Thread)?);
            Ok(Thread { guests: Some(guests), bell, presence: Arc::new(()), thread })
        }

        pub(super) fn n_guests(&self) -> usize {
            Arc::strong_count(&self.presence) - 1
        }

        pub(super) fn take(&self, guest: Guest) {
            let Guest { stream, mut client, inbox, wake, linger } = guest;
            client.bell = self.bell.clone();
            let stream = match stream.into_std() {
                Ok(stream) => stream,
                Err(error) => return refuse(&error),
            };
            let guest = Box::new(move |stream| Guest { stream, client, inbox, wake, linger });
            let newcomer = Newcomer { stream, presence: self.presence.clone(), guest };
            if let Some(guests) = &self.guests {
                // A thread that has ended ends the server; what was to be attended to is closed.
                let _ = guests.send(newcomer);
            }
        }
    }

    impl Drop for Thread {
        fn drop(&mut self) {
            self.guests = None;
            if let Some(thread) = self.thread.take() {
                // One that panicked has been reported by its part.
                let _ = thread.join();
            }
        }
    }

    async fn receive(mut newcomers: UnboundedReceiver<Newcomer>) {
        while let Some(Newcomer { stream, presence, guest }) = newcomers.recv().await {
            match TcpStream::from_std(stream) {
                Ok(stream) => drop(tokio::spawn(async move {
                    let _presence = presence;
                    guest(stream).attend().await;
                })),
                Err(error) => refuse(&error),
            }
        }
    }

    /// The client finds its connection closed, and comes again.
    fn refuse(error: &io::Error) {
        tracing::warn!(%error, "a connection could not be given to its thread, and is closed");
    }
}
