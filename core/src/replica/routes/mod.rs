//! The ways through a replica, one a file: each is a part of `impl Replica`, called from the
//! branching in the parent or from another way.

mod apply;
mod auth;
mod clock;
mod doubt;
mod facts;
mod handshake;
mod local;
mod membership;
mod propose;
mod request;
mod restore;
mod snapshot;
