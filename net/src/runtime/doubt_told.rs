//! What people hear of servers whose states differ.
//!
//! Invariant: each difference is told at once by every server that knows of it, and as long as one
//! serves nobody for that reason it says so again and again.

use std::time::Duration;

use zokor_core::raft::EntryId;
use zokor_core::replica::Alarm;
use zokor_core::time::{Instant, Now};

/// How often a server in doubt says so.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct DoubtTold {
    at: Option<Instant>,
}

impl DoubtTold {
    /// This server's own state is wrong: says so, and gives what is to be kept beside the evidence.
    pub(super) fn distrusts(&mut self, now: Now, at: EntryId, digest: u64, agreed: u64) -> String {
        self.at = Some(now.instant);
        let EntryId { term, index } = at;
        tracing::error!(
            "the state of this server is another than that of a quorum after the same entries: \
             after entry {index} of term {term} its digest is {digest:016x}, and that of the \
             quorum {agreed:016x}; it serves no clients until it has taken over the leader's \
             state, which it does by itself; memory or a disk is damaged, or there is a defect: \
             keep the evidence, and look after the machine"
        );
        format!(
            "After entry {index} of term {term} the digest of this server's state was \
             {digest:016x}, and that of a quorum {agreed:016x} (at {} ms since 1970). The \
             snapshots in this folder are not trusted until a leader's state has taken their \
             place.\n",
            now.wall.0
        )
    }

    /// Says again that this server serves nobody, if it is time to.
    pub(super) fn remind(&mut self, now: Instant, is_in_doubt: bool) {
        if !is_in_doubt {
            self.at = None;
        } else if self.at.is_none_or(|at| at + INTERVAL <= now) {
            self.at = Some(now);
            tracing::warn!(
                "this server's state is not to be trusted: it serves no clients, and waits for a \
                 leader whose state is"
            );
        }
    }
}

/// The wrong state is kept, or there was no room.
pub(super) fn kept(file: Option<&str>) {
    match file {
        Some(file) => {
            tracing::warn!(file, "the wrong state is kept as evidence in the data folder")
        }
        None => tracing::warn!("the wrong state is not kept: the disk has no room for it"),
    }
}

/// What a comparison has shown.
pub(super) fn tell(alarm: &Alarm) {
    match alarm {
        Alarm::Odd { server, at: EntryId { term, index }, digest, agreed } => tracing::error!(
            "server {server} has another state than a quorum after the same entries: after entry \
             {index} of term {term} its digest is {digest:016x}, and that of the quorum \
             {agreed:016x}; it is taken out of service and gets the leader's state"
        ),
        Alarm::Disputed { at: EntryId { term, index }, digests } => {
            let told = digests.iter().map(|(server, digest)| format!("{server}: {digest:016x}"));
            let told: Vec<String> = told.collect();
            tracing::error!(
                "servers have different states after the same entries, and none of them is that of \
                 a quorum, so that nobody can tell which is wrong, and all go on serving: after \
                 entry {index} of term {term} the digests are, by server, {}; compare their \
                 content, stop the one that is wrong, make a file zokor-distrust in its data \
                 folder, and start it",
                told.join(", ")
            );
        }
        Alarm::Mended { from, applied } => tracing::warn!(
            "this server has the leader's state as of entry {} and has done what came since, up to \
             {applied}: it serves again",
            from.index
        ),
    }
}
