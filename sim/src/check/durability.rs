//! C7. A vote or an acknowledgement leaves a server only when its disk implies it (Raft, figure 2:
//! "updated on stable storage before responding to RPCs").

use zokor_core::db::Txn;
use zokor_core::id::ServerId;
use zokor_core::raft::{Body, HardState, Index, Message, Term};

use super::{Verdict, must};
use crate::world::disk::Disk;

/// `server` sends `message` to `to`.
///
/// # Errors
/// If a power cut now would make it untrue.
pub fn said(server: ServerId, to: ServerId, message: &Message<Txn>, disk: &Disk) -> Verdict {
    let hard_state = disk.durable().hard_state;
    match message.body {
        Body::Vote { .. } => voted(server, server, message.term, hard_state),
        Body::VoteReply { granted: true } => voted(server, to, message.term, hard_state),
        Body::AppendReply { persisted, .. }
        | Body::HeartbeatReply { persisted, .. }
        | Body::FeedMe { persisted, .. } => {
            in_term(server, message.term, hard_state)?;
            acknowledged(server, message.term, persisted, disk)
        }
        Body::SnapshotReply { index } => {
            in_term(server, message.term, hard_state)?;
            let last = disk.durable_last();
            must("acknowledged is durable (C7)", last >= index, || {
                format!("server {server} acknowledges a snapshot at {index}, durable is {last}")
            })
        }
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::VoteReply { granted: false }
        | Body::Append { .. }
        | Body::AppendReject { .. }
        | Body::Heartbeat { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::Seek { .. }
        | Body::Found { .. }
        | Body::NotFound { .. }
        | Body::SeekState { .. }
        | Body::Feeding { .. }
        | Body::FedByOther { .. }
        | Body::TimeoutNow => Ok(()),
    }
}

fn voted(server: ServerId, for_whom: ServerId, term: Term, disk: HardState) -> Verdict {
    let holds = disk.term > term || (disk.term == term && disk.vote == Some(for_whom));
    must("votes are durable (C7)", holds, || {
        format!("server {server} votes for {for_whom} in term {term}; its disk has {disk:?}")
    })
}

fn in_term(server: ServerId, term: Term, disk: HardState) -> Verdict {
    must("acknowledged is durable (C7)", disk.term >= term, || {
        format!("server {server} acknowledges in term {term}; its disk has {disk:?}")
    })
}

fn acknowledged(server: ServerId, term: Term, persisted: Index, disk: &Disk) -> Verdict {
    let last = disk.durable_last();
    let snapshot = disk.snapshot().map_or(Index::ZERO, |snapshot| snapshot.meta.last.index);
    // A log that is not that of the snapshot goes when the server starts.
    if snapshot >= persisted {
        return Ok(());
    }
    let durable = disk.durable().log.term_at(persisted);
    let asked = disk.asked().log.term_at(persisted);
    // What a later term is about to replace is still what this message speaks of.
    let replaced = asked.is_some_and(|asked| asked > term);
    let same = durable.is_some() && (durable >= asked || replaced);
    must(
        "acknowledged is durable (C7)",
        persisted == Index::ZERO || (last >= persisted && same),
        || {
            format!(
                "server {server} acknowledges {persisted} ({asked:?}); durable is {last} \
                 ({durable:?})"
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::{Persist, Ticket};

    use super::*;

    fn vote() -> Message<Txn> {
        Message { term: Term(3), body: Body::VoteReply { granted: true } }
    }

    fn disk(complete: bool) -> Disk {
        let write = Persist {
            ticket: Ticket(1),
            hard_state: Some(HardState { term: Term(3), vote: Some(ServerId(2)) }),
            reset: None,
            truncate_after: None,
            append: Vec::new(),
        };
        let mut disk = Disk::default();
        disk.note(&write);
        disk.persist(write);
        if complete {
            disk.complete();
        }
        disk
    }

    #[test]
    fn a_durable_vote_may_be_told_to_its_candidate_alone() {
        assert!(said(ServerId(1), ServerId(2), &vote(), &disk(true)).is_ok());
        assert!(said(ServerId(1), ServerId(3), &vote(), &disk(true)).is_err());
    }

    #[test]
    fn a_vote_before_its_sync_is_found() {
        assert!(said(ServerId(1), ServerId(2), &vote(), &disk(false)).is_err());
    }

    #[test]
    fn an_acknowledgement_beyond_the_disk_is_found() {
        let reply = |persisted| Message {
            term: Term(3),
            body: Body::AppendReply { received: Index(9), persisted: Index(persisted) },
        };
        assert!(said(ServerId(1), ServerId(2), &reply(0), &disk(true)).is_ok());
        assert!(said(ServerId(1), ServerId(2), &reply(1), &disk(true)).is_err());
    }
}
