//! The audit log: who changed what, and what came of it, in the form of ZooKeeper's.
//!
//! Invariants: a line tells one thing, and no name that a client chose can end it or look like
//! another field. Lines are written by a thread of their own, in order; when it is far behind, the
//! server waits for it rather than do what nobody hears of. Off, it costs nothing.
//! Source: `zookeeper: AuditHelper`, `AuditEvent`, `Slf4jAuditLogger`.

mod line;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{error, info};
use zokor_core::replica::Deed;
use zokor_core::time::WallTime;
use zokor_net::runtime::Auditor;

use crate::config::AuditLog;
use line::Line;

/// The audit log of one server.
#[derive(Clone)]
pub struct Audit {
    to: SyncSender<Written>,
    user: Arc<str>,
}

enum Written {
    Lines(String),
    /// All before it is written: to be told.
    End(SyncSender<()>),
}

impl Audit {
    /// Opens it. An `Err` is one sentence.
    pub fn open(place: &AuditLog) -> Result<Self, String> {
        let out: Box<dyn Write + Send> = match place {
            AuditLog::WithTheLog => Box::new(io::stderr()),
            AuditLog::File(path) => {
                // Opened to append, so that whoever rotates it may copy and truncate it.
                let opened = OpenOptions::new().append(true).create(true).open(path);
                Box::new(opened.map_err(|error| {
                    format!("cannot open the audit log {}: {error}", path.display())
                })?)
            }
        };
        let (to, from) = sync_channel(MAX_WAITING);
        thread::Builder::new()
            .name("zokor-audit".to_owned())
            .spawn(move || write(&from, out))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Audit { to, user: line::process_user().into() })
    }

    /// The server serves, or it could not.
    pub fn started(&self, is_done: bool) {
        let result = if is_done { "success" } else { "failure" };
        let mut line = Line::new(now());
        line.put("user", &self.user).put("operation", "serverStart").put("result", result);
        self.say(line.end());
    }

    /// The server is asked to stop.
    pub fn stopping(&self) {
        let mut line = Line::new(now());
        line.put("user", &self.user).put("operation", "serverStop").put("result", "invoked");
        self.say(line.end());
    }

    /// Waits until all is written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.to.send(Written::End(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }

    fn say(&self, lines: String) {
        // The thread ends with the last of these senders.
        let _ = self.to.send(Written::Lines(lines));
    }
}

impl Auditor for Audit {
    fn hear(&self, now: WallTime, deed: &Deed) {
        let lines = line::of_deed(now, &self.user, deed);
        if !lines.is_empty() {
            self.say(lines);
        }
    }
}

/// Writes what comes until nobody is left who could say anything.
fn write(from: &Receiver<Written>, mut out: impl Write) {
    let mut n_lost: u64 = 0;
    while let Ok(written) = from.recv() {
        let lines = match written {
            Written::Lines(lines) => lines,
            Written::End(done) => {
                // Whoever asked may have lost patience.
                let _ = done.send(());
                continue;
            }
        };
        match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) if n_lost > 0 => {
                info!("the audit log is written again; {n_lost} lines are missing from it");
                n_lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if n_lost == 0 {
                    error!(%error, "the audit log cannot be written: what is done goes unheard");
                }
                n_lost += lines.lines().count() as u64;
            }
        }
    }
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Things to be written that may wait, before the server waits for them.
const MAX_WAITING: usize = 4_096;
/// How long the end of the server waits for the last of them.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
