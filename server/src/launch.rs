//! The seam to `net`: one function turns a plan into a server under way.
//!
//! Invariant: no other file of this crate knows how a server is run.

use std::net::SocketAddr;
use std::pin::Pin;

use zokor_core::replica::Stats;

use crate::plan::Plan;

/// A server under way. Dropping it is a crash; a clean end begins with `stop`.
pub trait Running {
    /// Where clients are served, with the port that was bound.
    fn client_address(&self) -> SocketAddr;

    /// What it is and has done at this moment.
    fn stats(&self) -> Stats;

    /// Asks it to end. May be called more than once.
    fn stop(&self);

    /// Waits for its end. An `Err` is one sentence: why it could not go on.
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), String>> + '_>>;
}

/// Starts a server: recovers what is on disk and binds its ports. An `Err` is one sentence.
pub async fn start(plan: Plan) -> Result<Box<dyn Running>, String> {
    Err(format!("server {}: this build of zokor has no event loop", plan.replica.raft.id))
}
