//! What can happen in the stepped world.
//!
//! Invariant: an event's key names it and its receiver, so that two runs with the same keys at the
//! same times are the same run.

use std::sync::Arc;

use zokor_core::id::{ConnId, Xid};
use zokor_core::proto::{ConnectRequest, Request};
use zokor_core::replica::Message;

use super::network::Link;
use crate::client::Heard;
use crate::rng::mix;
use crate::trace::EventId;

/// One thing that is to happen.
#[derive(Debug)]
pub(super) enum Event {
    Start {
        server: u64,
    },
    /// A pause ends: the backlog is taken in.
    Resume {
        server: u64,
    },
    Wake {
        server: u64,
        timer: u64,
    },
    Poll {
        server: u64,
        life: u64,
    },
    Message {
        link: Link,
        epoch: u64,
        message: Box<Message>,
        /// Its sending, in the trace.
        cause: EventId,
    },
    PeerUp {
        server: u64,
        peer: u64,
        epoch: u64,
    },
    PeerDown {
        server: u64,
        peer: u64,
        epoch: u64,
    },
    DiskDone {
        server: u64,
        life: u64,
    },
    CheckpointDone {
        server: u64,
        life: u64,
    },
    Reconnect {
        link: Link,
    },
    /// The fault of this number strikes.
    Fault {
        number: usize,
    },
    CutEnds {
        links: Vec<Link>,
        /// How often the network had healed when they were cut.
        heals: u64,
    },
    /// Somebody may have made room on the disk of this server.
    Room {
        server: u64,
    },
    /// This server reads a part of what is at rest.
    Scrub {
        server: u64,
        life: u64,
    },
    Heal,
    QuorumCheck,
    CheckUp,
    ClientWake {
        client: u64,
        timer: u64,
    },
    ToServer {
        conn: ConnId,
        frame: Frame,
        cause: EventId,
    },
    ToClient {
        conn: ConnId,
        heard: Heard,
        cause: EventId,
    },
}

/// What a client's connection carries.
#[derive(Debug)]
pub(super) enum Frame {
    Connect(ConnectRequest),
    Request(Xid, Arc<Request>),
    End,
}

impl Frame {
    /// In a word.
    pub(super) fn name(&self) -> String {
        match self {
            Frame::Connect(_) => "connects".to_owned(),
            Frame::Request(xid, _) => format!("asks {xid:?}"),
            Frame::End => "ends".to_owned(),
        }
    }
}

impl Event {
    /// The server that takes it in, which may stand still.
    pub(super) fn server(&self) -> Option<u64> {
        match self {
            Event::Resume { server }
            | Event::Room { server }
            | Event::Scrub { server, .. }
            | Event::Wake { server, .. }
            | Event::Poll { server, .. }
            | Event::PeerUp { server, .. }
            | Event::PeerDown { server, .. }
            | Event::DiskDone { server, .. }
            | Event::CheckpointDone { server, .. } => Some(*server),
            Event::Message { link: (_, to), .. } => Some(*to),
            Event::Start { .. }
            | Event::Reconnect { .. }
            | Event::Fault { .. }
            | Event::CutEnds { .. }
            | Event::Heal
            | Event::QuorumCheck
            | Event::CheckUp
            | Event::ClientWake { .. }
            | Event::ToServer { .. }
            | Event::ToClient { .. } => None,
        }
    }

    /// A number for the run's hash.
    pub(super) fn key(&self) -> u64 {
        match self {
            Event::Start { server } => mix(&[1, *server]),
            Event::Resume { server } => mix(&[17, *server]),
            Event::Wake { server, timer } => mix(&[2, *server, *timer]),
            Event::Poll { server, life } => mix(&[3, *server, *life]),
            Event::Message { link, epoch, .. } => mix(&[4, link.0, link.1, *epoch]),
            Event::PeerUp { server, peer, epoch } => mix(&[5, *server, *peer, *epoch]),
            Event::PeerDown { server, peer, epoch } => mix(&[6, *server, *peer, *epoch]),
            Event::DiskDone { server, life } => mix(&[7, *server, *life]),
            Event::CheckpointDone { server, life } => mix(&[8, *server, *life]),
            Event::Reconnect { link } => mix(&[9, link.0, link.1]),
            Event::Fault { number } => mix(&[10, *number as u64]),
            Event::CutEnds { links, .. } => mix(&[11, links.len() as u64]),
            Event::Room { server } => mix(&[18, *server]),
            Event::Scrub { server, life } => mix(&[19, *server, *life]),
            Event::Heal => 12,
            Event::QuorumCheck => 18,
            Event::CheckUp => 13,
            Event::ClientWake { client, timer } => mix(&[14, *client, *timer]),
            Event::ToServer { conn, .. } => mix(&[15, conn.0]),
            Event::ToClient { conn, heard, .. } => mix(&[16, conn.0, heard.key()]),
        }
    }
}
