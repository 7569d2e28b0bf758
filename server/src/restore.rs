//! A ZooKeeper snapshot that is to take the place of the state of an ensemble at work.
//!
//! Invariant: nothing of it is begun before all of it is read, checked by its own checksums, and
//! put together as the servers will do it.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tracing::warn;
use zokor_core::db::{ImageNode, Prepared, RestoreError, RestoredSession};
use zokor_core::id::SessionId;
use zokor_core::proto::Zxid;
use zokor_core::replica::RestoreEnd;
use zokor_net::runtime::Handle;

use crate::zookeeper::{Input, Packing, SnapshotContents, password_of, read_snapshot, unpack};

/// A snapshot that can be restored.
#[derive(Debug)]
pub struct Snapshot {
    /// The state.
    pub prepared: Prepared,
    /// The last transaction in it, as far as it says.
    pub zxid: Option<Zxid>,
    /// One sentence for each thing that whoever restores it should know.
    pub notes: Vec<String>,
}

/// Restores a snapshot on the whole ensemble of a server under way: the last transaction in the
/// snapshot, if it says so, else the zxid at which it was restored. An `Err` is one sentence.
pub async fn restore(handle: &Handle, body: impl Read + Send + 'static) -> Result<Zxid, String> {
    let read = tokio::task::spawn_blocking(move || read(body)).await;
    let Snapshot { prepared, zxid, notes } =
        read.map_err(|_| "reading the snapshot has failed; the log shows where".to_owned())??;
    notes.iter().for_each(|note| warn!("the snapshot that is restored: {note}"));
    told(handle.restore(prepared).await).map(|done| zxid.unwrap_or(done))
}

/// A body that comes part by part, from a task, and is read where reading may block. It ends when
/// the sender is dropped.
pub fn parts() -> (mpsc::Sender<io::Result<Bytes>>, impl Read + Send + 'static) {
    let (sender, parts) = mpsc::channel(WAITING_PARTS);
    (sender, PartsReader { parts, part: Bytes::new() })
}

struct PartsReader {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
}

impl Read for PartsReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => self.part = part?,
                None => return Ok(0),
            }
        }
        let n = into.len().min(self.part.len());
        self.part.copy_to_slice(&mut into[..n]);
        Ok(n)
    }
}

/// Reads a snapshot in ZooKeeper's format, plain, gzip or snappy by its content. An `Err` is one
/// sentence. Blocks for as long as `body` does.
pub fn read(body: impl Read) -> Result<Snapshot, String> {
    let (packing, body) =
        packing_of(body).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut input = Input::new(unpack(body, packing));
    let contents = read_snapshot(&mut input).map_err(|wrong| {
        format!(
            "this is no whole snapshot of ZooKeeper's: at offset {}, {}",
            wrong.offset, wrong.what
        )
    })?;
    prepare(contents)
}

/// What an operator is told of the end. An `Err` is one sentence.
pub fn told(end: RestoreEnd) -> Result<Zxid, String> {
    match end {
        RestoreEnd::Done { zxid } => Ok(zxid),
        RestoreEnd::Failed(error) => Err(failed(&error)),
        RestoreEnd::Busy => {
            Err("another restore is under way, and there is one at a time; nothing was done"
                .to_owned())
        }
        RestoreEnd::Unknown => {
            Err("the ensemble has not agreed on it in time, and it is not known \
                                    whether it will be done; see whether a quorum serves, and \
                                    restore again"
                .to_owned())
        }
    }
}

fn prepare(contents: SnapshotContents) -> Result<Snapshot, String> {
    let SnapshotContents { mut tree, sessions, digest, last_zxid } = contents;
    let zxid = last_zxid.or(digest.map(|digest| digest.zxid)).map(Zxid);
    let mut notes = Vec::new();
    if digest.is_some_and(|digest| digest.value != tree.digest()) {
        notes.push(
            "the digest in the snapshot is that of another state: it was taken while changes went \
             on, so that some of them are in it and others not"
                .to_owned(),
        );
    }
    let is_alone = |owner: &SessionId| !sessions.contains_key(&owner.0);
    let ended: Vec<SessionId> = tree.owners().filter(is_alone).collect();
    if !ended.is_empty() {
        let n_znodes: usize = ended.iter().map(|owner| tree.ephemerals(*owner).count()).sum();
        notes.push(format!("{n_znodes} ephemeral znodes of ended sessions are left out"));
    }
    for owner in ended {
        // Without a zxid of their own end, the numbers of their parents stay.
        tree.end_session(owner, 0);
    }
    tree.add_reserved();
    tree.count_quotas();
    let sessions = sessions.iter().map(|(&id, &timeout_ms)| {
        let id = SessionId(id);
        RestoredSession { id, password: password_of(id), timeout_ms }
    });
    let znodes = tree.iter().map(|(path, node)| ImageNode {
        path: (**path).into(),
        data: node.data.clone(),
        acl: node.acl.clone(),
        stat: node.stat,
    });
    let prepared = Prepared::new(znodes, sessions).map_err(|error| failed(&error))?;
    Ok(Snapshot { prepared, zxid, notes })
}

fn failed(error: &RestoreError) -> String {
    format!("nothing was restored: {error}")
}

/// How a body is packed, by its first bytes, and all of it.
fn packing_of<'a>(mut body: impl Read + 'a) -> io::Result<(Packing, Box<dyn BufRead + 'a>)> {
    let mut head = Vec::new();
    body.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let packing = match head[..] {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x82, b'S', b'N', b'A', ..] => Packing::Snappy,
        _ => Packing::Plain,
    };
    Ok((packing, Box::new(BufReader::new(Read::chain(Cursor::new(head), body)))))
}

/// Parts of a body that wait to be read.
const WAITING_PARTS: usize = 4;
/// Enough to tell.
const HEAD_BYTES: u64 = 4;

#[cfg(test)]
mod tests;
