//! Which connections have something to read, or room to write: the system's epoll.
//!
//! Invariant: a wait ends no later than asked for, to some microseconds: due times depend on it.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Connections by number, and what each waits for.
pub(super) struct Readiness {
    epoll: OwnedFd,
    events: Vec<Event>,
    /// Whether waits must end to the microsecond, which costs one more system call for each.
    exact: bool,
}

/// One connection that can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// Its number.
    pub(super) link: usize,
    /// There are bytes, the end of the stream, or an error.
    pub(super) read: bool,
    /// There is room for bytes, or a connection attempt has ended.
    pub(super) write: bool,
}

impl Readiness {
    /// Nobody yet.
    pub(super) fn new(exact: bool) -> io::Result<Self> {
        // Timers of ordinary threads are late by up to 50 µs. Where this cannot be set, so be it.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Readiness { epoll, events: Vec::with_capacity(N_EVENTS), exact })
    }

    /// Waits for `stream` from now on, until it is dropped.
    pub(super) fn add(&self, link: usize, stream: &TcpStream, for_room: bool) -> io::Result<()> {
        let data = EventData::new_u64(link as u64);
        Ok(epoll::add(&self.epoll, stream, data, flags(for_room))?)
    }

    /// Waits for room to write too, or no longer.
    pub(super) fn set(&self, link: usize, stream: &TcpStream, for_room: bool) -> io::Result<()> {
        let data = EventData::new_u64(link as u64);
        Ok(epoll::modify(&self.epoll, stream, data, flags(for_room))?)
    }

    /// Waits until something is ready or `timeout` has passed.
    pub(super) fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let mut timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        if self.exact {
            // epoll itself rounds to milliseconds.
            let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
                other => other?,
            };
            timeout = Timespec { tv_sec: 0, tv_nsec: 0 };
        }
        let into = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, into, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Ready {
                link: event.data.u64() as usize,
                read: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                write: flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

fn flags(for_room: bool) -> EventFlags {
    if for_room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

const N_EVENTS: usize = 1_024;
