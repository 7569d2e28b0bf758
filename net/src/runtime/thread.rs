//! A whole server on threads of its own: one for the event loop, one each for the log, for
//! snapshots and for reading what is at rest. Not for simulations.
//!
//! Invariant: when [`RunningServer::wait`] returns, all of them have ended, and with them every
//! hold on files and ports.

use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use super::config::Config;
use super::error::Error;
use super::log_writer::{LogStore, Workers};
use super::scrubber::ScrubStore;
use super::server::{Handle, Listeners, Parts, Server};
use super::snapshot_writer::SnapshotStore;

/// What is prepared once the ports are ours: everything but the ports.
pub struct Prepared<L: LogStore, S: SnapshotStore, C: ScrubStore> {
    /// What the server is made of.
    pub parts: Parts,
    /// The workers, of the same [`storage_workers`](super::storage_workers) as the port in `parts`.
    pub workers: Workers<L, S, C>,
}

/// A server that runs on threads of its own.
pub struct RunningServer {
    handle: Handle,
    thread: JoinHandle<Result<(), Error>>,
}

impl RunningServer {
    /// For questions and for the order to stop.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the server has ended. Blocks.
    ///
    /// # Errors
    /// Why it ended, if nobody asked it to.
    pub fn wait(self) -> Result<(), Error> {
        self.thread.join().unwrap_or(Err(Error::Broken("the event loop")))
    }
}

/// Takes the ports of `config`, then has everything else prepared (opening and recovering the data,
/// above all), then serves. Returns when the server serves. Blocks; not inside a runtime.
///
/// # Errors
/// If a port cannot be had, or `prepare` fails, or there is no thread to be had.
pub fn start<L, S, C, P>(config: Config, prepare: P) -> Result<RunningServer, Error>
where
    L: LogStore,
    S: SnapshotStore,
    C: ScrubStore,
    P: FnOnce() -> Result<Prepared<L, S, C>, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + 'static,
{
    let (started, has_started) = mpsc::channel();
    let name = format!("zokor-{}", config.id);
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::Thread)?;
        let result = runtime.block_on(serve(config, prepare, started));
        // A look-up of a peer's name may hang for as long as the system likes: nobody needs it now.
        #[cfg(feature = "real-sockets")]
        runtime.shutdown_background();
        result
    };
    let thread = Builder::new().name(name).spawn(body).map_err(Error::Thread)?;
    match has_started.recv() {
        Ok(handle) => Ok(RunningServer { handle, thread }),
        // It has ended without having started, so it knows why.
        Err(_) => match thread.join().unwrap_or(Err(Error::Broken("the start"))) {
            Ok(()) => Err(Error::Broken("the start")),
            Err(error) => Err(error),
        },
    }
}

async fn serve<L: LogStore, S: SnapshotStore, C: ScrubStore>(
    config: Config,
    prepare: impl FnOnce() -> Result<Prepared<L, S, C>, Box<dyn std::error::Error + Send + Sync>>,
    started: mpsc::Sender<Handle>,
) -> Result<(), Error> {
    let listeners = Listeners::bind(&config).await?;
    let Prepared { parts, workers } = prepare().map_err(Error::Prepare)?;
    let id = config.id;
    let server = Server::new(config, listeners, parts);
    let Workers { log, snapshots, scrub } = workers;
    let workers = [
        spawn(format!("zokor-{id}-log"), move || log.run())?,
        spawn(format!("zokor-{id}-snap"), move || snapshots.run())?,
        spawn(format!("zokor-{id}-scrub"), move || scrub.run())?,
    ];
    // Whoever started the server may have lost interest; it serves all the same.
    let _ = started.send(server.handle());
    drop(started);
    let result = server.run().await;
    for worker in workers {
        // A worker that panicked has been reported by its guard.
        let _ = worker.join();
    }
    result
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    Builder::new().name(name).spawn(body).map_err(Error::Thread)
}
