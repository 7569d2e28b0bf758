//! The wish to stop: SIGINT and SIGTERM.
//!
//! Invariant: the first signal asks for a clean stop, the second ends the process at once.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, caught from the moment of creation.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Catches both from now on. Needs a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one; says which.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Waits until `work`, a clean stop under way, is done; a second signal and a stop that takes
    /// too long end it. What was acknowledged is on disk by then in any case.
    pub async fn hurry<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ExitCode> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            // The shell's code for a process that was interrupted.
            _ = self.next() => Err(ExitCode::from(130)),
            () = tokio::time::sleep(STOP_TIMEOUT) => {
                tracing::error!("the stop took longer than {STOP_TIMEOUT:?}, giving up on it");
                Err(ExitCode::FAILURE)
            }
        }
    }
}

const STOP_TIMEOUT: Duration = Duration::from_secs(10);
