//! A way between two servers that can die: whoever uses it hears of nothing, and nothing passes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Takes connections at an address of its own and passes what is said on to another. It is there
/// for as long as the process.
#[derive(Clone, Debug)]
pub struct Way {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    /// Whether nothing passes.
    dead: Mutex<bool>,
    revived: Condvar,
    n_bytes: AtomicU64,
    /// Both ends of what it has carried since it was cut last.
    carried: Mutex<Vec<TcpStream>>,
}

impl Way {
    /// A way to `to`, where nobody need listen yet.
    pub fn to(to: SocketAddr) -> Way {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            to,
            dead: Mutex::default(),
            revived: Condvar::new(),
            n_bytes: AtomicU64::new(0),
            carried: Mutex::default(),
        });
        let way = Way { address, shared };
        let taker = way.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let way = taker.clone();
                thread::spawn(move || way.carry(stream));
            }
        });
        way
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it takes connections and bytes, and passes none on.
    pub fn die(&self) {
        *self.shared.dead.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// All goes on, with what was held back.
    pub fn revive(&self) {
        *self.shared.dead.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.shared.revived.notify_all();
    }

    /// Ends the connections that there are, at both ends; new ones are carried.
    pub fn cut(&self) {
        let mut carried = self.shared.carried.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in carried.drain(..) {
            // One that has ended already needs no end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Bytes that it has passed on towards its end.
    pub fn n_bytes(&self) -> u64 {
        self.shared.n_bytes.load(Ordering::Relaxed)
    }

    fn carry(&self, near: TcpStream) {
        self.wait_for_life();
        let Ok(far) = TcpStream::connect(self.shared.to) else { return };
        for stream in [&near, &far] {
            stream.set_nodelay(true).expect("a socket");
        }
        let (near_again, far_again) = (near.try_clone(), far.try_clone());
        let (Ok(near_again), Ok(far_again)) = (near_again, far_again) else { return };
        let ends = [near.try_clone(), far.try_clone()];
        let mut carried = self.shared.carried.lock().unwrap_or_else(PoisonError::into_inner);
        carried.extend(ends.into_iter().flatten());
        drop(carried);
        let way = self.clone();
        thread::spawn(move || way.copy(far_again, near_again, false));
        self.copy(near, far, true);
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, is_counted: bool) {
        let mut bytes = [0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            self.wait_for_life();
            if to.write_all(&bytes[..n]).is_err() {
                break;
            }
            if is_counted {
                self.shared.n_bytes.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
        self.wait_for_life();
        // The one that is left learns of the end by this; one that has gone needs it no more.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn wait_for_life(&self) {
        let mut dead = self.shared.dead.lock().unwrap_or_else(PoisonError::into_inner);
        while *dead {
            dead = self.shared.revived.wait(dead).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
